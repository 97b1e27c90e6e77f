"""From the input to chunks that may go out: reads no further than there is room for results."""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Sequence
from typing import Any

from ._again import OVERTAKEN, Again, Waiting
from ._chunking import Chunk, Chunker
from ._linger import Linger
from ._ordering import KeyOrder, Ticket
from ._recording import Recorder
from ._replay import READ_AGAIN, Known, Replay
from ._resources import Resource
from ._results import ItemResult, Outcome
from ._room import Parcel, Room
from ._source import Source
from ._unfinished import NOT_SENT, Results, left, not_sent_again
from ._validation import codec_for

CHUNKS_AHEAD = 8
"""How many chunks, beyond those that may be in flight, may be read before their results are taken."""


class ReadyChunk:
    """A chunk with its place in the queues of its keys, and its room."""

    __slots__ = ("chunk", "parcel", "ticket")

    def __init__(self, chunk: Chunk, ticket: Ticket) -> None:
        self.chunk = chunk
        self.ticket = ticket
        self.parcel = Parcel(len(chunk))


class Intake:
    """Reads, checks and chunks the items of one upload.

    Room is counted in chunks: each chunk that has left the input and whose results the consumer has not had
    counts as a full one, however small it is, and so does each group of rejected items.

    `in_line` tells how many uploads wait for a slot.

    Failed items that are sent again have room of their own while they wait for their time; then they go into the
    chunks that are being filled, with new items.

    Items that an earlier run has read come first. Until they all are seen to be the same, nothing is sent, unless
    there are so many to send among them that there is no room for more.
    """

    def __init__(
        self,
        items: Iterable[Any] | AsyncIterable[Any],
        resource: Resource[Any],
        *,
        order: KeyOrder,
        recorder: Recorder,
        max_in_flight: int,
        linger: float,
        in_line: Callable[[], int],
        hand_over: Callable[[Results, Parcel], object],
        wake: Callable[[], object],
        may_read: Callable[[], Awaitable[object]],
        again: Again | None,
    ) -> None:
        self._items = items
        self._codec = codec_for(resource)
        self._order = order
        self._recorder = recorder
        self._room = Room(max_in_flight + CHUNKS_AHEAD)
        self._linger = Linger(linger, wake)
        self._in_line = in_line
        self._hand_over = hand_over
        self._wake = wake
        self._may_read = may_read
        self._again = again
        if again is not None:
            again.on_due = self._put_due_into_chunks
            again.on_overtaken = self._give_last_words
        self._chunker = Chunker()
        self._block: list[Any] = []
        self._absorbed = 0
        self._waiting: deque[ReadyChunk] = deque()
        self._behind: list[Chunk] = []
        """Chunks whose place is behind batches of an earlier run of which not all items have been read again."""
        self._replay: Replay | None = None
        self._holds_back = False
        self._out_of_room = False
        self.ended = False

    @property
    def read(self) -> int:
        """How many items have been read."""
        return self._absorbed + len(self._block)

    @property
    def exhausted(self) -> bool:
        """Whether the input has ended and every chunk has been taken."""
        return self.ended and not self._waiting and (self._again is None or not self._holds_some_to_send_again())

    def _holds_some_to_send_again(self) -> bool:
        return bool(self._again) or self._chunker.held_items > 0

    @property
    def unaccounted(self) -> Results:
        """A result for each item that was read and not taken."""
        replays = self._replay is not None
        message = READ_AGAIN if replays else NOT_SENT
        results = [
            ItemResult(self._absorbed + place, item, Outcome.UNKNOWN, message, not_sent=not replays)
            for place, item in enumerate(self._block)
        ]
        for chunk in (*(ready.chunk for ready in self._waiting), *self._behind, *self._chunker.held):
            if self._again is not None and chunk.failures is None:
                results += left(self._again.without_overtaken(chunk))
            else:
                results += left(chunk)
        if self._again is not None:
            results += map(not_sent_again, self._again.failures)
        if self._replay is not None:
            results += self._replay.unaccounted
        return results

    async def read_all(self) -> None:
        """Reads the input to its end.

        Raises:
            JournalError: it is not the input of the journal.
            Exception: whatever the input raised.
        """
        source = Source(self._items)
        try:
            await self._read_again(source)
            if isinstance(source.items, AsyncIterator):
                await self._read_slowly(source.items)
            else:
                await self._read_at_once(source)
            self._absorb()
            self._queue(self._chunker.flush())
            self.ended = True
            self._wake()
        finally:
            await source.aclose()
            self._linger.end()

    def has_ready(self) -> bool:
        """Whether `take_ready` is likely to give a chunk."""
        if self._holds_back:
            return False
        return any(ready.ticket.ready for ready in self._waiting) or self._is_overdue()

    def take_ready(self) -> ReadyChunk | None:
        """The first chunk that no earlier write stands in the way of; None where there is none."""
        if ready := self._first_ready():
            return ready
        if self._is_overdue():
            if self._replay is None:  # else, what was read again has not been compared yet
                self._absorb()
            self._queue(self._chunker.flush())
            return self._first_ready()
        return None

    def delivered(self, parcel: Parcel, count: int) -> None:
        """The consumer had so many of a parcel's results."""
        parcel.left -= count
        if parcel.left == 0:
            self._room.give_back(replayed=parcel.replayed)

    def forget_waiting(self) -> None:
        """Gives up the places in the queues: what waits here will not be sent."""
        for ready in self._waiting:
            self._order.leave(ready.ticket)
        if self._again is not None:
            self._again.close()

    def send_again(self, ready: ReadyChunk, part: Chunk, results: Results) -> list[int]:
        """Takes the failed items that are sent again, of a part of a chunk that has ended; gives their positions."""
        assert self._again is not None
        if part.known is not None:  # an earlier run gave it up, and may have written its keys anew
            return []
        wanted = self._again.asked(results)
        positions = [position for position in wanted if not self._order.has_newer(part.keys[position], ready.ticket)]
        for position in wanted.keys() - positions:
            results[position].message = f"{results[position].message} {OVERTAKEN}".lstrip()
        if positions:
            failures = [results[position] for position in positions]
            self._again.add(failures, part, positions, [wanted[position] for position in positions])
            self.delivered(ready.parcel, len(positions))
            self._put_due_into_chunks()
        return positions

    def _put_due_into_chunks(self) -> None:
        assert self._again is not None
        if not (due := self._again.take_due()):
            return
        failures = [item.failure for item in due]
        self._queue(
            self._chunker.feed(
                [failure.index for failure in failures],
                [failure.item for failure in failures],
                [item.wire for item in due],
                [item.key for item in due],
            )
        )
        self._begin_to_linger()
        self._room.look_again()

    def _give_last_words(self, overtaken: Waiting) -> None:
        """A failed item is not sent again after all: it has its result."""
        results = [overtaken.last_words]
        self._room.take()
        self._recorder.decided(results, functools.partial(self._hand_over, results, Parcel(len(results))))
        self._wake()  # it may have been all that was waited for

    async def _read_again(self, source: Source) -> None:
        """Reads what an earlier run has read: replays what is known, and goes on with what is not."""
        journal, contents = self._recorder.journal, self._recorder.contents
        if journal is None or contents is None or not contents.items:
            return
        self._replay, self._holds_back = Replay(journal, contents, self._codec), True
        while (expected := await self._replay.expected(self._absorbed)) is not None:
            while not self._has_room_to_replay():
                await self._room.change()
            await source.read(expected.end - expected.first, self._block)
            self._replay.check(expected, self._block)
            known = self._replay.known(self._absorbed, self._block)
            items, self._block = self._block, []
            self._absorbed += len(items)
            self._take_known(known, items, expected.first)
        self._replay = None
        self._send()

    def _take_known(self, known: Known, items: Sequence[Any], first: int) -> None:
        if known.results:
            self._room.take(replayed=True)
            self._hand_over(known.results, Parcel(len(known.results), replayed=True))
            self._remember_given_up(known.results)
        self._room.take(len(known.chunks))
        for chunk in known.chunks:
            self._enter(chunk)
        self._check([items[index - first] for index in known.fresh], known.fresh)

    def _remember_given_up(self, results: Results) -> None:
        """Newer writes are told of older ones that an earlier run gave up, and that may still land."""
        items = [
            result.item
            for result in results
            if result.outcome is Outcome.UNKNOWN and result.batch_id is None and not result.not_sent
        ]
        if items:
            self._order.give_up(self._codec.check(items).keys, None)

    def _has_room_to_replay(self) -> bool:
        assert self._replay is not None
        room = self._room
        if self._replay.is_collecting:  # these must stand in the queues of their keys before anything is sent
            return room.held_by_replayed < room.size
        if room.held - room.held_by_replayed > 2 * room.size:
            self._send()
        if not self._holds_back:
            return self._has_room()
        return room.held_by_replayed < room.size

    def _send(self) -> None:
        self._holds_back = False
        self._wake()

    async def _read_at_once(self, source: Source) -> None:
        while True:
            await self._wait_for_room()
            if not await source.read(self._chunker.missing, self._block):
                return
            self._absorb()

    async def _read_slowly(self, iterator: AsyncIterator[Any]) -> None:
        await self._wait_for_room()
        async for item in iterator:
            self._block.append(item)
            if len(self._block) >= self._chunker.missing:
                self._absorb()
            self._begin_to_linger()
            if not self._block:
                await self._wait_for_room()

    def _absorb(self) -> None:
        """Checks the items that were read and puts them into chunks."""
        if not self._block:
            return
        items, first = self._block, self._absorbed
        self._recorder.read(first, items)
        self._block = []
        self._absorbed += len(items)
        self._check(items, range(first, first + len(items)))

    def _check(self, items: list[Any], indexes: Sequence[int]) -> None:
        """Items that were never sent go into chunks, if they are valid."""
        checked = self._codec.check(items)
        if checked.problems:
            self._reject(items, indexes, checked.problems)
        if len(checked.positions) < len(items):
            indexes = [indexes[position] for position in checked.positions]
            items = [items[position] for position in checked.positions]
        self._queue(self._chunker.feed(indexes, items, checked.wires, checked.keys))

    def _reject(self, items: list[Any], indexes: Sequence[int], problems: dict[int, str]) -> None:
        results = [
            ItemResult(indexes[position], items[position], Outcome.REJECTED, problem)
            for position, problem in sorted(problems.items())
        ]
        self._room.take()
        self._recorder.decided(results, functools.partial(self._hand_over, results, Parcel(len(results))))

    def _queue(self, chunks: list[Chunk]) -> None:
        self._room.take(len(chunks))
        self._behind += chunks
        if self._behind and not (self._replay is not None and self._replay.is_collecting):
            for chunk in self._behind:
                self._enter(chunk)
            self._behind = []
        if not self._chunker.held_items:
            self._linger.end()
        if chunks:
            self._wake()

    def _enter(self, chunk: Chunk) -> None:
        if self._again is not None:
            chunk = self._again.complete(chunk)
            if not len(chunk):
                self._room.give_back()
                self._wake()  # it may have been all that was waited for
                return
        self._waiting.append(ReadyChunk(chunk, self._order.enter(chunk.keys, self._wake)))
        if chunk.batch_id is None:
            chunk.encode()

    def _first_ready(self) -> ReadyChunk | None:
        for ready in self._waiting:
            if ready.ticket.ready:
                self._waiting.remove(ready)
                self._room.look_again()
                return ready
        return None

    async def _wait_for_room(self) -> None:
        while not self._has_room():
            self._out_of_room = True
            await self._room.change()
        self._out_of_room = False
        if self._linger.is_over:
            self._wake()
        await self._may_read()

    def _has_room(self) -> bool:
        held = self._room.held + self._chunker.held_items + self._chunker.missing + len(self._again or ())
        return held <= self._room.size and len(self._waiting) < CHUNKS_AHEAD and self._may_read_ahead()

    def _may_read_ahead(self) -> bool:
        # Where many uploads wait in line for a slot, each has its turn seldom, and what all of them hold adds up.
        in_line = self._in_line()
        return in_line <= 1 or sum(ready.ticket.ready for ready in self._waiting) < max(1, CHUNKS_AHEAD // in_line)

    def _is_overdue(self) -> bool:
        # Without room it is the consumer that is slow, not the input: the open chunk can still fill up. But what is
        # sent again may have taken the room, and nothing else may come.
        return self._linger.is_over and (not self._out_of_room or (self._again is not None and self._again.has_chunked))

    def _begin_to_linger(self) -> None:
        if not self._linger.has_begun and (self._block or self._chunker.held_items):
            self._linger.begin()
