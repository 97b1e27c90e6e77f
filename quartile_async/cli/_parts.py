"""A distributed upload on an event loop: its results are taken in a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

import anyio
import anyio.to_thread

from .._dask.parts import Records
from .._dask.results import PartItemResult, PartsProgress
from .._dask.upload import DaskUpload
from .._results import ItemResult

MOST_AHEAD = 500
"""Results that wait to be taken; then the thread waits."""

LEAVING = 5.0
"""Seconds for which the end of the thread is waited for, when the upload is left."""


class PartsUpload:
    """An upload by workers, and its results: all those together that are there at once. It is left at the block's end.

    Results have their index within their file, and their items the name of it.

    Args:
        upload: it, not begun yet.
        labels: path -> name of the file for people, where there are several.

    Attributes:
        waiting: results that stand in no block that was taken.
    """

    def __init__(self, upload: DaskUpload, labels: Mapping[str, str]) -> None:
        self._upload = upload
        self._labels = labels
        self.waiting: list[ItemResult[Any]] = []
        self._changed = threading.Condition()
        self._loop = asyncio.get_running_loop()
        self._more = asyncio.Event()
        self._error: Exception | None = None
        self._left = self._ended = False
        self._thread = threading.Thread(target=self._take, name="quartile_async parts", daemon=True)

    @property
    def progress(self) -> PartsProgress:
        return self._upload.progress

    @property
    def unaccounted(self) -> Sequence[ItemResult[Any]]:
        return [self._placed(replace(result)) for result in self._upload.unaccounted]

    def stop(self) -> None:
        self._upload.stop()

    async def __aenter__(self) -> Self:
        self._thread.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._changed:
            self._left = True
            self._changed.notify()
        self._upload.leave()
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(self._thread.join, LEAVING)

    async def __aiter__(self) -> AsyncGenerator[list[ItemResult[Any]]]:
        ended = False
        while not ended:
            await self._more.wait()
            self._more.clear()
            with self._changed:
                ended = self._ended
                block, self.waiting = self.waiting, []
                self._changed.notify()
            if block:
                yield block
        if self._error is not None:
            raise self._error

    def _take(self) -> None:
        """Runs in the thread."""
        iteration = iter(self._upload)
        try:
            for result in iteration:
                self._hand_over(self._placed(result))
                if self._left:
                    break
            iteration.close()
        except Exception as error:  # noqa: BLE001  # whatever ended it, it is raised where results are taken
            self._error = error
        with self._changed:
            self._ended = True
        self._tell()

    def _hand_over(self, result: ItemResult[Any]) -> None:
        with self._changed:
            self.waiting.append(result)
            if len(self.waiting) == 1:
                self._tell()
            while len(self.waiting) >= MOST_AHEAD and not self._left:
                self._changed.wait()

    def _tell(self) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(self._more.set)

    def _placed(self, result: PartItemResult) -> PartItemResult:
        """The result with its place in its file."""
        where = self._upload.parts[result.part].items
        if isinstance(where, Records):
            result.index += where.first.record
            if (label := self._labels.get(where.file.path)) is not None and hasattr(result.item, "file"):
                result.item.file = label
        return result
