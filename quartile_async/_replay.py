"""What a journal knows of items that are read again: results to replay, batches to go on with, and what is fresh."""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ._chunking import Chunk
from ._digests import digested, parting
from ._errors import JournalError
from ._journal import Contents, ItemsRead, Journal, RecordedBatch, Stage, unpacked
from ._results import ItemResult, Outcome
from ._validation import ItemCodec


@dataclass(slots=True)
class Known:
    """What is known of a few items that were read again.

    Attributes:
        results: of those that have one.
        chunks: batches to go on with; these items were the last of theirs.
        fresh: the indexes of those that were never sent.
    """

    results: list[ItemResult[Any]] = field(default_factory=list)
    chunks: list[Chunk] = field(default_factory=list)
    fresh: list[int] = field(default_factory=list)


class _Batch:
    """A batch of which some items have been read again."""

    def __init__(self, recorded: RecordedBatch) -> None:
        self.recorded = recorded
        self.items: list[Any] = []
        self.replays = recorded.stage is Stage.ENDED
        self._place = 0

    @property
    def complete(self) -> bool:
        return self._place == len(self.recorded.indexes)

    def take(self, first: int, items: Sequence[Any]) -> range:
        """Its own of these items go to it; gives their places among the batch's items."""
        indexes = self.recorded.indexes
        places = range(self._place, bisect_left(indexes, first + len(items), self._place))
        if places and indexes[places.start] < first:
            raise ValueError(f"batch {self.recorded.number} has an item that was not read")
        self._place = places.stop
        if not self.replays:
            self.items += [items[indexes[place] - first] for place in places]
        return places

    def results_at(self, places: range, first: int, items: Sequence[Any]) -> list[ItemResult[Any]]:
        indexes = self.recorded.indexes[places.start : places.stop]
        own = items if len(indexes) == len(items) else [items[index - first] for index in indexes]
        content = self.recorded.results or b""
        return unpacked(content, indexes, own, places=slice(places.start, places.stop), of=len(self.recorded.indexes))

    def as_chunk(self, codec: ItemCodec) -> Chunk:
        """The batch, to go on with."""
        recorded, checked = self.recorded, codec.check(self.items)
        for position, problem in checked.problems.items():
            raise ValueError(
                f"the item with index {recorded.indexes[position]} was sent, and is invalid now: {problem}"
            )
        chunk = Chunk(recorded.indexes, self.items, checked.wires, checked.keys)
        chunk.number, chunk.batch_id = recorded.number, recorded.batch_id
        chunk.in_doubt = recorded.resent or recorded.stage is Stage.INTENDED
        if recorded.stage is Stage.GIVEN_UP:
            chunk.known = self.results_at(range(len(self.items)), recorded.indexes[0], self.items)
        return chunk


class Replay:
    """Goes through a journal beside the input that is read again, in memory that does not grow with either."""

    def __init__(self, journal: Journal, contents: Contents, codec: ItemCodec) -> None:
        self._journal = journal
        self._recorded_items = contents.items
        self._codec = codec
        self._blocks: deque[ItemsRead] = deque()
        self._coming: deque[RecordedBatch] = deque()
        self._last_seen: tuple[int, int] | None = (-1, 0)
        self._begun: list[_Batch] = []

    @property
    def is_collecting(self) -> bool:
        """Whether a batch to go on with has some of its items, and not all."""
        return any(not batch.replays for batch in self._begun)

    @property
    def unaccounted(self) -> list[ItemResult[Any]]:
        """A result for each item that was read, of the batches to go on with that have not all their items."""
        return [
            ItemResult(index, item, Outcome.UNKNOWN, READ_AGAIN, batch_id=batch.recorded.batch_id)
            for batch in self._begun
            if not batch.replays
            for index, item in zip(batch.recorded.indexes, batch.items, strict=False)
        ]

    async def expected(self, index: int) -> ItemsRead | None:
        """What was read from this index on; None at the end of what was read."""
        if not self._blocks and index < self._recorded_items:
            self._blocks.extend(await self._journal.items_from(index))
        if not self._blocks:
            if self.is_collecting or index < self._recorded_items:
                raise self._damaged("it ends before the items of its batches")
            return None
        block = self._blocks.popleft()
        if block.first != index or block.end <= index:
            raise self._damaged(f"it should go on with index {index}, and does with {block.first}")
        await self._look_ahead(block.end)
        return block

    def check(self, expected: ItemsRead, items: Sequence[Any]) -> None:
        """Raises JournalError where the items are others than those that were read before."""
        index = parting(expected, digested(expected.first, items))
        if index is None:
            return
        if index == expected.first + len(items):
            raise JournalError(
                f"The input ends after {index} items, and the journal {self._journal!r} has {self._recorded_items}. "
                f"{_SAME_INPUT}"
            )
        raise JournalError(
            f"The input is not the one of the journal {self._journal!r}: they part at index {index}. {_SAME_INPUT}"
        )

    def known(self, first: int, items: Sequence[Any]) -> Known:
        """What is known of these items."""
        try:
            return self._known(first, items)
        except ValueError as error:
            raise self._damaged(str(error)) from error

    def _known(self, first: int, items: Sequence[Any]) -> Known:
        end = first + len(items)
        while self._coming and self._coming[0].indexes[0] < end:
            self._begun.append(_Batch(self._coming.popleft()))
        known, fresh = Known(), dict.fromkeys(range(first, end))
        for batch in self._begun:
            places = batch.take(first, items)
            for place in places:
                if fresh.pop(index := batch.recorded.indexes[place], index) is not None:
                    raise ValueError(f"the item with index {index} stands in two batches")
            if batch.replays and places:
                known.results += batch.results_at(places, first, items)
            elif batch.complete:
                known.chunks.append(batch.as_chunk(self._codec))
        self._begun = [batch for batch in self._begun if not batch.complete]
        known.fresh = list(fresh)
        return known

    async def _look_ahead(self, end: int) -> None:
        """Sees to it that all batches that begin before this index are at hand."""
        while self._last_seen is not None and (not self._coming or self._coming[-1].indexes[0] < end):
            page = await self._journal.batches_from(*self._last_seen)
            self._last_seen = (page[-1].indexes[0], page[-1].number) if page else None
            self._coming.extend(batch for batch in page if batch.stage is not Stage.VOID)

    def _damaged(self, how: str) -> JournalError:
        return JournalError(
            f"The journal {self._journal!r} does not fit together: {how}. Go on with the same resource, or put a copy "
            "from before in the journal's place; or move it away and upload anew, which sends every item once more."
        )


READ_AGAIN = "The upload ended before what the journal knows of this was handed over. Run it again with the journal."

_SAME_INPUT = (
    "Nothing new was sent. Run the upload again with the same items in the same order (new ones may follow them), or "
    "name another journal."
)
