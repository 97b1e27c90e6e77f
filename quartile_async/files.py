"""Tables of items in, and results out.

`read_items` reads CSV (comma, semicolon, tab or bar; UTF-8, with or without BOM) and JSON Lines, lazily and off the
event loop. A record that cannot be read stands in its place as a `MalformedRow`, and costs only itself.
`ResultWriter` writes results as they come, as CSV or JSON Lines; `RetryWriter` the records that did not succeed, as
they stood in their file.
"""

from __future__ import annotations

import csv
import itertools
import re
from collections import deque
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import anyio.to_thread
from pydantic_core import from_json, to_json

from ._errors import ConfigurationError
from ._headers import matched_columns
from ._results import ItemResult, Outcome
from ._retry_file import CSV_SUFFIXES, JSON_LINES_SUFFIXES, RetryWriter

__all__ = ["ItemFile", "MalformedRow", "ResultWriter", "RetryWriter", "Row", "read_items"]

DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
BLOCK = 1_000
"""Records that are read in one go in the worker thread."""

MOST_LINES = 100
"""The most lines that a quoted cell may span; beyond it, a quote was not closed."""

OWN_COLUMNS = ("index", "line", "outcome", "message", "process", "id", "batch_id", "not_sent", "resent")
OTHER_FIELDS = "other_fields"


class Row(dict[str, Any]):
    """A record; `line` is where it begins in its file, counted from 1."""

    __slots__ = ("line",)

    def __init__(self, fields: Iterable[tuple[str, Any]] | Mapping[str, Any], line: int) -> None:
        super().__init__(fields)
        self.line: int = line


class MalformedRow(ValueError):
    """A record that cannot be read; uploading it gives a REJECTED result with this reason.

    Attributes:
        line: where it begins in its file, counted from 1.
        text: the record as it stands there, cut after 200 characters.
        record: all of it, with the end of its line; bytes that are not UTF-8 are surrogates.
    """

    def __init__(self, reason: str, *, line: int, text: str, record: str | None = None) -> None:
        super().__init__(reason)
        self.line = line
        self.record: str = text if record is None else record
        self.text: str = text.rstrip("\r\n")[:200]


class ItemFile:
    """The records of a file, in order, as an async iterable of `Row` and `MalformedRow`.

    It can be iterated more than once; each time the file is opened anew, and closed at the end.

    Attributes:
        path: the file.
        columns: the names of the fields: the header's, or those in the first 1,000 records of JSON Lines.
        complete: whether records can have no other fields than those.
        delimiter: between the cells of CSV; None for JSON Lines.
        renamed: column -> field, for the columns of CSV that are read under another name.
    """

    def __init__(
        self, path: Path, columns: tuple[str, ...], delimiter: str | None, renamed: Mapping[str, str] | None = None
    ) -> None:
        self.path = path
        self.renamed: Mapping[str, str] = renamed or {}
        self.header: tuple[str, ...] = columns
        """The names of the columns as they stand in the file."""
        self.columns: tuple[str, ...] = tuple(self.renamed.get(name, name) for name in columns)
        self.complete: bool = delimiter is not None
        self.delimiter = delimiter

    async def __aiter__(self) -> AsyncIterator[Row | MalformedRow]:
        file = await anyio.to_thread.run_sync(_opened, self.path)
        try:
            records = _records(file, self.delimiter, self.renamed)
            while block := await anyio.to_thread.run_sync(lambda: list(itertools.islice(records, BLOCK))):
                for record in block:
                    yield record
        finally:
            file.close()

    async def estimate(self) -> int:
        """About how many records the file has, by its lines."""
        return await anyio.to_thread.run_sync(_count_lines, self.path, int(self.complete))


def read_items(
    path: str | Path,
    *,
    required: Iterable[str] = (),
    spellings: Mapping[str, Sequence[str]] | None = None,
    named: Mapping[str, str] | None = None,
) -> ItemFile:
    """Opens a table of items, and reads its beginning: on an event loop, call it in a worker thread.

    Args:
        path: a file whose suffix tells its format: .csv, .tsv, .txt or .jsonl, .ndjson.
        required: columns that a CSV file must have.
        spellings: field -> other names that its column may have in a CSV file, whatever their case, blanks and signs.
        named: column -> field, for columns of a CSV file that have any other name.

    Raises:
        ConfigurationError: the file cannot be used; the message says why and what to do.
        OSError: it cannot be opened.
    """
    path = Path(path)
    if path.suffix.lower() in JSON_LINES_SUFFIXES:
        return ItemFile(path, _fields_at_the_beginning(path), None)
    if path.suffix.lower() not in CSV_SUFFIXES:
        raise ConfigurationError(
            f"{path.name}: the suffix {path.suffix!r} says nothing of the format. Give a file that ends in one of "
            f"{', '.join(CSV_SUFFIXES + JSON_LINES_SUFFIXES)}."
        )
    delimiter = _sniffed_delimiter(path)
    with _opened(path) as file:
        header = _checked_header(path, file, delimiter)
    try:
        renamed = matched_columns(header, tuple(required), spellings or {}, named or {})
    except ConfigurationError as error:
        raise ConfigurationError(f"{path.name} (separated by {DELIMITERS[delimiter]}): {error}") from None
    return ItemFile(path, header, delimiter, renamed)


