"""Lines from where they are made to where they are written: many at once, but never too many ahead."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Any, Self, cast

from .lines import Line

MOST_AHEAD = 500
"""Lines that wait to be written; then nothing more is read."""


class Pump:
    """Reads lines in a task of its own, for as long as its block runs.

    Attributes:
        error: what the source has raised, before any line.
    """

    def __init__(self, lines: AsyncIterator[Line]) -> None:
        self._source = lines
        self._lines: list[Line] = []
        self._more = asyncio.Event()
        self._room = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._over = False
        self.error: Exception | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run(), name="quartile_async stream")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._task is not None
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    @property
    def is_over(self) -> bool:
        """Whether all lines have been taken, and no more will come."""
        return self._over and not self._lines

    def wake(self) -> None:
        """Whoever waits for more goes on."""
        self._more.set()

    async def more(self, seconds: float) -> None:
        """Waits until there are lines, or there will be none any more, or so long."""
        if self._lines or self._over:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._more.wait()

    def take(self) -> list[Line]:
        """The lines that are there."""
        lines, self._lines = self._lines, []
        self._more.clear()
        self._room.set()
        return lines

    async def _run(self) -> None:
        try:
            async with contextlib.aclosing(cast("Any", self._source)) as source:
                async for line in source:
                    self._lines.append(line)
                    self._more.set()
                    while len(self._lines) >= MOST_AHEAD:
                        self._room.clear()
                        await self._room.wait()
        except Exception as error:  # noqa: BLE001  # whoever reads decides what it means
            self.error = error
        finally:
            self._over = True
            self._more.set()
