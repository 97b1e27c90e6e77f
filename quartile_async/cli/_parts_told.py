"""What became of the parts of an upload, for people. No I/O."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

from .._dask.parts import Part
from .._dask.results import PartEnd, PartState
from ._words import counted

MOST_TOLD = 5
"""Errors that are told, each with one of its parts."""


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
        states = ", ".join(f"{counts[state]} {state}" for state in PartState if counts[state])
        yield f"{counted(len(ends), 'part', 'parts')}: {states}."
    yield from _told_of_errors(parts, [end for end in ends if end.state is PartState.FAILED])
    if open_items := sum(sum(end.in_batches.values()) for end in ends):
        items_are = counted(open_items, "item is", "items are")
        batches = counted(sum(len(end.in_batches) for end in ends), "batch", "batches")
        yield f"{items_are} in {batches} whose end was not awaited: the server may complete them."
    if counts[PartState.FINISHED] < len(ends):
        yield "Of parts that have not finished, what was not read has no result."


def _told_of_earlier_runs(items: int, replayed: int) -> str:
    if replayed < items:
        return f"{replayed} of these results had been learned by an earlier run, and were not sent again."
    return "All of it was uploaded already: nothing was sent. To send it once more: --restart"


def _told_of_errors(parts: Sequence[Part], failed: Sequence[PartEnd]) -> Iterator[str]:
    by_error: defaultdict[str, list[PartEnd]] = defaultdict(list)
    for end in failed:
        by_error[end.error].append(end)
    for error, (first, *others) in list(by_error.items())[:MOST_TOLD]:
        more = f" and {len(others)} more" if others else ""
        yield f"Part {first.part} ({parts[first.part]}){more} ended by an error: {error}"
    if len(by_error) > MOST_TOLD:
        yield f"and {len(by_error) - MOST_TOLD} other errors."
