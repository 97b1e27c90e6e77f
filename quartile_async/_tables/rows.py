"""Records as they are read. No I/O."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping, Sequence
from typing import Any, Self, TypeAlias


class Row(dict[str, Any]):
    """A record.

    Attributes:
        line: where it begins in its file, counted from 1: a line of text, a row of a sheet, a record of any other.
        file: the name of its file, where several are read; else None.
        original: its fields as they stood there, where they were cleaned; else None.
    """

    __slots__ = ("file", "line", "original")

    def __init__(
        self,
        fields: Iterable[tuple[str, Any]] | Mapping[str, Any],
        line: int,
        original: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(fields)
        self.line: int = line
        self.file: str | None = None
        self.original: Mapping[str, Any] | None = original


class MalformedRow(ValueError):
    """A record that cannot be read, or not without guessing; uploading it gives a REJECTED result with this reason.

    Attributes:
        line: where it begins in its file, counted from 1.
        text: the record as it stands there, cut after 200 characters.
        record: all of it, with the end of its line; bytes that are not UTF-8 are surrogates.
        fields: its fields as they stand there, where they can be told apart; else None.
        cells: its cells, where they are known and are not those of the header; else None.
        separated_by: what stands between its cells, in CSV; else None.
        columns: how many its file has, in CSV.
        file: the name of its file, where several are read; else None.
    """

    def __init__(
        self,
        reason: str,
        *,
        line: int,
        text: str,
        record: str | None = None,
        fields: Mapping[str, Any] | None = None,
        cells: Sequence[Any] | None = None,
        separated_by: str | None = None,
        columns: int | None = None,
    ) -> None:
        super().__init__(reason)
        self.line = line
        self.record: str = text if record is None else record
        self.text: str = text.rstrip("\r\n")[:200]
        self.fields: Mapping[str, Any] | None = fields
        self.cells: Sequence[Any] | None = cells
        self.separated_by: str | None = separated_by
        self.columns: int | None = columns
        self.file: str | None = None


RecordIterator: TypeAlias = "Generator[Row | MalformedRow]"
"""Records of a file, which is open until this is closed."""


class Percent(float):
    """A number of percent that stood in a cell with a percent format: 27.5 for a cell that shows 27.5 %."""

    __slots__ = ()

    def __str__(self) -> str:
        return f"{float(self)!r}%"


class Unclear(str):
    """A number whose cell shows another one, with the cell's format."""

    __slots__ = ("number_format",)

    def __new__(cls, text: str, number_format: str) -> Self:
        made = super().__new__(cls, text)
        made.number_format = number_format
        return made

    number_format: str


def original_of(item: Any) -> Mapping[str, Any] | None:
    """The fields of a record as they stood in its file, where they can be told apart."""
    if isinstance(item, Row):
        return item if item.original is None else item.original
    if isinstance(item, MalformedRow):
        return item.fields
    return item if isinstance(item, Mapping) else None
