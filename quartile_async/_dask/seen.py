"""Which items have their result already: a part that is run again tells its results again. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from .._results import Outcome
from .results import PartItemResult


class Indexes:
    """A set of indexes, at a bit each."""

    def __init__(self) -> None:
        self._bits = bytearray()
        self.count: int = 0

    def add(self, index: int) -> bool:
        """Whether it was not there."""
        place, bit = index >> 3, 1 << (index & 7)
        if place >= len(self._bits):
            self._bits.extend(bytes(max(place + 1 - len(self._bits), len(self._bits))))
        if self._bits[place] & bit:
            return False
        self._bits[place] |= bit
        self.count += 1
        return True

    def __contains__(self, index: int) -> bool:
        place = index >> 3
        return place < len(self._bits) and bool(self._bits[place] & 1 << (index & 7))


class Batches:
    """Counts the batches of parts that were run more than once: each run knows of its own alone."""

    def __init__(self) -> None:
        self._runs: dict[int, dict[str, None]] = {}
        self._are_new: dict[int, dict[str, bool]] = {}

    def note(self, part: int, run: str, results: Iterable[PartItemResult]) -> None:
        """These came from a run of a part."""
        runs, are_new = self._runs.setdefault(part, {}), self._are_new.setdefault(part, {})
        runs[run] = None
        is_first = len(runs) == 1
        for result in results:
            if (batch_id := result.batch_id) is not None and batch_id not in are_new:
                # What the first run replays is of an earlier call; what others replay, of the ones before it.
                are_new[batch_id] = not (result.replayed and is_first)

    def accepted(self, part: int, last: int) -> int:
        """How many batches the server has accepted; `last`: as the last run of the part knows."""
        if len(self._runs.get(part, {})) < 2:
            return last
        return max(last, sum(self._are_new[part].values()))


class Sieve:
    """Lets each item's result through once.

    An UNKNOWN one is kept back until its part has ended: where the part is run again, more may be learned of it, and
    what was told of it before, that it was not sent for instance, would not be true any more.
    """

    def __init__(self) -> None:
        self._seen: dict[int, Indexes] = {}
        self._kept_back: dict[int, dict[int, PartItemResult]] = {}
        self._without: dict[int, dict[int, PartItemResult]] = {}

    def pass_through(self, part: int, results: Iterable[PartItemResult]) -> Iterator[PartItemResult]:
        """Those that are to be handed over now."""
        seen, kept_back = self._seen.setdefault(part, Indexes()), self._kept_back.setdefault(part, {})
        for result in results:
            if result.index in seen:
                continue
            if result.outcome is Outcome.UNKNOWN:
                kept_back[result.index] = result
            else:
                kept_back.pop(result.index, None)
                seen.add(result.index)
                yield result

    def note_unaccounted(self, part: int, results: Iterable[PartItemResult]) -> None:
        """These stand for items that were read, and got no result in this run of their part."""
        told = {result.index: result for result in results}
        self._without[part] = self._without.get(part, {}) | told
        kept_back = self._kept_back.get(part, {})
        for index in told.keys() & kept_back.keys():  # what an earlier run of the part had told is not true any more
            del kept_back[index]

    def kept_back(self, part: int) -> Iterator[PartItemResult]:
        """What was kept back of a part that has ended."""
        seen = self._seen.setdefault(part, Indexes())
        for index, result in sorted(self._kept_back.pop(part, {}).items()):
            if seen.add(index):
                yield result

    def known(self, part: int) -> int:
        """How many items of a part have a result, handed over or kept back."""
        return (self._seen[part].count if part in self._seen else 0) + len(self._kept_back.get(part, {}))

    @property
    def unaccounted(self) -> list[PartItemResult]:
        """What stands for items that have no result, by part and index."""
        return [
            result
            for part, results in sorted(self._without.items())
            for index, result in sorted(results.items())
            if index not in self._seen.get(part, Indexes())
        ]
