"""What is to be uploaded, and how: the job, its files, and that they are different ones."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from .. import ConfigurationError, Resource
from .._tables.formats import Format
from .._tables.outputs import check_are_different, is_same, part_of
from .._tables.results import FIRST_COLUMNS
from .._tables.values import DecimalMark, PercentScale
from ..files import ItemFile, ItemFiles, ResultWriter, RetryWriter, read_items
from ._journals import Wish
from ._words import say

Source = ItemFile | ItemFiles


@dataclass(slots=True, frozen=True)
class Understanding:
    """How the files are to be understood, where a person has said so; see `read_items`.

    Attributes:
        columns: column -> field.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    decimal: DecimalMark | None = None
    percent_scale: PercentScale | None = None
    encoding: str | None = None
    sheet: str | None = None


@dataclass(slots=True, frozen=True)
class Outputs:
    """What is written.

    Attributes:
        results: each result.
        retry_file: the records that did not succeed, in the input's own columns.
        report: the page to send on.
        as_json: whether the counts are printed to standard output.
    """

    results: Path | None = None
    retry_file: Path | None = None
    report: Path | None = None
    as_json: bool = False

    @property
    def paths(self) -> dict[str, Path]:
        """Option -> file."""
        named = {"--results": self.results, "--retry-file": self.retry_file, "--report": self.report}
        return {option: path for option, path in named.items() if path is not None}


@dataclass(slots=True, frozen=True)
class Spread:
    """How an upload is spread over the workers of a Dask cluster.

    Attributes:
        cluster: the address of its scheduler; None: it is one of this machine, for this upload.
        redis: the URL of the Redis in which the upload is written down.
        journal: by which name.
        workers: of a cluster of this machine; None: one for each core.
        part_items: the most items of a part; None: by how many items and workers there are.
        restart: whatever stands under that name is to be left behind.
    """

    cluster: str | None
    redis: str
    journal: str
    workers: int | None = None
    part_items: int | None = None
    restart: bool = False


@dataclass(slots=True, frozen=True)
class Job:
    """What to upload, and how.

    Attributes:
        files: the items, in this order.
        resource: what they are.
        settings: of the client, beside what the environment says.
        name: of the files, for people; they may have come through a pipe.
        journal: where its journal is, and what becomes of an earlier one; None: it has none.
        command: what to type to go on with it.
        asks: whether a person is asked before anything is sent, where there is one.
        first: how many items are sent; None: all.
        spread: over which workers; None: this process uploads it.
    """

    files: tuple[Path, ...]
    resource: Resource[Any]
    settings: dict[str, Any]
    outputs: Outputs = Outputs()
    understanding: Understanding = Understanding()
    name: str = ""
    journal: Wish | None = None
    command: str = ""
    asks: bool = False
    first: int | None = None
    spread: Spread | None = None

    @property
    def can_be_resumed(self) -> bool:
        """Whether it is written down what has been sent."""
        return self.journal is not None or self.spread is not None


def opened_source(job: Job) -> Source:
    """Opens the files.

    Raises:
        ConfigurationError, OSError: one cannot be used.
    """
    files = [_opened(path, job) for path in job.files]
    if unknown := [column for column in job.understanding.columns if not any(column in file.header for file in files)]:
        raise ConfigurationError(f"None of the files has a column {unknown[0]!r}: check --map.")
    return files[0] if len(files) == 1 else ItemFiles(files)


def _opened(path: Path, job: Job) -> ItemFile:
    if path.is_dir():
        raise ConfigurationError(f"{path} is a folder. Name a file of items, or all of them: {path}/*.csv")
    said = job.understanding
    opened = read_items(
        path,
        resource=job.resource,
        named=said.columns,
        # Of several files, each need not have each column that was said.
        all_named=len(job.files) == 1,
        decimal=said.decimal,
        percent_scale=said.percent_scale,
        encoding=said.encoding,
        sheet=said.sheet,
    )
    if set(FIRST_COLUMNS) <= set(opened.header):
        raise ConfigurationError(
            f"{path} is a file of results, and no file of items. Upload the rows to mend (--retry-file) instead."
        )
    return opened


def say_what_was_understood(source: Source, console: Console) -> None:
    """How the files are read, where that is not plain."""
    files = source.files if isinstance(source, ItemFiles) else (source,)
    for file in files:
        if len(files) > 1 or not file.described.startswith(("separated by", "JSON Lines")):
            say(console, f"{file.path.name}: {file.described}.")
    if source.renamed:
        read = ", ".join(f"{column!r} is {name}" for column, name in source.renamed.items())
        say(console, f"Columns: {read}.")
    marks = {file.marks for file in files}
    if any(mark.decimal != "." for mark in marks):
        mixed = "Decimal marks: commas and dots; what could be a whole number of thousands is not sent."
        say(console, "Decimal mark: a comma." if all(mark.decimal == "," for mark in marks) else mixed)
    if any(mark.scale == 100 for mark in marks):
        say(console, "Targets are fractions of one: they are sent times 100, as percent.")


def check_paths(job: Job) -> None:
    """The inputs, the outputs and the journal are different files.

    Raises:
        ConfigurationError: they are not.
    """
    outputs = job.outputs.paths
    if job.outputs.results is not None and job.outputs.results.suffix.lower() in Format.PARQUET.value:
        outputs["--results, while it is written,"] = part_of(job.outputs.results)
    if job.outputs.report is not None:
        _check_report(job.outputs.report)
    check_are_different(job.files, outputs)
    for other_path in (*job.files, *outputs.values()):
        if job.journal is not None and is_same(job.journal.path, other_path):
            raise ConfigurationError(f"The journal {job.journal.path} would be {other_path} itself. Name another file.")


def _check_report(path: Path) -> None:
    """Raises what would otherwise be known only when everything has been sent."""
    if path.suffix.lower() not in (".html", ".htm"):
        raise ConfigurationError(f"--report {path}: a report is written as .html.")
    if path.is_dir() or not path.parent.is_dir() or not os.access(path.parent, os.W_OK):
        raise ConfigurationError(f"--report {path} cannot be written: check that its folder is there, and yours.")


@dataclass(slots=True)
class Writers:
    """The files that results are written to."""

    results: ResultWriter | None = None
    to_mend: RetryWriter | None = None
    _dropped: list[ResultWriter | RetryWriter] = field(default_factory=list)

    @property
    def all(self) -> list[ResultWriter | RetryWriter]:
        return [each for each in (self.results, self.to_mend) if each is not None and each not in self._dropped]

    def drop(self, writer: ResultWriter | RetryWriter) -> None:
        """One cannot be written any more."""
        self._dropped.append(writer)


@contextmanager
def opened_writers(job: Job, source: Source) -> Iterator[Writers]:
    """Opens what results are written to, and closes it at the end.

    Raises:
        ConfigurationError, OSError: one cannot be written.
    """
    writers, several = Writers(), isinstance(source, ItemFiles)
    with ExitStack() as stack:
        if job.outputs.results is not None:
            results = ResultWriter(job.outputs.results, source.columns, complete=source.complete, with_file=several)
            writers.results = stack.enter_context(results)
        if job.outputs.retry_file is not None:
            to_mend = RetryWriter(
                job.outputs.retry_file, source.columns, source.delimiter, source.header, encoding=source.encoding
            )
            writers.to_mend = stack.enter_context(to_mend)
        yield writers
