"""Where results wait for the consumer."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from ._room import Parcel
from ._unfinished import Results

if TYPE_CHECKING:
    from ._traces import UploadTrace


class Delivery(NamedTuple):
    """Results that are handed over together, and the parcel that they belong to."""

    results: Results
    parcel: Parcel


class Outbox:
    """A queue from an upload's batches to its consumer.

    It needs no bound of its own: whoever puts something in holds the room for it. It is no anyio stream, because
    receiving from one can lose what was handed over in the instant of a cancellation, and each item counts.
    """

    def __init__(self) -> None:
        self._waiting: deque[Delivery] = deque()
        self._changed = asyncio.Event()
        self._closed = False
        self.trace: UploadTrace | None = None
        """Is told of all that is put in."""

    @property
    def left(self) -> Results:
        """Results that nobody has taken."""
        return [result for delivery in self._waiting for result in delivery.results]

    def put(self, results: Results, parcel: Parcel) -> None:
        if self.trace is not None:
            self.trace.results(results)
        self._waiting.append(Delivery(results, parcel))
        self._changed.set()

    def close(self) -> None:
        """No more will come; what is there can still be taken."""
        self._closed = True
        self._changed.set()

    async def take(self) -> Delivery | None:
        """Waits for results; None once it is closed and empty."""
        while not self._waiting:
            if self._closed:
                return None
            self._changed.clear()
            await self._changed.wait()
        return self._waiting.popleft()
