"""Files of items as async iterables, whatever their format."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, cast

import anyio.to_thread

from .places import START, Place, is_enterable
from .rows import MalformedRow, RecordIterator, Row
from .values import Cleaning, Marks

BLOCK = 1_000
"""Records that are read in one go in the worker thread."""


class Table(Protocol):
    """A file whose header has been read.

    Attributes:
        header: the names of the columns, as they stand in the file.
        complete: whether records can have no other fields.
    """

    header: tuple[str, ...]
    complete: bool

    @property
    def described(self) -> str:
        """How it is written, in words."""
        ...

    def records(self, renamed: Mapping[str, str], needed: frozenset[str] | None) -> RecordIterator:
        """The records; `renamed` has the new names of columns, `needed` those whose cells must be certain."""
        ...

    def estimate(self) -> int:
        """About how many there are."""
        ...


@dataclass(slots=True, frozen=True)
class Reading:
    """How a table is read.

    Attributes:
        renamed: column -> field.
        needed: the fields whose values must be certain; None: all.
        cleaning: what becomes of the values.
    """

    renamed: Mapping[str, str] = field(default_factory=dict)
    needed: frozenset[str] | None = None
    cleaning: Cleaning = field(default_factory=Cleaning)


class ItemFile:
    """The records of a file, in order, as an async iterable of `Row` and `MalformedRow`.

    It can be iterated more than once; each time the file is opened anew, and closed at the end. A file that turns out
    to be damaged raises OSError at that place.

    Attributes:
        path: the file.
        table: what reads it.
        reading: how it is read.
        first: the place from which on its records are given.
        stop: the number, from 0, of the record before which they end; None: they reach to its end.
        label: what its records have for the name of their file; None: they have none.
        header: the names of the columns as they stand in the file.
        columns: the names of the fields: the header's, renamed, or those in the first 1,000 records of JSON.
        complete: whether records can have no other fields than those.
        delimiter: between the cells of CSV, and a comma for the other tables, whose rows can be written as CSV; None
            for JSON.
        renamed: column -> field, for the columns that are read under another name.
        marks: how numbers are written.
        described: how the file is written, in words.
        encoding: of text; UTF-8 for all else.
    """

    def __init__(
        self,
        path: Path,
        table: Table,
        reading: Reading,
        *,
        label: str | None = None,
        first: Place = START,
        stop: int | None = None,
    ) -> None:
        self.path = path
        self.table: Table = table
        self.reading: Reading = reading
        self.label: str | None = label
        self.first: Place = first
        self.stop: int | None = stop
        self.renamed: Mapping[str, str] = reading.renamed
        self.header: tuple[str, ...] = table.header
        self.columns: tuple[str, ...] = tuple(self.renamed.get(name, name) for name in table.header)
        self.complete: bool = table.complete
        self.delimiter: str | None = getattr(table, "delimiter", ",") if table.complete else None
        self.marks: Marks = reading.cleaning.marks
        self.described: str = table.described
        encoding = getattr(getattr(table, "file", None), "encoding", "utf-8")
        self.encoding: str = "utf-8" if encoding == "utf-8-sig" else encoding

    def labelled(self, label: str) -> ItemFile:
        """The same file, whose records have this name for it."""
        return ItemFile(self.path, self.table, self.reading, label=label, first=self.first, stop=self.stop)

    def between(self, first: Place, stop: int | None) -> ItemFile:
        """The same file, with only the records from this place on, and before that with the number `stop`, from 0.

        They are what they are in the whole: cleaned by what was told from its beginning, with the same lines. A file
        that cannot be entered in the middle is read from its beginning.
        """
        return ItemFile(self.path, self.table, self.reading, label=self.label, first=first, stop=stop)

    async def __aiter__(self) -> AsyncIterator[Row | MalformedRow]:
        records = self.records()
        try:
            while block := await anyio.to_thread.run_sync(lambda: list(itertools.islice(records, BLOCK))):
                for record in block:
                    yield record
        finally:
            records.close()

    def records(self) -> Generator[Row | MalformedRow]:
        """The records, read in the thread that asks for them."""
        reading = self.reading
        clean = reading.cleaning.cleaned if reading.cleaning.values else _as_it_is
        records, skipped, count = self._entered()
        try:
            for record in itertools.islice(records, skipped, count):
                cleaned = clean(record)
                if self.label is not None:
                    cleaned.file = self.label
                yield cleaned
        finally:
            records.close()

    def _entered(self) -> tuple[RecordIterator, int, int | None]:
        """Records of the table; how many of them to skip, and before which one to stop."""
        reading, first, stop = self.reading, self.first, self.stop
        if is_enterable(self.table):
            records = self.table.records_from(first, stop, reading.renamed, reading.needed)
            return records, 0, None if stop is None else stop - first.record
        return self.table.records(reading.renamed, reading.needed), first.record, stop

    async def estimate(self) -> int:
        """About how many records there are."""
        if self.stop is not None:
            return self.stop - self.first.record
        if self.first.record:
            return max(0, await anyio.to_thread.run_sync(self.table.estimate) - self.first.record)
        return await anyio.to_thread.run_sync(self.table.estimate)


def _as_it_is(record: Row | MalformedRow) -> Row | MalformedRow:
    return record


class ItemFiles:
    """The records of several files, one after the other; each has the name of its file.

    Attributes:
        files: the files.
        columns: the names of the fields of all of them.
        header: the same.
        complete: whether records can have no other fields than those.
        delimiter: as for a file of its own; None if it is so for one of them.
        renamed: column -> field, for the columns that are read under another name.
        encoding: of all of them, where they have the same; else UTF-8.
    """

    def __init__(self, files: Sequence[ItemFile]) -> None:
        self.files: tuple[ItemFile, ...] = tuple(file.labelled(_label(file, files)) for file in files)
        self.columns: tuple[str, ...] = tuple(dict.fromkeys(name for file in files for name in file.columns))
        self.header: tuple[str, ...] = self.columns
        self.complete: bool = all(file.complete for file in files)
        delimiters = {file.delimiter for file in files}
        self.delimiter: str | None = None if None in delimiters else files[0].delimiter
        encodings = {file.encoding for file in files}
        self.encoding: str = encodings.pop() if len(encodings) == 1 else "utf-8"
        self.renamed: Mapping[str, str] = {column: name for file in files for column, name in file.renamed.items()}

    async def __aiter__(self) -> AsyncIterator[Row | MalformedRow]:
        for file in self.files:
            records = aiter(file)
            try:
                async for record in records:
                    yield record
            finally:
                await cast("Any", records).aclose()

    async def estimate(self) -> int:
        """About how many records the files have."""
        return sum([await file.estimate() for file in self.files])


def _label(file: ItemFile, files: Sequence[ItemFile]) -> str:
    same_name = [each for each in files if each.path.name == file.path.name]
    return file.path.name if len(same_name) == 1 else str(file.path)
