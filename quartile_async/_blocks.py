"""The results of an upload, all those together that are there at once."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from typing import Any

from ._results import ItemResult
from ._upload import Upload

MOST_AHEAD = 500
"""Results that wait to be taken; then nothing more is taken from the upload."""


class Blocks:
    """Blocks of results, each as soon as there are any; to be iterated once, and closed.

    The iteration raises what the upload does, after all that was there.

    Attributes:
        waiting: results that were taken from the upload, and stand in no block: those that were left.
    """

    def __init__(self, upload: Upload[Any]) -> None:
        self._upload = upload
        self.waiting: list[ItemResult[Any]] = []
        self._more, self._room = asyncio.Event(), asyncio.Event()

    async def __aiter__(self) -> AsyncGenerator[list[ItemResult[Any]]]:
        task = asyncio.create_task(self._take(), name="quartile_async results")
        try:
            while not task.done() or self.waiting:
                await self._more.wait()
                self._more.clear()
                if self.waiting:
                    block = self.waiting.copy()
                    self.waiting.clear()
                    self._room.set()
                    yield block
                if task.done():
                    self._more.set()
            await task
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await task

    async def _take(self) -> None:
        try:
            async for result in self._upload:
                self.waiting.append(result)
                self._more.set()
                while len(self.waiting) >= MOST_AHEAD:
                    self._room.clear()
                    await self._room.wait()
        finally:
            self._more.set()
