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
from ._journal import Contents, ItemsRead, Record, RecordedBatch, Subject
from ._journal_sqlite import JournalFile

TURNS = 4
"""Of the event loop, from the first record to the commit. A batch that ends makes way for the next one, whose first
record comes a few turns after the last one of its own; the two should share a commit."""


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
        self._gathering = _Gathering(self._commit)
        self._failure: BaseException | None = None

    def ask(self, call: Callable[[], object]) -> asyncio.Future[Any]:
        self._gathering.commit()
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._put(call, partial(_tell, [future]))
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


class _Gathering:
    """On the event loop: gathers what is written in a few turns of it, and while an earlier commit is under way."""

    def __init__(
        self, commit: Callable[[list[Record], Callable[[object, BaseException | None], object]], object]
    ) -> None:
        self._commit = commit
        self._records: list[Record] = []
        self._futures: list[asyncio.Future[None]] = []
        self._planned: asyncio.Handle | None = None
        self._under_way = 0

    def add(self, records: Sequence[Record]) -> asyncio.Future[None]:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._records += records
        self._futures.append(future)
        self._plan()
        return future

    def commit(self) -> None:
        """Commits what was gathered."""
        if self._planned is not None:
            self._planned.cancel()
            self._planned = None
        if not self._futures:
            return
        self._under_way += 1
        records, futures, self._records, self._futures = self._records, self._futures, [], []
        self._commit(records, partial(self._came_back, futures))

    def _plan(self) -> None:
        if self._futures and self._planned is None and not self._under_way:
            self._commit_after(TURNS)

    def _commit_after(self, turns: int) -> None:
        if turns:
            self._planned = asyncio.get_running_loop().call_soon(self._commit_after, turns - 1)
        else:
            self.commit()

    def _came_back(self, futures: list[asyncio.Future[None]], result: object, failure: BaseException | None) -> None:
        self._under_way -= 1
        _tell(futures, result, failure)
        self._plan()


def _tell(futures: Sequence[asyncio.Future[Any]], result: object, failure: BaseException | None) -> None:
    for future in futures:
        if future.done():  # whoever waited was cancelled
            continue
        if failure is not None:
            future.set_exception(failure)
        else:
            future.set_result(result)
