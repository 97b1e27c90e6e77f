"""Writes down what becomes of an upload's items: each thing before what must not happen without it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any

from ._chunking import Chunk
from ._delivery import Delivery
from ._digests import digested
from ._journal import Contents, Ended, HeldJournal, Intended, Journal, Record, Subject, Taken, Void, packed
from ._keys import Key
from ._results import ItemResult, Outcome

MOST_UNSENT = 100_000
"""The most keys of items that were not sent to remember; the oldest are forgotten first."""

logger = logging.getLogger("quartile_async")


class Recorder:
    """The journal of one upload, as its batches use it. Without a journal it does nothing.

    Whatever fails raises a JournalError, and `on_failure` is told.

    Attributes:
        journal: None where the upload has none.
        contents: what it held when it was opened.
        hold: the same journal, where somebody else could take it over; what is sent is checked with it.
        on_failure: called with what ended the upload.
    """

    def __init__(self, journal: Journal | None, subject: Subject) -> None:
        self.journal: Journal | None = journal
        self.contents: Contents | None = None
        self.hold: HeldJournal | None = None
        self.on_failure: Callable[[Exception], object] = lambda error: None
        self._subject = subject
        self._last_number = 0
        self._has_written = False
        self._read: list[Record] = []
        self._unsent_keys: OrderedDict[Key, list[tuple[int, Any]]] = OrderedDict()
        self._unsent = 0

    async def open(self) -> None:
        if self.journal is not None:
            self.contents = await self.journal.open(self._subject)
            self._last_number = self.contents.batches
            if isinstance(self.journal, HeldJournal):
                self.hold = self.journal
                self.hold.when_lost(self.on_failure)

    async def close(self, *, whole: bool) -> None:
        """Ends after all that was written. `whole`: the input was read to its end, and each item has its result."""
        if self.journal is None or self.contents is None:
            return
        finished = whole and self._unsent == 0
        if finished and not self._has_written and self.contents.items:
            at = self.contents.finished_at or self.contents.touched_at
            logger.warning(
                "Nothing was sent: %r holds the results of this very upload, which had finished on %s.",
                self.journal,
                time.strftime("%Y-%m-%d at %H:%M:%S", time.localtime(at)),
            )
        await self.journal.close(finished=finished)

    def read(self, first: int, items: Sequence[Any]) -> None:
        """These items were read; it is written with what is written next, which is of them, or behind them."""
        if self.journal is not None:
            self._read.append(digested(first, items))

    def decided(self, results: Sequence[ItemResult[Any]], hand_over: Callable[[], object]) -> None:
        """Items that are in no batch have their results; hands them over once that is written down."""
        if self.journal is None:
            hand_over()
            return
        written = asyncio.ensure_future(self._write(*self._results_without_a_batch(results)))
        # Where it could not be written, the upload ends; that they are invalid, or have failed, is true all the same.
        written.add_done_callback(lambda _: hand_over())

    async def intend(self, chunk: Chunk) -> None:
        """A batch is about to be sent."""
        if self.journal is None or chunk.number is not None:
            return  # it may stand there already, from an earlier run or since it was set apart
        chunk.number = self._next_number()
        await self._write(*self._overtaken_by(chunk), Intended(chunk.number, chunk.indexes))

    def taken(self, chunk: Chunk, delivery: Delivery) -> Awaitable[None] | None:
        """The server has taken a batch, which must not be asked for before this is durable."""
        record = self._taken(chunk, delivery)
        return None if record is None else self._write(record)

    async def ended(
        self, chunk: Chunk, results: Sequence[ItemResult[Any]], *, final: bool, again: Sequence[int] = ()
    ) -> None:
        """A batch's items have their results.

        Those that were not sent, and those at the positions `again`, which are sent again, are as if they had never
        been tried.
        """
        if self.journal is None or chunk.number is None:
            return
        if again or any(result.not_sent for result in (results if chunk.failures else results[:1])):
            self._remember_unsent(chunk, results)
            open_ones = {*again, *(position for position, result in enumerate(results) if result.not_sent)}
            known = [result for position, result in enumerate(results) if position not in open_ones]
            await self._write(Void(chunk.number), *self._results_without_a_batch(known))
            return
        await self._write(Ended(chunk.number, packed(results), final))

    async def set_apart(self, chunk: Chunk, parts: Sequence[Chunk], refused: Sequence[ItemResult[Any]]) -> None:
        """A batch was refused as a whole; these parts of it will be sent, and the others have their results."""
        if self.journal is None or chunk.number is None:
            return
        records: list[Record] = [Void(chunk.number)]
        for part in parts:
            if part.in_doubt:
                part.number = self._next_number()
                records.append(Intended(part.number, part.indexes))
        await self._write(*records, *self._results_without_a_batch(refused))

    def left(self, chunk: Chunk, delivery: Delivery) -> None:
        """A batch was left in this state: writes what is known of it, for whoever goes on."""
        if self.journal is None or chunk.number is None:
            return
        if (record := self._taken(chunk, delivery)) is not None:
            self._write(record)
        elif delivery.batch_id is None and not delivery.may_have_arrived:
            self._write(Void(chunk.number))

    def _taken(self, chunk: Chunk, delivery: Delivery) -> Record | None:
        if chunk.number is None or chunk.batch_id is not None or delivery.batch_id is None:
            return None
        chunk.batch_id = delivery.batch_id
        return Taken(chunk.number, delivery.batch_id, delivery.in_doubt)

    def _results_without_a_batch(self, results: Sequence[ItemResult[Any]]) -> list[Record]:
        if not results:
            return []
        number = self._next_number()
        return [Intended(number, [result.index for result in results]), Ended(number, packed(results))]

    def _remember_unsent(self, chunk: Chunk, results: Sequence[ItemResult[Any]]) -> None:
        for key, result in zip(chunk.keys, results, strict=True):
            if result.not_sent:
                self._unsent += 1
                self._unsent_keys.setdefault(key, []).append((result.index, result.item))
        while len(self._unsent_keys) > MOST_UNSENT:
            self._unsent_keys.popitem(last=False)

    def _overtaken_by(self, chunk: Chunk) -> Iterator[Record]:
        """What was not sent, and must not be sent after a newer write of its key."""
        if not self._unsent_keys:
            return
        for key, newer in zip(chunk.keys, chunk.indexes, strict=True):
            for index, item in self._unsent_keys.pop(key, ()):
                self._unsent -= 1
                message = (
                    f"It could not be sent. It is not sent again, since a newer write of its key, the item with index "
                    f"{newer}, has taken its place."
                )
                yield from self._results_without_a_batch(
                    [ItemResult(index, item, Outcome.UNKNOWN, message, not_sent=True)]
                )

    def _next_number(self) -> int:
        self._last_number += 1
        return self._last_number

    def _write(self, *records: Record) -> Awaitable[None]:
        assert self.journal is not None
        self._has_written = True
        read, self._read = self._read, []
        written = asyncio.ensure_future(self.journal.write(*read, *records))
        written.add_done_callback(self._check)
        return written

    def _check(self, written: asyncio.Future[None]) -> None:
        if not written.cancelled() and (error := written.exception()) is not None and isinstance(error, Exception):
            self.on_failure(error)
