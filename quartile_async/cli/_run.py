"""One upload of files, from the terminal."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

import anyio.to_thread
import typer
from pydantic_core import to_json
from rich.console import Console

from .. import ConfigurationError, QuartileClient, Summary, Upload
from .._blocks import Blocks
from .._results import ItemResult, Tally
from ._display import display, print_summary
from ._job import Job, Source, Writers, check_paths, opened_source, opened_writers, say_what_was_understood
from ._journals import Standing, Way, make_way, standing_of
from ._preview import is_asked, previewed
from ._report import ReportGatherer, write_report
from ._watch import Watch
from ._words import say, say_to_copy

LAST_MOMENT = 10.0
"""Seconds that what is in flight gets to end after the first Ctrl-C."""


@dataclass(slots=True)
class Ending:
    """How an upload ended.

    Attributes:
        summary: the counts.
        unaccounted: items whose result was not learned; they are also counted as unknown.
        not_sent: items that this run could not send.
        declined: whether a person was asked, and said no: then nothing was sent.
        canary: whether no more than the first items were to be sent.
    """

    summary: Summary
    unaccounted: int = 0
    not_sent: int = 0
    interrupted: bool = False
    error: Exception | None = None
    declined: bool = False
    canary: bool = False

    @property
    def whole(self) -> bool:
        """Whether all was read that was to be read."""
        return not self.interrupted and self.error is None

    @property
    def complete(self) -> bool:
        return self.summary.succeeded == self.summary.items

    @property
    def in_words(self) -> str:
        if self.error is not None:
            return f"stopped by an error: {self.error}"
        return "interrupted" if self.interrupted else "done"


async def run_job(job: Job, console: Console) -> Ending:
    """Uploads the files, shows progress, writes results and prints the summary.

    Raises:
        ConfigurationError, JournalError, OSError: a file, its journal or a setting cannot be used; nothing was sent.
    """
    watch = Watch(console)
    client = QuartileClient.from_env(**job.settings, on_event=watch)
    source = await anyio.to_thread.run_sync(opened_source, job)
    check_paths(job)
    say_what_was_understood(source, console)
    async with client:
        subject = client._subject_of(job.resource)  # pyright: ignore[reportPrivateUsage]  # one package
        standing = Standing()
        if job.journal is not None:
            standing = await standing_of(job.journal, subject, source, job.name)
        _check_first(job, standing)
        total = None
        if is_asked(job, console) and standing.way is not Way.REPLAY:
            findings, wanted = await previewed(job, source, client, standing, console)
            total = findings.records
            if not wanted:
                say(console, "Nothing was sent.")
                return Ending(Tally().summary(batches=0, seconds=0.0), declined=True)
        if job.journal is not None:
            await make_way(job.journal, standing, subject, job.name, console)
        if total is None:
            total = await source.estimate()
        ending, writers = await _written(job, source, client, watch, total=min(total, job.first or total))
    _say_what_became_of_it(job, ending, writers, console)
    return ending


def _check_first(job: Job, standing: Standing) -> None:
    if job.first is not None and standing.left_off_at > job.first:
        raise ConfigurationError(
            f"An upload of {job.name} is under way, and has read {standing.left_off_at} items: --first {job.first} is "
            "behind that. Go on with it without --first, or begin anew with --restart."
        )


async def _written(
    job: Job, source: Source, client: QuartileClient, watch: Watch, *, total: int
) -> tuple[Ending, Writers]:
    """Runs the upload; what cannot be written is how it ended, once something has been sent."""
    ending: Ending | None = None
    writers = Writers()
    try:
        with opened_writers(job, source) as writers:
            ending = await _run(job, source, client, writers, watch, total=total)
    except OSError as error:
        if ending is None:
            raise
        ending.error = ending.error or error
    return ending, writers


async def _run(
    job: Job, source: Source, client: QuartileClient, writers: Writers, watch: Watch, *, total: int
) -> Ending:
    gathered = ReportGatherer(
        name=job.name,
        account=client._account,  # pyright: ignore[reportPrivateUsage]  # one package
        server=client._api.server,  # pyright: ignore[reportPrivateUsage]  # one package
        resource=job.resource.path,
    )
    watch.gathered = gathered
    first = None if job.first is None else _First(source, job.first)
    journal = job.journal.path if job.journal is not None else None
    upload = client.upload(job.resource, first or source, journal=journal)
    ending = await _Run(upload, writers, gathered, watch.console, first=first).run(total)
    if job.outputs.report is not None:
        path = job.outputs.report
        try:
            await anyio.to_thread.run_sync(lambda: write_report(path, gathered, ending.summary, ending=ending.in_words))
        except OSError as error:
            ending.error = ending.error or OSError(f"The report could not be written to {path}: {error.strerror}.")
    return ending


class _First:
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


def _say_what_became_of_it(job: Job, ending: Ending, writers: Writers, console: Console) -> None:
    outputs = job.outputs
    print_summary(ending.summary, console, results=outputs.results, interrupted=ending.interrupted, error=ending.error)
    if writers.to_mend is not None:
        say(console, f"To mend and upload again: {writers.to_mend.written} rows in {outputs.retry_file}")
    if outputs.report is not None:
        say(console, f"The report: {outputs.report}")
    _say_what_is_left(job, ending, console)
    if outputs.as_json:
        typer.echo(to_json(_counts(ending.summary)).decode())


def _say_what_is_left(job: Job, ending: Ending, console: Console) -> None:
    if ending.canary:
        what = "the rest" if job.journal is not None else "all, these too"
        words = f"Only the first {ending.summary.items} were to be sent. To send {what}: {job.command}"
        say_to_copy(console, words)
        return
    if not ending.whole:
        say(
            console,
            f"{ending.summary.items} records of {job.name} were read; any that come after them were not, and have no "
            "result.",
        )
    if job.journal is None or (ending.whole and not ending.not_sent):
        return
    if ending.not_sent:
        say(console, f"{ending.not_sent} items were not sent.")
    say_to_copy(console, f"To go on where this has ended: {job.command}")


def _counts(summary: Summary) -> dict[str, Any]:
    names = ("items", "succeeded", "failed", "rejected", "unknown", "batches")
    return {name: getattr(summary, name) for name in names} | {"seconds": round(summary.seconds, 3)}


class _Run:
    """An upload under way: takes its results, and listens to Ctrl-C.

    Args:
        first: the items after whose results it is stopped; None: after all.
    """

    def __init__(
        self,
        upload: Upload[Any],
        writers: Writers,
        gathered: ReportGatherer,
        console: Console,
        *,
        first: _First | None,
    ) -> None:
        self._upload = upload
        self._writers = writers
        self._gathered = gathered
        self._console = console
        self._first = first
        self._blocks = Blocks(upload)
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
                await self._write(self._blocks.waiting + unaccounted)
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
        async with self._upload as upload, contextlib.aclosing(aiter(self._blocks)) as blocks:
            async for block in blocks:
                await self._write(block)
                if self._is_enough:
                    upload.stop()

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

        def interrupt() -> None:
            self._interrupted += 1
            if self._interrupted == 1:
                self._console.print("Interrupted: waiting for what is in flight. Ctrl-C again leaves now.")
                self._upload.stop()
                self._last_moment = loop.call_later(LAST_MOMENT, task.cancel)
            elif self._interrupted == 2:
                task.cancel()

        try:
            for each in (signal.SIGINT, signal.SIGTERM):
                loop.add_signal_handler(each, interrupt)
        except NotImplementedError:  # Windows: Ctrl-C then arrives as KeyboardInterrupt
            yield
            return
        try:
            yield
        finally:
            for each in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(each)
            if self._last_moment is not None:
                self._last_moment.cancel()
