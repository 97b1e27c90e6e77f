"""What became of the parts of an upload, for people. No I/O."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from .._dask.parts import Part
from .._dask.results import PartEnd, PartState

MOST_TOLD = 5
"""Parts with an error that are told one by one."""


def told_of_parts(parts: Sequence[Part], ends: Sequence[PartEnd], *, items: int, replayed: int) -> Iterator[str]:
    """A line each.

    Args:
        parts: all of them, by their numbers.
        ends: likewise.
        items: how many results there are.
        replayed: how many of them an earlier run had learned.
    """
    if replayed:
        yield _told_of_earlier_runs(items, replayed)
    counts = Counter(end.state for end in ends)
    if ends:
        yield f"{len(ends)} parts: {', '.join(f'{counts[state]} {state}' for state in PartState if counts[state])}."
    failed = [end for end in ends if end.state is PartState.FAILED]
    for end in failed[:MOST_TOLD]:
        yield f"Part {end.part} ({parts[end.part]}) ended by an error: {end.error}"
    if len(failed) > MOST_TOLD:
        yield f"and {len(failed) - MOST_TOLD} other parts."
    if open_items := sum(sum(end.in_batches.values()) for end in ends):
        batches = sum(len(end.in_batches) for end in ends)
        yield f"{open_items} items are in {batches} batches whose end was not awaited: the server may complete them."
    if any(end.state is not PartState.FINISHED for end in ends):
        yield f"{sum(end.read for end in ends)} records were read; any others were not, and have no result."


def _told_of_earlier_runs(items: int, replayed: int) -> str:
    if replayed < items:
        return f"{replayed} of these results had been learned by an earlier run, and were not sent again."
    return "All of it was uploaded already: nothing was sent. To send it once more: --restart"
