"""A journal in a file, for an event loop: a thread of its own writes together what was asked for together."""

from __future__ import annotations

import asyncio
import os
import queue
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from ._errors import JournalError
from ._gathering import Gathering, tell_all
from ._journal import Contents, ItemsRead, Record, RecordedBatch, Subject
from ._journal_sqlite import JournalFile


class FileJournal:
    """Keeps the records of one upload in a file; it survives a crash of the process and of the machine.

    A commit costs a write to the disk, so what several batches write while one is under way shares the next one.

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
    """What the thread is asked for, and who is told what came of it: the result, or what was raised."""

    loop: asyncio.AbstractEventLoop
    call: Callable[[], object]
    tell: Callable[[object, BaseException | None], object]


class _Thread(threading.Thread):
    """Does jobs in their order; once one that writes has failed, all that would write fail as it did."""

    def __init__(self, file: JournalFile) -> None:
        # A daemon: an event loop that was killed must not keep the process. What is durable then is a beginning.
        super().__init__(name="quartile_async journal", daemon=True)
        self.file = file
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._gathering = Gathering(self._commit)
        self._failure: BaseException | None = None

    def ask(self, call: Callable[[], object]) -> asyncio.Future[Any]:
        self._gathering.commit()
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._put(call, partial(tell_all, [future]))
        return future

    def write(self, records: Sequence[Record]) -> asyncio.Future[None]:
        return self._gathering.add(records)

    def end(self) -> None:
        self._jobs.put(None)

    def run(self) -> None:
        try:
            while (job := self._jobs.get()) is not None:
                self._do(job)
        except RuntimeError:  # the event loop is gone, and so is everyone who would wait
            return
        finally:
            self.file.let_go()

    def _put(self, call: Callable[[], object], tell: Callable[[object, BaseException | None], object]) -> None:
        self._jobs.put(_Job(asyncio.get_running_loop(), call, tell))

    def _do(self, job: _Job) -> None:
        result, failure = None, None
        try:
            result = job.call()
        except BaseException as error:  # noqa: BLE001  # whatever it is, those who wait are told
            failure = error
        job.loop.call_soon_threadsafe(job.tell, result, failure)

    def _commit(self, records: list[Record], tell: Callable[[object, BaseException | None], object]) -> None:
        self._put(partial(self._append, records), tell)

    def _append(self, records: list[Record]) -> None:
        if self._failure is not None:
            raise self._failure
        try:
            self.file.append(records)
        except BaseException as error:
            self._failure = error
            raise
