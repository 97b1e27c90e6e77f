"""Tasks and timers of one client's part, none of which outlives it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

logger = logging.getLogger("quartile_async")


async def finished(end: Coroutine[Any, Any, None]) -> None:
    """Does this to its end, also where it is cancelled meanwhile, and only then lets the cancellation through."""
    task = asyncio.get_running_loop().create_task(end, name="quartile_async end")
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled
    task.result()


class Work:
    """What is done beside the requests, until `aclose`.

    `broken`: is called with an error that nobody expected; whoever waits must not wait for ever.
    """

    def __init__(self, broken: Callable[[Exception], object]) -> None:
        self._broken = broken
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._timers: set[asyncio.TimerHandle] = set()
        self.is_over: bool = False

    def keep_up(self, name: str, run: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Sees to it that this is being done."""
        task = self._tasks.get(name)
        if not self.is_over and (task is None or task.done()):
            self._tasks[name] = asyncio.get_running_loop().create_task(
                self._watched(run), name=f"quartile_async quota: {name}"
            )

    def at(self, when: float, call: Callable[..., object], *arguments: object) -> None:
        """Calls this at a time on the loop's clock."""

        def due() -> None:
            self._timers.discard(timer)
            call(*arguments)

        timer = asyncio.get_running_loop().call_at(when, due)
        self._timers.add(timer)

    async def _watched(self, run: Callable[[], Coroutine[Any, Any, None]]) -> None:
        try:
            await run()
        except Exception as error:
            logger.exception("What has to do with the shared quota has failed.")
            self._broken(error)

    async def aclose(self) -> None:
        """Ends all of it."""
        self.is_over = True
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