def _opened(path: Path) -> IO[str]:
    # What is not UTF-8 survives as surrogates, so that it costs its own record and not the file.
    return path.open(encoding="utf-8-sig", errors="surrogateescape", newline="")


def _sniffed_delimiter(path: Path) -> str:
    if not path.stat().st_size:
        raise ConfigurationError(f"{path.name} is empty. Its first line must name the columns.")
    # Not strict, where the ends of the lines differ: strictly, such a file is no CSV.
    delimiter = _sniffed(path, "true") or _sniffed(path, "false")
    if delimiter not in DELIMITERS:
        seem = f"seem to be separated by {delimiter!r}" if delimiter else "cannot be told apart"
        raise ConfigurationError(f"{path.name}: the columns {seem}. Separate them by {', '.join(DELIMITERS.values())}.")
    return delimiter


def _sniffed(path: Path, strict: str) -> str | None:
    import duckdb  # here, because it is large, and part of the extra `cli`

    sniff = f"SELECT Delimiter FROM sniff_csv(?, all_varchar = true, ignore_errors = true, strict_mode = {strict})"  # noqa: S608  # true or false
    with duckdb.connect() as database:
        try:
            found = database.execute(sniff, [_literal(path)]).fetchone()
        except duckdb.InvalidInputException:
            return None
    return str(found[0]) if found else None


def _literal(path: Path) -> str:
    # DuckDB takes *, ? and [ in a name for a pattern.
    return "".join(f"[{char}]" if char in "*?[" else char for char in str(path.absolute()))


def _checked_header(path: Path, file: IO[str], delimiter: str) -> tuple[str, ...]:
    header = _header(file, delimiter)
    found = f"{path.name} has the columns {', '.join(map(repr, header))} (separated by {DELIMITERS[delimiter]})"
    if "" in header or len(set(header)) < len(header):
        raise ConfigurationError(f"{found}. Give each column a name of its own.")
    if not _is_text(header):
        raise ConfigurationError(f"{path.name} is not in UTF-8. Save it as 'CSV UTF-8'.")
    return header


def _header(file: IO[str], delimiter: str) -> tuple[str, ...]:
    """The names of the columns: the first line that is not blank."""
    try:
        for cells in csv.reader(itertools.islice(file, MOST_LINES), delimiter=delimiter, strict=True):
            if any(cells):
                return tuple(cell.strip() for cell in cells)
    except csv.Error as error:
        raise ConfigurationError(f"The first line, which must name the columns, cannot be read: {error}.") from None
    return ()


def _records(file: IO[str], delimiter: str | None, renamed: Mapping[str, str]) -> Iterator[Row | MalformedRow]:
    return _json_records(file) if delimiter is None else _csv_records(file, delimiter, renamed)


class _Lines:
    """The lines of a file; those of a record that went wrong can be given back."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file
        self._given_back: deque[str] = deque()
        self._record: list[str] = []
        self.number = 0

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> str:
        if len(self._record) >= MOST_LINES:
            raise csv.Error(f"a quote is not closed within {MOST_LINES} lines")
        line = self._given_back.popleft() if self._given_back else next(self._file)
        self.number += 1
        self._record.append(line)
        return line

    def begin_record(self) -> int:
        """A new record begins; gives the number of its first line."""
        self._record = []
        return self.number + 1

    @property
    def record(self) -> str:
        """The lines of the record, as they are."""
        return "".join(self._record)

    def give_back_all_but_the_first(self) -> str:
        """Gives the record's first line; the others will be read again."""
        first, *others = self._record
        self._given_back.extendleft(reversed(others))
        self.number -= len(others)
        return first


def _csv_records(file: IO[str], delimiter: str, renamed: Mapping[str, str]) -> Iterator[Row | MalformedRow]:
    lines = _Lines(file)
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    header: tuple[str, ...] = ()
    while True:
        line = lines.begin_record()
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield MalformedRow(
                f"The record cannot be read: {error}.", line=line, text=lines.give_back_all_but_the_first()
            )
            continue
        if not any(cells):
            continue
        if not header:
            header = tuple(renamed.get(name, name) for name in map(str.strip, cells))
        elif len(cells) != len(header):
            # Where a quote was not closed, the lines that it swallowed are records of their own.
            text = lines.give_back_all_but_the_first()
            yield MalformedRow(f"The record has {len(cells)} cells, the header {len(header)}.", line=line, text=text)
        elif not _is_text(cells):
            yield MalformedRow(
                "The record is not in UTF-8: save the file as 'CSV UTF-8'.",
                line=line,
                text=ascii(delimiter.join(cells)),
                record=lines.record,
            )
        else:
            yield Row(zip(header, cells, strict=True), line)


