"""From the input to chunks that may go out: reads no further than there is room for results."""

from __future__ import annotations

import asyncio
import inspect
from collections import deque
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable, Iterator
from itertools import islice
from typing import Any

import anyio.lowlevel

from ._batch import NOT_SENT, Results, unknown
from ._chunking import CHUNK_SIZE, Chunk, Chunker
from ._ordering import KeyOrder, Ticket
from ._resources import Resource
from ._results import ItemResult, Outcome
from ._validation import codec_for

CHUNKS_AHEAD = 8
"""How many chunks, beyond those that may be in flight, may be read before their results are taken."""


class Parcel:
    """Results that the consumer will be handed; it holds room from the moment its items were read.

    Attributes:
        left: how many of its results the consumer has not had yet.
    """

    __slots__ = ("left",)

    def __init__(self, left: int) -> None:
        self.left = left


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
    """

    def __init__(
        self,
        items: Iterable[Any] | AsyncIterable[Any],
        resource: Resource[Any],
        *,
        order: KeyOrder,
        max_in_flight: int,
        linger: float,
        reject: Callable[[Results, Parcel], object],
        wake: Callable[[], object],
        may_read: Callable[[], Awaitable[object]],
    ) -> None:
        self._items = items
        self._codec = codec_for(resource)
        self._order = order
        self._room = (max_in_flight + CHUNKS_AHEAD) * CHUNK_SIZE
        self._linger = linger
        self._reject = reject
        self._wake = wake
        self._may_read = may_read
        self._chunker = Chunker()
        self._block: list[Any] = []
        self._absorbed = 0
        self._waiting: deque[ReadyChunk] = deque()
        self._parcels = 0
        self._room_made = asyncio.Event()
        self._out_of_room = False
        self._timer: asyncio.TimerHandle | None = None
        self._overdue = False
        self.ended = False

    @property
    def read(self) -> int:
        """How many items have been read."""
        return self._absorbed + len(self._block)

    @property
    def exhausted(self) -> bool:
        """Whether the input has ended and every chunk has been taken."""
        return self.ended and not self._waiting

    @property
    def unaccounted(self) -> Results:
        """A result for each item that was read and not taken."""
        results = [
            ItemResult(self._absorbed + place, item, Outcome.UNKNOWN, NOT_SENT, not_sent=True)
            for place, item in enumerate(self._block)
        ]
        for chunk in (*(ready.chunk for ready in self._waiting), *self._chunker.held):
            results += unknown(chunk, NOT_SENT, not_sent=True)
        return results

    async def read_all(self) -> None:
        """Reads the input to its end. What it raises, the input raised."""
        try:
            if isinstance(self._items, AsyncIterable):
                await self._read_slowly(self._items)
            else:
                await self._read_at_once(iter(self._items))
            self._absorb()
            self._queue(self._chunker.flush())
            self.ended = True
            self._wake()
        finally:
            self._disarm()

    def has_ready(self) -> bool:
        """Whether `take_ready` is likely to give a chunk."""
        return any(ready.ticket.ready for ready in self._waiting) or self._is_overdue()

    def take_ready(self) -> ReadyChunk | None:
        """The first chunk that no earlier write stands in the way of; None where there is none."""
        if ready := self._first_ready():
            return ready
        if self._is_overdue():
            self._absorb()
            self._queue(self._chunker.flush())
            return self._first_ready()
        return None

    def delivered(self, parcel: Parcel, count: int) -> None:
        """The consumer had so many of a parcel's results."""
        parcel.left -= count
        if parcel.left == 0:
            self._parcels -= 1
            self._room_made.set()

    def forget_waiting(self) -> None:
        """Gives up the places in the queues: what waits here will not be sent."""
        for ready in self._waiting:
            self._order.leave(ready.ticket)

    async def _read_at_once(self, iterator: Iterator[Any]) -> None:
        while True:
            await self._wait_for_room()
            wanted = self._chunker.missing
            for item in islice(iterator, wanted):  # not extend: what was read before an error counts as read
                self._block.append(item)
            if len(self._block) < wanted:
                return
            self._absorb()
            # Reading never waits here; without this, other tasks would stand still for as long as there is room.
            await anyio.lowlevel.checkpoint()

    async def _read_slowly(self, source: AsyncIterable[Any]) -> None:
        iterator = aiter(source)
        try:
            await self._wait_for_room()
            async for item in iterator:
                self._block.append(item)
                if len(self._block) >= self._chunker.missing:
                    self._absorb()
                if self._timer is None:
                    self._arm()
                if not self._block:
                    await self._wait_for_room()
        finally:
            if inspect.isasyncgen(iterator):
                # Nobody else can end it now; left to the garbage collector it would end in a stray task.
                with anyio.CancelScope(shield=True):
                    await iterator.aclose()

    def _absorb(self) -> None:
        """Checks the items that were read and puts them into chunks."""
        if not self._block:
            return
        items, first = self._block, self._absorbed
        checked = self._codec.check(items)
        self._block = []
        self._absorbed += len(items)
        if checked.problems:
            self._reject_at(first, items, checked.problems)
        indexes = [first + position for position in checked.positions]
        valid = items if len(indexes) == len(items) else [items[position] for position in checked.positions]
        self._queue(self._chunker.feed(indexes, valid, checked.wires, checked.keys))

    def _reject_at(self, first: int, items: list[Any], problems: dict[int, str]) -> None:
        results = [
            ItemResult(first + position, items[position], Outcome.REJECTED, problem)
            for position, problem in sorted(problems.items())
        ]
        self._parcels += 1
        self._reject(results, Parcel(len(results)))

    def _queue(self, chunks: list[Chunk]) -> None:
        for chunk in chunks:
            self._parcels += 1
            self._waiting.append(ReadyChunk(chunk, self._order.enter(chunk.keys, self._wake)))
        if not self._chunker.held_items:
            self._disarm()
        if chunks:
            self._wake()

    def _first_ready(self) -> ReadyChunk | None:
        for ready in self._waiting:
            if ready.ticket.ready:
                self._waiting.remove(ready)
                self._room_made.set()
                return ready
        return None

    async def _wait_for_room(self) -> None:
        while not self._has_room():
            self._out_of_room = True
            self._room_made.clear()
            await self._room_made.wait()
        self._out_of_room = False
        await self._may_read()

    def _has_room(self) -> bool:
        held = self._parcels * CHUNK_SIZE + self._chunker.held_items + self._chunker.missing
        return held <= self._room and len(self._waiting) < CHUNKS_AHEAD

    def _is_overdue(self) -> bool:
        # Without room it is the consumer that is slow, not the input: the open chunk can still fill up.
        return self._overdue and not self._out_of_room

    def _arm(self) -> None:
        if self._block or self._chunker.held_items:
            self._timer = asyncio.get_running_loop().call_later(self._linger, self._linger_passed)

    def _disarm(self) -> None:
        self._overdue = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _linger_passed(self) -> None:
        self._overdue = True
        self._wake()
