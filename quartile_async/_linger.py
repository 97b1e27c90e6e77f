"""How long what was read waits for more, before it leaves although it is not full."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Linger:
    """A time that is over `seconds` after it has begun.

    Attributes:
        is_over: whether it is, since it has begun last.
    """

    def __init__(self, seconds: float, passed: Callable[[], object]) -> None:
        self._seconds = seconds
        self._passed = passed
        self._timer: asyncio.TimerHandle | None = None
        self.is_over: bool = False

    @property
    def has_begun(self) -> bool:
        return self._timer is not None

    def begin(self) -> None:
        """Begins; `passed` is called when it is over."""
        self._timer = asyncio.get_running_loop().call_later(self._seconds, self._pass)

    def end(self) -> None:
        """As if it had not begun."""
        self.is_over = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _pass(self) -> None:
        self.is_over = True
        self._passed()
