"""What is to be uploaded, and how: the job, its files, and that they are different ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from .. import ConfigurationError, Resource
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

    @property
    def listed(self) -> str:
        """The files, for people."""
        return ", ".join(map(str, self.paths.values()))


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


def opened_source(job: Job) -> Source:
    """Opens the files.

    Raises:
        ConfigurationError, OSError: one cannot be used.
    """
    files = [_opened(path, job) for path in job.files]
    return files[0] if len(files) == 1 else ItemFiles(files)


def _opened(path: Path, job: Job) -> ItemFile:
    if path.is_dir():
        raise ConfigurationError(f"{path} is a folder. Name a file of items, or all of them: {path}/*.csv")
    said = job.understanding
    return read_items(
        path,
        resource=job.resource,
        named=said.columns,
        decimal=said.decimal,
        percent_scale=said.percent_scale,
        encoding=said.encoding,
        sheet=said.sheet,
    )


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
        say(console, "Decimal mark: a comma." if all(mark.decimal == "," for mark in marks) else "Decimal mark: mixed.")
    if any(mark.scale == 100 for mark in marks):
        say(console, "Targets are fractions of one: they are sent times 100, as percent.")


def check_paths(job: Job) -> None:
    """The inputs, the outputs and the journal are different files.

    Raises:
        ConfigurationError: they are not.
    """
    outputs = job.outputs.paths
    for option, path in outputs.items():
        if any(_same(path, file) for file in job.files):
            raise ConfigurationError(f"{option} {path} is the input itself. Name another file.")
    options = list(outputs.items())
    for place, (option, path) in enumerate(options):
        for other, other_path in options[place + 1 :]:
            if _same(path, other_path):
                raise ConfigurationError(f"{option} and {other} are both {path}. Name two files.")
    for other_path in (*job.files, *outputs.values()):
        if job.journal is not None and _same(job.journal.path, other_path):
            raise ConfigurationError(f"The journal {job.journal.path} would be {other_path} itself. Name another file.")


def _same(one: Path, other: Path) -> bool:
    return one.resolve() == other.resolve() or (one.exists() and other.exists() and one.samefile(other))


@dataclass(slots=True)
class Writers:
    """The files that results are written to."""

    results: ResultWriter | None = None
    to_mend: RetryWriter | None = None

    @property
    def all(self) -> list[ResultWriter | RetryWriter]:
        return [each for each in (self.results, self.to_mend) if each is not None]


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
            to_mend = RetryWriter(job.outputs.retry_file, source.columns, source.delimiter, source.header)
            writers.to_mend = stack.enter_context(to_mend)
        yield writers
