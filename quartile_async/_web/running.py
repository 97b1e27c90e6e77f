"""One upload that this process runs, from its folder and into it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Sequence
from typing import Any

import anyio.to_thread

from .._blocks import Blocks
from .._errors import ClientClosedError
from .._results import ItemResult
from .._tables.formats import Compression
from .._tables.json_rows import JsonLinesTable
from .._tables.opening import TextFile
from .._upload import Upload
from ..files import ItemFile, Reading
from .lines import Line, progress_fields, result_line
from .problems import error_line
from .records import State, Stored

PROGRESS_EVERY = 0.25
"""Seconds between two times that the counts are written down, at least."""

logger = logging.getLogger("quartile_async")


class RunningUpload:
    """An upload under way.

    Args:
        open_upload: opens it, once it is known what had been written down.

    Attributes:
        stored: what it is.
    """

    def __init__(self, stored: Stored, open_upload: Callable[[], Upload[Any]]) -> None:
        self.stored = stored
        self._open_upload = open_upload
        self._upload: Upload[Any] | None = None
        self._written_at = 0.0
        self._stopping = False
        self._changed = asyncio.Event()

    @property
    def state(self) -> State:
        return State.STOPPING if self._stopping else State.RUNNING

    @property
    def progress(self) -> dict[str, Any]:
        """The counts of this moment; none before it has begun."""
        return {} if self._upload is None else progress_fields(self._upload.progress)

    def stop(self) -> None:
        """Nothing more is submitted; what is in flight is finished."""
        self._stopping = True
        if self._upload is not None:
            self._upload.stop()

    async def changed(self, seconds: float) -> None:
        """Waits until there are more lines, or it has ended, or so long."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._changed.wait()

    async def run(self) -> None:
        """Runs it to its end; where it is cancelled, or the client closes, it can be gone on with."""
        try:
            seen = await anyio.to_thread.run_sync(self.stored.indexes_with_results)
            upload = self._upload = self._open_upload()
            if self._stopping:
                upload.stop()
            try:
                await self._take_results(upload, seen)
            except ClientClosedError:
                return
            except Exception as error:  # noqa: BLE001  # whatever ended it, that is how it ended
                self._log_error(error)
                await self._end(upload, State.FAILED, error, seen)
            else:
                await self._end(upload, State.STOPPED if self._stopping else State.FINISHED, None, seen)
        finally:
            self._tell()

    async def _take_results(self, upload: Upload[Any], seen: bytearray) -> None:
        async with upload, contextlib.aclosing(aiter(Blocks(upload))) as blocks:
            async for block in blocks:
                # What an earlier run had written down is told once.
                new = [result_line(result) for result in block if not seen[result.index]]
                for line in new:
                    seen[line["index"]] = 1
                if new:
                    await anyio.to_thread.run_sync(self.stored.append_results, new)
                await self._write_progress()
                self._tell()

    async def _write_progress(self, *, at_once: bool = False) -> None:
        now = time.monotonic()
        if at_once or now - self._written_at >= PROGRESS_EVERY:
            self._written_at = now
            await anyio.to_thread.run_sync(self.stored.write_progress, self.progress | {"state": self.state})

    async def _end(self, upload: Upload[Any], state: State, error: Exception | None, seen: bytearray) -> None:
        left = [result for result in upload.unaccounted if not seen[result.index]]
        unaccounted = [result_line(result) for result in left] + self._never_read(seen, left)
        if state is State.STOPPED and not unaccounted:
            state = State.FINISHED
        last: Line = self._summary(upload) if error is None else error_line(error, len(unaccounted))
        await self._write_progress(at_once=True)
        content = {"state": state, "last": last, "at": time.time()}
        await anyio.to_thread.run_sync(self.stored.write_end, content, unaccounted)

    def _never_read(self, seen: bytearray, left: Sequence[ItemResult[Any]]) -> list[Line]:
        known = {result.index for result in left}
        return [NEVER_READ | {"index": index} for index in range(len(seen)) if not seen[index] and index not in known]

    def _summary(self, upload: Upload[Any]) -> Line:
        progress = upload.progress
        names = ("succeeded", "failed", "rejected", "unknown")
        counts = {name: getattr(progress, name) for name in names}
        missing = self.stored.info.items - sum(counts.values())
        counts["unknown"] += missing
        return {
            "type": "summary",
            "items": self.stored.info.items,
            **counts,
            "batches": progress.batches_submitted,
            "seconds": round(progress.done / progress.rate, 3) if progress.rate else 0.0,
        }

    def _log_error(self, error: Exception) -> None:
        logger.error("Upload %s has ended by an error. %s", self.stored.info.id, error, exc_info=error)

    def _tell(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()


NEVER_READ: dict[str, Any] = {
    "type": "result",
    "outcome": "unknown",
    "message": "The upload ended before this was read. It can be sent again.",
    "process": None,
    "id": None,
    "batch_id": None,
    "not_sent": True,
    "resent": False,
    "replayed": False,
}


def items_of(stored: Stored) -> ItemFile:
    """The items that were asked for."""
    path = stored.path / "items.jsonl"
    return ItemFile(path, JsonLinesTable(TextFile(path, Compression.NONE, "utf-8-sig")), Reading())


def journal_of(stored: Stored) -> str:
    """Where the upload is written down, to be gone on with."""
    return str(stored.path / "journal")
