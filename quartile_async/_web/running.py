"""One upload that this process runs, from its folder and into it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import anyio.to_thread

from .._blocks import Blocks
from .._errors import ClientClosedError
from .._results import ItemResult
from .._tables.formats import Compression
from .._tables.json_rows import JsonLinesTable
from .._tables.opening import TextFile
from .._tables.sources import ItemFile, Reading
from .._upload import Upload
from .lines import Line, progress_fields, result_line
from .problems import error_line
from .records import GoneError, Known, State, Stored

PROGRESS_EVERY = 0.25
"""Seconds between two times that the counts are written down, at least."""

T = TypeVar("T")

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
        self._uncertain: dict[int, Line] = {}
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
        """Runs it to its end; where it is cancelled, or cannot be written down, it can be gone on with.

        Raises:
            OSError: it cannot be written down.
        """
        try:
            known = await undisturbed(self.stored.known)
            upload = self._upload = self._open_upload()
            if self._stopping:
                upload.stop()
            error = await self._take_results(upload, known)
            if not isinstance(error, ClientClosedError):
                await self._end(upload, error, known)
        except GoneError:
            logger.warning("Upload %s was removed while it ran.", self.stored.info.id)
        finally:
            self._tell()

    async def _take_results(self, upload: Upload[Any], known: Known) -> Exception | None:
        """Writes down what becomes known, until the upload has ended; gives what has ended it."""
        async with upload, contextlib.aclosing(aiter(Blocks(upload))) as blocks:
            while True:
                try:
                    block = await anext(blocks)
                except StopAsyncIteration:
                    return None
                except Exception as error:  # noqa: BLE001  # whatever ended it, that is how it ended
                    return error
                await self._write(block, known)

    async def _write(self, block: Sequence[ItemResult[Any]], known: Known) -> None:
        # What an earlier run had written down is told once; what is not certain, at the end: a later run may know it.
        new = [result_line(result) for result in block if not known.outcomes[result.index]]
        certain = [line for line in new if line["outcome"] != "unknown"]
        if certain:
            await undisturbed(self.stored.append_results, certain)
        for line in certain:
            known.add(line)
        self._uncertain |= {line["index"]: line for line in new if line["outcome"] == "unknown"}
        await self._write_progress()
        self._tell()

    async def _write_progress(self, *, at_once: bool = False) -> None:
        now = time.monotonic()
        if at_once or now - self._written_at >= PROGRESS_EVERY:
            self._written_at = now
            await undisturbed(self.stored.write_progress, self.progress | {"state": self.state})

    async def _end(self, upload: Upload[Any], error: Exception | None, known: Known) -> None:
        left = {result.index: result_line(result) for result in upload.unaccounted}
        rest = [
            self._uncertain.get(index) or left.get(index) or NEVER_READ | {"index": index}
            for index, outcome in enumerate(known.outcomes)
            if not outcome
        ]
        if error is not None:
            self._log_error(error)
            state, last = State.FAILED, error_line(error, len(rest))
        else:
            unsent = any(line["not_sent"] for line in rest)
            state, last = State.STOPPED if self._stopping and unsent else State.FINISHED, self._summary(known, rest)
        await self._write_progress(at_once=True)
        await undisturbed(self.stored.write_end, {"state": state, "last": last, "at": time.time()}, rest)

    def _summary(self, known: Known, rest: Sequence[Line]) -> Line:
        info = self.stored.info
        return {
            "type": "summary",
            "items": info.items,
            **known.counts(),
            "batches": len(known.batches | {line["batch_id"] for line in rest if line["batch_id"]}),
            "seconds": round(time.time() - info.created, 3),
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


async def undisturbed(function: Callable[..., T], *arguments: Any) -> T:
    """Runs a function in a thread; when this ends, by cancellation too, the function has ended."""
    work = asyncio.ensure_future(anyio.to_thread.run_sync(function, *arguments))
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        await asyncio.wait([work])
        raise


def items_of(stored: Stored) -> ItemFile:
    """The items that were asked for."""
    path = stored.path / "items.jsonl"
    return ItemFile(path, JsonLinesTable(TextFile(path, Compression.NONE, "utf-8-sig")), Reading())


def journal_of(stored: Stored) -> str:
    """Where the upload is written down, to be gone on with."""
    return str(stored.path / "journal")
