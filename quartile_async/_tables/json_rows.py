"""Records of JSON: one a line, or all in one array."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import IO, Any, TypeVar

from pydantic_core import from_json, to_json

from .._errors import ConfigurationError
from .opening import REPLACED, MeasuredLines, TextFile, told_where_it_breaks_off
from .places import START, Place, Places, places_from
from .rows import MalformedRow, RecordIterator, Row

LOST = "The record has characters that were lost when it was saved. Write them anew."

FIRST = 1_000
"""Records that are looked at for the names of the fields."""


@dataclass(slots=True)
class JsonLinesTable:
    """A file of JSON Lines."""

    file: TextFile
    header: tuple[str, ...] = ()
    complete: bool = False

    described = "JSON Lines"

    def records(self, renamed: Mapping[str, str], needed: frozenset[str] | None) -> RecordIterator:
        """The records, with the fields under their new names."""
        return self.records_from(START, None, renamed, needed)

    @property
    def can_be_entered(self) -> bool:
        return self.file.can_be_entered

    def records_from(
        self, first: Place, stop: int | None, renamed: Mapping[str, str], needed: frozenset[str] | None
    ) -> RecordIterator:
        """The records from a place on."""
        with closing(self.file.open(first.offset)) as file, told_where_it_breaks_off(self.file.path):
            yield from _lines(file, renamed, first.line)

    def places(self, every: int) -> Places:
        """Where parts of so many records begin: each line that is not blank is one."""
        after, count = list[Place](), 0
        with closing(self.file.open()) as file, told_where_it_breaks_off(self.file.path):
            measured = MeasuredLines(file, self.file)
            for number, text in enumerate(measured, 1):
                if not text.strip():
                    continue
                count += 1
                if count % every == 0:
                    after.append(Place(count, measured.offset, number))
        return places_from(after, count)

    def estimate(self) -> int:
        """About how many there are, by the lines."""
        return self.file.count(b"\n")


@dataclass(slots=True)
class JsonArrayTable:
    """A file of one JSON array of objects; it is read as it is needed, never as a whole."""

    file: TextFile
    header: tuple[str, ...] = ()
    complete: bool = False

    described = "a JSON array"

    def records(self, renamed: Mapping[str, str], needed: frozenset[str] | None) -> RecordIterator:
        """The records, with the fields under their new names.

        Raises:
            OSError: the array is broken off, or no JSON from some place on.
        """
        import ijson  # type: ignore[import-untyped]  # a part of the extra `cli`, and has no types

        number = 0
        with closing(self.file.open_as_utf_8()) as file, told_where_it_breaks_off(self.file.path):
            try:
                for number, content in enumerate(ijson.items(file, "item", use_float=True), 1):
                    if isinstance(content, dict):
                        yield _row(content, renamed, number)
                    else:
                        text = to_json(content).decode()
                        yield MalformedRow("The element of the array is not an object.", line=number, text=text)
            except (ijson.JSONError, UnicodeDecodeError) as error:
                what = " ".join(str(error).split())[:200]
                raise OSError(
                    f"{self.file.path.name} cannot be read after its record {number}: {what}. Mend the file, and run "
                    "the same again."
                ) from error

    def estimate(self) -> int:
        """About how many there are, by the opening braces."""
        return self.file.count(b"{")


JsonTable = TypeVar("JsonTable", JsonLinesTable, JsonArrayTable)


def opened_json(file: TextFile) -> JsonLinesTable | JsonArrayTable:
    """An array, or lines, as the beginning of the file tells.

    Raises:
        ConfigurationError: it is neither.
    """
    with closing(file.open()) as text, told_where_it_breaks_off(file.path):
        # Not its first line: an array may be a single one.
        signs = iter(lambda: text.read(1), "")
        if next((sign for sign in signs if not sign.isspace()), "") == "[":
            return with_fields(JsonArrayTable(file))
    with closing(file.open()) as text, told_where_it_breaks_off(file.path):
        first = next((line for line in text if line.strip()), "")
    try:
        is_object = isinstance(from_json(first.encode("utf-8", "surrogateescape"), allow_inf_nan=False), dict)
    except ValueError:
        is_object = False
    if is_object:
        return with_fields(JsonLinesTable(file))
    raise ConfigurationError(
        f"{file.path.name} is neither a JSON array of objects nor JSON Lines (one object on each line). Save it as one "
        "of them."
    )


def with_fields(table: JsonTable) -> JsonTable:
    """A table of JSON, with the names of the fields of its first records.

    Raises:
        OSError: it cannot be read.
    """
    with closing(table.records({}, None)) as records:
        first = itertools.islice(records, FIRST)
        table.header = tuple(dict.fromkeys(name for record in first if isinstance(record, Row) for name in record))
    return table


def _lines(file: IO[str], renamed: Mapping[str, str], before: int) -> RecordIterator:
    for line, text in enumerate(file, before + 1):
        if not text.strip():
            continue
        try:
            content = from_json(text.encode("utf-8", "surrogateescape"), allow_inf_nan=False)
        except ValueError as error:
            what = re.sub(r" at line \d+ column (\d+)$", r", at column \1", str(error))  # its line 1 is this line
            yield MalformedRow(f"The line is not JSON: {what}.", line=line, text=ascii(text), record=text)
            continue
        if REPLACED in text:
            yield MalformedRow(LOST, line=line, text=text)
        elif isinstance(content, dict):
            yield _row(content, renamed, line)
        else:
            yield MalformedRow("The line is JSON, but not an object.", line=line, text=text)


def _row(content: dict[str, Any], renamed: Mapping[str, str], line: int) -> Row:
    if not renamed or renamed.keys().isdisjoint(content):
        return Row(content, line)
    # A field that has the name already stays what it is.
    return Row(
        {
            renamed[name] if name in renamed and renamed[name] not in content else name: value
            for name, value in content.items()
        },
        line,
        content,
    )
