"""One upload of a file, from the terminal."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio.to_thread
import typer
from pydantic_core import to_json
from rich.console import Console

from .. import MASTERLIST, ConfigurationError, QuartileClient, Resource, Summary, Upload
from .._headers import MASTERLIST_SPELLINGS
from .._results import ItemResult, Tally
from ..files import ItemFile, ResultWriter, RetryWriter, read_items
from ._display import display, pauses_told, print_summary, say
from ._journals import Wish, make_way

BLOCK = 500
"""Results that are written in one go."""

LAST_MOMENT = 10.0
"""Seconds that what is in flight gets to end after the first Ctrl-C."""


@dataclass(slots=True, frozen=True)
class Job:
    """What to upload, and how.

    Attributes:
        file: the items.
        resource: what they are.
        settings: of the client, beside what the environment says.
        results: where each result is written.
        retry_file: where the records that did not succeed are written, in the input's own format.
        columns: column -> field, for columns of CSV that have another name.
        as_json: whether the counts are printed to standard output.
        name: of the file, for people; it may have come through a pipe.
        journal: where its journal is, and what becomes of an earlier one; None: it has none.
        command: what to type to go on with it.
    """

    file: Path
    resource: Resource[Any]
    settings: dict[str, Any]
    results: Path | None = None
    as_json: bool = False
    retry_file: Path | None = None
    columns: Mapping[str, str] | None = None
    name: str = ""
    journal: Wish | None = None
    command: str = ""


@dataclass(slots=True)
class Ending:
    """How an upload ended.

    Attributes:
        summary: the counts.
        unaccounted: items whose result was not learned; they are also counted as unknown.
        not_sent: items that this run could not send.
    """

    summary: Summary
    unaccounted: int = 0
    not_sent: int = 0
    interrupted: bool = False
    error: Exception | None = None

    @property
    def whole(self) -> bool:
        """Whether the file was read to its end."""
        return not self.interrupted and self.error is None

    @property
    def complete(self) -> bool:
        return self.summary.succeeded == self.summary.items


async def run_job(job: Job, console: Console) -> Ending:
    """Uploads the file, shows progress, writes results and prints the summary.

    Raises:
        ConfigurationError, JournalError, OSError: the file, its journal or a setting cannot be used; nothing was sent.
    """
    client = QuartileClient.from_env(**job.settings)
    source = await anyio.to_thread.run_sync(opened_source, job)
    check_paths(job)
    say_columns(source, console)
    async with client:
        journal = None
        if job.journal is not None:
            journal = job.journal.path
            await make_way(job.journal, client._subject_of(job.resource), source, job.name, console)  # pyright: ignore[reportPrivateUsage]  # one package
        with contextlib.ExitStack() as stack:
            writer = None
            if job.results is not None:
                writer = stack.enter_context(ResultWriter(job.results, source.columns, complete=source.complete))
            to_mend = None
            if job.retry_file is not None:
                to_mend = stack.enter_context(
                    RetryWriter(job.retry_file, source.columns, source.delimiter, source.header)
                )
            upload = client.upload(job.resource, source, journal=journal)
            writers = [each for each in (writer, to_mend) if each is not None]
            ending = await _Run(upload, writers, console).run(await source.estimate())
    print_summary(ending.summary, console, results=job.results, interrupted=ending.interrupted, error=ending.error)
    if to_mend is not None:
        say(console, f"To mend and upload again: {to_mend.written} rows in {job.retry_file}")
    _say_what_is_left(job, ending, console)
    if job.as_json:
        typer.echo(to_json(_counts(ending.summary)).decode())
    return ending


def _say_what_is_left(job: Job, ending: Ending, console: Console) -> None:
    if not ending.whole:
        say(
            console,
            f"{ending.summary.items} records of {job.name or job.file.name} were read; any that come after them were "
            "not, and have no result.",
        )
    if job.journal is None or (ending.whole and not ending.not_sent):
        return
    if ending.not_sent:
        say(console, f"{ending.not_sent} items were not sent.")
    say(console, f"To go on where this has ended: {job.command}")


def opened_source(job: Job) -> ItemFile:
    if job.file.is_dir():
        raise ConfigurationError(f"{job.file} is a folder. Name a file of items.")
    fields = job.resource.item.model_fields if job.resource.item is not None else {}
    required = [name for name, field in fields.items() if field.is_required()]
    spellings = MASTERLIST_SPELLINGS if job.resource is MASTERLIST else None
    return read_items(job.file, required=required, spellings=spellings, named=job.columns)


def say_columns(source: ItemFile, console: Console) -> None:
    """Which columns are read as which fields, where they have other names."""
    if source.renamed:
        read = ", ".join(f"{column!r} is {field}" for column, field in source.renamed.items())
        say(console, f"Columns: {read}.")


def check_paths(job: Job) -> None:
    """The input, the results, the rows to mend and the journal are different files."""
    outputs = {"--results": job.results, "--retry-file": job.retry_file}
    for option, path in outputs.items():
        if path is not None and _same(path, job.file):
            raise ConfigurationError(f"{option} {path} is the input itself. Name another file.")
    if job.results is not None and job.retry_file is not None and _same(job.results, job.retry_file):
        raise ConfigurationError(f"--results and --retry-file are both {job.results}. Name two files.")
    for other in (job.file, job.results, job.retry_file):
        if job.journal is not None and other is not None and _same(job.journal.path, other):
            raise ConfigurationError(f"The journal {job.journal.path} would be {other} itself. Name another file.")


def _same(one: Path, other: Path) -> bool:
    return one.resolve() == other.resolve() or (one.exists() and other.exists() and one.samefile(other))


def _counts(summary: Summary) -> dict[str, Any]:
    names = ("items", "succeeded", "failed", "rejected", "unknown", "batches")
    return {name: getattr(summary, name) for name in names} | {"seconds": round(summary.seconds, 3)}


class _Run:
    """An upload under way: takes its results, and listens to Ctrl-C."""

    def __init__(self, upload: Upload[Any], writers: Sequence[ResultWriter | RetryWriter], console: Console) -> None:
        self._upload = upload
        self._writers = writers
        self._console = console
        self._tally = Tally()
        self._not_sent = 0
        self._block: list[ItemResult[Any]] = []
        self._interrupted = 0
        self._last_moment: asyncio.TimerHandle | None = None

    async def run(self, total: int) -> Ending:
        loop = asyncio.get_running_loop()
        started, error = loop.time(), None
        with self._listening(), display(self._upload, total, self._console), pauses_told(self._console):
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
        return Ending(summary, len(unaccounted), self._not_sent, bool(self._interrupted), error)

    async def _take_results(self) -> None:
        async with self._upload as upload:
            async for result in upload:
                self._block.append(result)
                if len(self._block) >= BLOCK:
                    await self._write()

    async def _write(self) -> None:
        block, self._block = self._block, []
        self._tally.add(block)
        self._not_sent += sum(result.not_sent and not result.replayed for result in block)
        for writer in self._writers:
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
