"""A journal in a file, for an event loop: a thread of its own writes together what was asked for together."""

from __future__ import annotations

import asyncio
import os
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from ._errors import JournalError
from ._journal import Contents, ItemsRead, Record, RecordedBatch, Subject
from ._journal_sqlite import JournalFile


class FileJournal:
    """Keeps the records of one upload in a file; it survives a crash of the process and of the machine.

    A commit costs a write to the disk; what several batches write at about the same time shares one.

    Args:
        path: the file; it is made where there is none, for its owner alone. It needs a local disk.
    """

    def __init__(self, path: str | os.PathLike[str], *, clock: Callable[[], float] = time.time) -> None:
        self._path = Path(path).absolute()
        self._clock = clock
        self._thread: _Thread | None = None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self._path)!r})"

    async def open(self, subject: Subject) -> Contents:
        if self._thread is not None:
            raise JournalError(f"The journal {self._path} is in use by another upload. Wait for its end.")
        file = JournalFile(self._path, clock=self._clock)
        thread = self._thread = _Thread(file)
        thread.start()
        try:
            contents: Contents = await thread.ask(partial(file.open, subject))
        except BaseException:
            self._end()
            raise
        return contents

    async def items_from(self, index: int) -> Sequence[ItemsRead]:
        thread = self._running
        found: Sequence[ItemsRead] = await thread.ask(partial(thread.file.items_from, index))
        return found

    async def batches_from(self, first: int, number: int) -> Sequence[RecordedBatch]:
        thread = self._running
        found: Sequence[RecordedBatch] = await thread.ask(partial(thread.file.batches_from, first, number))
        return found

    def write(self, *records: Record) -> asyncio.Future[None]:
        return self._running.write(records)

    async def close(self, *, finished: bool) -> None:
        thread = self._running
        try:
            await thread.ask(partial(thread.file.close, finished=finished))
        finally:
            self._end()

    @property
    def _running(self) -> _Thread:
        if self._thread is None:
            raise JournalError(f"The journal {self._path} is not open.")
        return self._thread

    def _end(self) -> None:
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.end()


class _Job(NamedTuple):
    """What the thread is asked for: to append records, or else to call something."""

    future: asyncio.Future[Any]
    call: Callable[[], object] | None
    records: Sequence[Record] = ()


class _Thread(threading.Thread):
    """Does jobs in their order; once one has failed, all that would write fail as it did."""

    def __init__(self, file: JournalFile) -> None:
        # A daemon: an event loop that was killed must not keep the process. What is durable then is a beginning.
        super().__init__(name="quartile_async journal", daemon=True)
        self.file = file
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._failure: BaseException | None = None

    def ask(self, call: Callable[[], object]) -> asyncio.Future[Any]:
        return self._put(_Job(asyncio.get_running_loop().create_future(), call))

    def write(self, records: Sequence[Record]) -> asyncio.Future[None]:
        return self._put(_Job(asyncio.get_running_loop().create_future(), None, records))

    def end(self) -> None:
        self._jobs.put(None)

    def run(self) -> None:
        waiting: deque[_Job | None] = deque()
        try:
            while (group := self._next(waiting)) is not None:
                self._do(group)
        except RuntimeError:  # the event loop is gone, and so is everyone who would wait
            return
        finally:
            self.file.let_go()

    def _put(self, job: _Job) -> asyncio.Future[Any]:
        self._jobs.put(job)
        return job.future

    def _next(self, waiting: deque[_Job | None]) -> list[_Job] | None:
        """The next job, and, where it appends, all that append right after it; None at the end."""
        if not waiting:
            waiting.append(self._jobs.get())
        while not self._jobs.empty():
            waiting.append(self._jobs.get())
        if (job := waiting.popleft()) is None:
            return None
        group = [job]
        while job.call is None and waiting and (after := waiting[0]) is not None and after.call is None:
            group.append(after)
            waiting.popleft()
        return group

    def _do(self, group: list[_Job]) -> None:
        result, failure = None, None
        try:
            if (call := group[0].call) is not None:
                result = call()
            else:
                self._append(list(chain.from_iterable(job.records for job in group)))
        except BaseException as error:  # noqa: BLE001  # whatever it is, those who wait are told
            failure = error
        futures = [job.future for job in group]
        futures[0].get_loop().call_soon_threadsafe(_tell, futures, result, failure)

    def _append(self, records: list[Record]) -> None:
        if self._failure is not None:
            raise self._failure
        try:
            self.file.append(records)
        except BaseException as error:
            self._failure = error
            raise


def _tell(futures: list[asyncio.Future[Any]], result: object, failure: BaseException | None) -> None:
    for future in futures:
        if future.done():  # whoever waited was cancelled
            continue
        if failure is not None:
            future.set_exception(failure)
        else:
            future.set_result(result)
