"""Spans are made when they are written, or asked about: many at once cost much less than each in its turn.

To make a span takes the SDK some sixty functions. Called once in a while they are cold, since the items of a batch have
been through the processor's caches meanwhile; called for many spans in a row they take half the time. A span is
exported when it has ended, and its times are those that it is given: what is exported is the same, a moment later.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

DELAY = 1.0
"""Seconds after which what has ended is written at the latest."""

MANY = 768
"""So many spans are written at once: enough for caches to be warm, and less than a processor's queue takes (the SDK's
takes 2,048). It takes some 15 ms, and only where there are so many in `DELAY`."""


class Writable(Protocol):
    """What has something to write."""

    def write(self) -> None:
        """Writes what has ended; raises nothing."""


class Writer:
    """Writes what has ended: much at once, and nothing later than after `DELAY` seconds.

    It is made, and used, in the event loop's thread.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._under_way: dict[Writable, None] = {}
        self._ended: list[Writable] = []
        self._spans = 0
        self._closed = False

    def begun(self, writable: Writable) -> None:
        self._under_way[writable] = None
        if self._timer is None:
            self._timer = self._loop.call_later(DELAY, self._write)

    def ended(self, writable: Writable, spans: int) -> None:
        """There is no more to come of it; so many spans are still to be written.

        What ends after `close` is a coroutine that was left, and is thrown away.
        """
        self._under_way.pop(writable, None)
        self._ended.append(writable)
        self._spans += spans
        if self._spans >= MANY or self._closed:
            self._write_ended()

    def close(self) -> None:
        """Writes all that there is; what ends later is written at once."""
        self._closed = True
        self._write()

    def _write(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._write_ended()
        for writable in list(self._under_way):
            writable.write()
        if self._under_way and not self._closed:
            self._timer = self._loop.call_later(DELAY, self._write)

    def _write_ended(self) -> None:
        ended, self._ended, self._spans = self._ended, [], 0
        for writable in ended:
            writable.write()
