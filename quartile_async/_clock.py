"""The time of the running event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class LoopClock:
    """Seconds on the clock of the event loop in which this is first called.

    It is found once: finding the running loop asks the kernel for the process, and this is called a dozen times for
    each batch.
    """

    __slots__ = ("_time",)

    def __init__(self) -> None:
        self._time: Callable[[], float] | None = None

    def __call__(self) -> float:
        if self._time is None:
            self._time = asyncio.get_running_loop().time
        return self._time()
