"""The results of an upload that runs: taken, shown, counted and written as they come; Ctrl-C is heard meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol

import anyio.to_thread
from rich.console import Console

from .._results import ItemResult, Progress, Tally
from ._display import display
from ._ending import Ending
from ._interrupts import interrupts_heard
from ._job import Job, Source, Writers, opened_writers
from ._report import ReportGatherer, write_report

LAST_MOMENT = 10.0
"""Seconds that what is in flight gets to end after the first Ctrl-C."""


class Running(Protocol):
    """An upload, in this process or by workers. It is left at the end of its `async with`."""

    @property
    def progress(self) -> Progress: ...

    @property
    def unaccounted(self) -> Sequence[ItemResult[Any]]: ...

    def stop(self) -> None: ...

    async def __aenter__(self) -> object: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class ResultBlocks(Protocol):
    """Its results, all those together that are there at once; see `Blocks`."""

    waiting: list[ItemResult[Any]]

    def __aiter__(self) -> AsyncGenerator[list[ItemResult[Any]]]: ...


@dataclass(slots=True, frozen=True)
class Begun:
    """An upload, and its results."""

    upload: Running
    blocks: ResultBlocks


async def taken(
    job: Job,
    source: Source,
    begun: Callable[[], Begun],
    gathered: ReportGatherer,
    console: Console,
    *,
    total: int,
    first: First | None = None,
) -> tuple[Ending, Writers]:
    """Runs an upload to its end, and gives what became of it.

    What cannot be written is how it ended, once something has been sent.

    Args:
        job: what is asked for.
        source: its files.
        begun: begins the upload, once the files that are written are open.
        gathered: what a report is made of.
        console: where people look.
        total: about how many items there are.
        first: the items after whose results it is stopped; None: after all.

    Raises:
        ConfigurationError, OSError: a file cannot be written; nothing was sent.
    """
    ending: Ending | None = None
    writers = Writers()
    try:
        with opened_writers(job, source) as writers:
            ending = await _Run(begun(), writers, gathered, console, first=first).run(total)
            await _report(job, gathered, ending)
    except OSError as error:
        if ending is None:
            raise
        ending.error = ending.error or error
    return ending, writers


async def _report(job: Job, gathered: ReportGatherer, ending: Ending) -> None:
    if (path := job.outputs.report) is None:
        return
    try:
        await anyio.to_thread.run_sync(lambda: write_report(path, gathered, ending.summary, ending=ending.in_words))
    except OSError as error:
        ending.error = ending.error or OSError(f"The report could not be written to {path}: {error.strerror}.")


class First:
    """The first items of a source. After them it waits: what it came from has not ended, and can be gone on with.

    Attributes:
        count: how many.
        are_all: whether the source has no more.
    """

    def __init__(self, source: Source, count: int) -> None:
        self._source = source
        self.count = count
        self.are_all: bool = False

    async def __aiter__(self) -> AsyncIterator[Any]:
        count = 0
        async for item in self._source:
            if count == self.count:
                await asyncio.Event().wait()
            yield item
            count += 1
        self.are_all = True


class _Run:
    """An upload under way: takes its results, and listens to Ctrl-C.

    Args:
        first: the items after whose results it is stopped; None: after all.
    """

    def __init__(
        self,
        begun: Begun,
        writers: Writers,
        gathered: ReportGatherer,
        console: Console,
        *,
        first: First | None,
    ) -> None:
        self._upload = begun.upload
        self._writers = writers
        self._gathered = gathered
        self._console = console
        self._first = first
        self._blocks = begun.blocks
        self._tally = Tally()
        self._not_sent = 0
        self._interrupted = 0
        self._last_moment: asyncio.TimerHandle | None = None

    async def run(self, total: int) -> Ending:
        loop = asyncio.get_running_loop()
        started, error = loop.time(), None
        with self._listening(), display(self._upload, total, self._console, self._gathered.sample):
            try:
                await self._take_results()
            except asyncio.CancelledError:
                if not self._interrupted:
                    raise
            except Exception as failure:  # noqa: BLE001  # whatever ended it, what is known is still written and told
                error = failure
            unaccounted = self._upload.unaccounted
            try:
                await self._write([*self._blocks.waiting, *unaccounted])
            except OSError as failure:
                error = error or failure
        seconds, batches = loop.time() - started, self._upload.progress.batches_submitted
        summary = self._tally.summary(batches=batches, seconds=seconds)
        canary = self._first is not None and self._is_enough and not self._first.are_all and error is None
        return Ending(summary, len(unaccounted), self._not_sent, bool(self._interrupted), error, canary=canary)

    @property
    def _is_enough(self) -> bool:
        return self._first is not None and self._tally.items >= self._first.count

    async def _take_results(self) -> None:
        async with self._upload, contextlib.aclosing(aiter(self._blocks)) as blocks:
            async for block in blocks:
                await self._write(block)
                if self._is_enough:
                    self._upload.stop()

    async def _write(self, block: list[ItemResult[Any]]) -> None:
        self._tally.add(block)
        self._gathered.add(block)
        self._not_sent += sum(result.not_sent and not result.replayed for result in block)
        for writer in self._writers.all:
            try:
                await anyio.to_thread.run_sync(writer.write, block)
            except OSError:
                self._writers.drop(writer)
                raise

    @contextlib.contextmanager
    def _listening(self) -> Iterator[None]:
        """Ctrl-C or SIGTERM once: send nothing more, and wait a moment for what is in flight. Twice: leave now."""
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None

        def interrupt(_: signal.Signals) -> None:
            self._interrupted += 1
            if self._interrupted == 1:
                self._console.print("Interrupted: waiting for what is in flight. Ctrl-C again leaves now.")
                self._upload.stop()
                self._last_moment = loop.call_later(LAST_MOMENT, task.cancel)
            elif self._interrupted == 2:
                task.cancel()

        try:
            with interrupts_heard(interrupt):
                yield
        finally:
            if self._last_moment is not None:
                self._last_moment.cancel()
