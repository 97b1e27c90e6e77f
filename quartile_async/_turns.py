"""A few at a time, with everybody else's turn in between."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable


class Turns:
    """Lets a few tasks pass in each turn of the event loop, in the order of coming.

    Answers arrive many at once, and to read one takes a thousand times as long as a turn. Read all together, they
    would make the loop stand still for everyone else, and all their rows would lie in memory before the first of them
    is handed over: the garbage collector then costs more than reading them.

    Args:
        at_once: so many pass in one turn.
    """

    def __init__(self, at_once: Callable[[], int]) -> None:
        self._at_once = at_once
        self._passed = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def next(self) -> None:
        """Waits for a turn in which few others have passed."""
        loop = asyncio.get_running_loop()
        if not self._passed:
            loop.call_soon(self._let_pass, loop)
        if self._passed < self._at_once():
            self._passed += 1
            return
        waiter = loop.create_future()
        self._waiting.append(waiter)
        await waiter

    def _let_pass(self, loop: asyncio.AbstractEventLoop) -> None:
        self._passed = 0
        while self._waiting and self._passed < self._at_once():
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)
                self._passed += 1
        if self._passed:
            loop.call_soon(self._let_pass, loop)
