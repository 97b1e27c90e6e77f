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

from .. import QuartileClient, Summary, Upload
from .._results import ItemResult, Tally
from ._display import display, print_summary
from ._job import Job, Source, Writers, check_paths, opened_source, opened_writers, say_what_was_understood
from ._journals import make_way
from ._preview import is_asked, previewed
from ._report import ReportGatherer, write_report
from ._watch import Watch
from ._words import say, say_to_copy

BLOCK = 500
"""Results that are written in one go."""

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
        total = None
        if is_asked(job, console):
            findings, wanted = await previewed(job, source, client, console)
            total = findings.records
            if not wanted:
                say(console, "Nothing was sent.")
                return Ending(Tally().summary(batches=0, seconds=0.0), declined=True)
        if job.journal is not None:
            subject = client._subject_of(job.resource)  # pyright: ignore[reportPrivateUsage]  # one package
            await make_way(job.journal, subject, source, job.name, console)
        if total is None:
            total = await source.estimate()
        with opened_writers(job, source) as writers:
            ending = await _run(job, source, client, writers, watch, total=min(total, job.first or total))
    _say_what_became_of_it(job, ending, writers, console)
    return ending


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
    items = source if job.first is None else _First(source, job.first)
    journal = job.journal.path if job.journal is not None else None
    upload = client.upload(job.resource, items, journal=journal)
    ending = await _Run(upload, writers, gathered, watch.console, first=job.first).run(total)
    if job.outputs.report is not None:
        path = job.outputs.report
        await anyio.to_thread.run_sync(lambda: write_report(path, gathered, ending.summary, ending=ending.in_words))
    return ending


class _First:
    """The first items of a source. After them it waits: what it came from has not ended, and can be gone on with."""

    def __init__(self, source: Source, count: int) -> None:
        self._source = source
        self._count = count

    async def __aiter__(self) -> AsyncIterator[Any]:
        count = 0
        async for item in self._source:
            if count == self._count:
                await asyncio.Event().wait()
            yield item
            count += 1


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
        say_to_copy(console, f"Only the first {ending.summary.items} were to be sent. To send the rest: {job.command}")
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
        first: how many results are awaited before it is stopped; None: all.
    """

    def __init__(
        self,
        upload: Upload[Any],
        writers: Writers,
        gathered: ReportGatherer,
        console: Console,
        *,
        first: int | None,
    ) -> None:
        self._upload = upload
        self._writers = writers
        self._gathered = gathered
        self._console = console
        self._first = first
        self._taken = 0
        self._tally = Tally()
        self._not_sent = 0
        self._block: list[ItemResult[Any]] = []
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
            self._block += unaccounted
            await self._write()
        seconds, batches = loop.time() - started, self._upload.progress.batches_submitted
        summary = self._tally.summary(batches=batches, seconds=seconds)
        canary = self._first is not None and self._taken >= self._first and error is None
        return Ending(summary, len(unaccounted), self._not_sent, bool(self._interrupted), error, canary=canary)

    async def _take_results(self) -> None:
        async with self._upload as upload:
            async for result in upload:
                self._block.append(result)
                self._taken += 1
                if self._taken == self._first:
                    upload.stop()
                if len(self._block) >= BLOCK:
                    await self._write()

    async def _write(self) -> None:
        block, self._block = self._block, []
        self._tally.add(block)
        self._gathered.add(block)
        self._not_sent += sum(result.not_sent and not result.replayed for result in block)
        for writer in self._writers.all:
            await anyio.to_thread.run_sync(writer.write, block)

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