def _json_records(file: IO[str]) -> Iterator[Row | MalformedRow]:
    for line, text in enumerate(file, 1):
        if not text.strip():
            continue
        try:
            content = from_json(text.encode("utf-8", "surrogateescape"), allow_inf_nan=False)
        except ValueError as error:
            what = re.sub(r" at line \d+ column (\d+)$", r", at column \1", str(error))  # its line 1 is this line
            yield MalformedRow(f"The line is not JSON: {what}.", line=line, text=ascii(text), record=text)
            continue
        if isinstance(content, dict):
            yield Row(content, line)
        else:
            yield MalformedRow("The line is JSON, but not an object.", line=line, text=text)


def _is_text(cells: Iterable[str]) -> bool:
    return not any("\udc80" <= char <= "\udcff" for cell in cells if not cell.isascii() for char in cell)


def _fields_at_the_beginning(path: Path) -> tuple[str, ...]:
    with _opened(path) as file:
        first = itertools.islice(_json_records(file), BLOCK)
        return tuple(dict.fromkeys(name for record in first if isinstance(record, Row) for name in record))


def _count_lines(path: Path, headers: int) -> int:
    with path.open("rb") as file:
        blocks = iter(lambda: file.read(1 << 20), b"")
        lines, last = 0, b"\n"
        for block in blocks:
            lines += block.count(b"\n")
            last = block[-1:]
    return max(0, lines + (last != b"\n") - headers)


class ResultWriter:
    """Writes results to a file, as CSV or as JSON Lines by its suffix. Use it with `with`.

    Each result has the columns index (from 0), line (of the input, where it is known), outcome, message, process, id,
    batch_id, not_sent and resent (true or false), and the item's own. An own column with the name of one of these is
    called "item." and its name. The message of a REJECTED result begins with its record number, counted from 1, and
    its line.

    Args:
        path: ends in .csv, .tsv or .jsonl, .ndjson. An existing file is replaced.
        columns: the item's own columns.
        complete: whether items can have no other fields; else these stand in the column other_fields as JSON.

    Raises:
        ConfigurationError: the suffix is another.
        OSError: the file cannot be written.
    """

    def __init__(self, path: str | Path, columns: Sequence[str], *, complete: bool = True) -> None:
        self._path = Path(path)
        suffix = self._path.suffix.lower()
        if suffix not in (*CSV_SUFFIXES, *JSON_LINES_SUFFIXES):
            raise ConfigurationError(f"{self._path.name}: results are written as .csv or .jsonl.")
        self._as_json = suffix in JSON_LINES_SUFFIXES
        self._names = {name: f"item.{name}" if name in OWN_COLUMNS else name for name in columns}
        others = () if complete else (OTHER_FIELDS,)
        self._columns = (*OWN_COLUMNS, *self._names.values(), *others)
        self._file = self._path.open("w", encoding="utf-8", errors="surrogateescape", newline="")
        self._csv = csv.writer(self._file, delimiter="\t" if suffix == ".tsv" else ",", lineterminator="\n")
        if not self._as_json:
            self._csv.writerow(self._columns)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def write(self, results: Iterable[ItemResult[Any]]) -> None:
        """Writes results, and sees to it that they are in the file."""
        records = map(self._record, results)
        if self._as_json:
            self._file.writelines(to_json(record).decode() + "\n" for record in records)
        else:
            self._csv.writerows([_cell(record.get(column)) for column in self._columns] for record in records)
        self._file.flush()

    def _record(self, result: ItemResult[Any]) -> dict[str, Any]:
        line = getattr(result.item, "line", None)
        message = result.message
        if result.outcome is Outcome.REJECTED:
            place = f"record {result.index + 1}" + (f" (line {line})" if line else "")
            message = f"{place}: {message}"
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
        return record | self._own_fields(result.item)

    def _own_fields(self, item: Any) -> dict[str, Any]:
        if not isinstance(item, Mapping):
            return {}
        own = {self._names[name]: value for name, value in item.items() if name in self._names}
        if others := {name: value for name, value in item.items() if name not in self._names}:
            own[OTHER_FIELDS] = others
        return own


def _cell(value: Any) -> Any:
    as_it_is = value is None or (isinstance(value, str | int | float) and not isinstance(value, bool))
    return value if as_it_is else to_json(value).decode()
