"""Results as records, and the text files that they are written to as they come."""

from __future__ import annotations

import csv
import datetime as dt
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import IO, Any, Protocol

from pydantic_core import to_json

from .._results import ItemResult, Outcome
from .rows import MalformedRow

FIRST_COLUMNS = ("index", "line", "outcome", "message", "process", "id", "batch_id", "not_sent", "resent")
OTHER_FIELDS = "other_fields"


class Columns:
    """The columns of results: their own, and those of the items.

    Args:
        own: the item's own columns.
        complete: whether items can have no other fields; else these stand in the column other_fields as JSON.
        with_file: whether there is a column for the name of the item's file.
        in_database: whether names are those of a database: without regard to case, and not empty. Of two that are the
            same the second one gets a number.
    """

    def __init__(self, own: Sequence[str], *, complete: bool, with_file: bool, in_database: bool = False) -> None:
        self.first: tuple[str, ...] = ("file", *FIRST_COLUMNS) if with_file else FIRST_COLUMNS
        taken = set(self.first) | (set() if complete else {OTHER_FIELDS})
        self._names: dict[str, str] = {}
        for name in own:
            plain = (name.replace("\0", "") or "unnamed") if in_database else name
            new = f"item.{plain}" if plain in taken else plain
            new = _unlike(taken, new, str.casefold if in_database else str)
            taken.add(new.casefold() if in_database else new)
            self._names[name] = new
        self.all: tuple[str, ...] = (*self.first, *self._names.values(), *(() if complete else (OTHER_FIELDS,)))

    def record(self, result: ItemResult[Any]) -> dict[str, Any]:
        """A result, by its columns."""
        line, file = getattr(result.item, "line", None), getattr(result.item, "file", None)
        message = result.message
        if result.outcome is Outcome.REJECTED:
            message = f"{place_of(result.index, line, file)}: {message}"
        record = {
            "index": result.index,
            "line": line,
            "outcome": str(result.outcome),
            "message": message,
            "process": result.process,
            "id": result.id,
            "batch_id": result.batch_id,
            "not_sent": result.not_sent,
            "resent": result.resent,
        }
        if self.first[0] == "file":
            record["file"] = file
        return record | self._own_fields(result.item)

    def _own_fields(self, item: Any) -> dict[str, Any]:
        if isinstance(item, MalformedRow):
            item = item.fields
        if not isinstance(item, Mapping):
            return {}
        own = {self._names[name]: value for name, value in item.items() if name in self._names}
        if others := {name: value for name, value in item.items() if name not in self._names}:
            own[OTHER_FIELDS] = others
        return own


def _unlike(taken: Container[str], name: str, folded: Callable[[str], str]) -> str:
    new, number = name, 2
    while folded(new) in taken:
        new, number = f"{name}_{number}", number + 1
    return new


def place_of(index: int, line: int | None, file: str | None) -> str:
    """Where a record stands, for people."""
    where = ", ".join(filter(None, (file, f"line {line}" if line else None)))
    return f"record {index + 1}" + (f" ({where})" if where else "")


class Sink(Protocol):
    """Takes records."""

    def write(self, records: Iterable[Mapping[str, Any]]) -> None:
        """Writes them, and sees to it that they are in the file."""
        ...

    def close(self) -> None: ...


class CsvSink:
    """A file of CSV."""

    def __init__(self, path: Path, columns: Sequence[str], delimiter: str) -> None:
        self._columns = columns
        self._file = path.open("w", encoding="utf-8", errors="surrogateescape", newline="")
        self._csv = csv_writer(self._file, delimiter)
        self._csv.writerow(columns)

    def write(self, records: Iterable[Mapping[str, Any]]) -> None:
        self._csv.writerows([cell(record.get(column)) for column in self._columns] for record in records)
        self._file.flush()

    def close(self) -> None:
        self._file.close()


class JsonLinesSink:
    """A file of JSON Lines."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")

    def write(self, records: Iterable[Mapping[str, Any]]) -> None:
        self._file.writelines(as_json(record) + b"\n" for record in records)
        self._file.flush()

    def close(self) -> None:
        self._file.close()


class _LineFeeds:
    """Ends each row with a line feed alone.

    A CSV writer quotes a carriage return within a cell only where it ends its rows with one.
    """

    def __init__(self, file: IO[str]) -> None:
        self._file = file

    def write(self, row: str) -> int:
        return self._file.write(f"{row.removesuffix(ROW_END)}\n")


ROW_END = "\r\n"


def csv_writer(file: IO[str], delimiter: str) -> Any:
    """Writes rows to a file, in one call each."""
    return csv.writer(_LineFeeds(file), delimiter=delimiter, lineterminator=ROW_END)


def as_json(value: Any) -> bytes:
    """JSON of any value: what JSON does not know is its text, and bytes that are no text are base64."""
    return to_json(value, bytes_mode="base64", fallback=str)


def cell(value: Any) -> Any:
    """A value as it stands in a cell."""
    if value is None or (isinstance(value, str | int | float) and not isinstance(value, bool)):
        return value
    if isinstance(value, Decimal | dt.date | dt.time):
        return str(value)
    return as_json(value).decode()
