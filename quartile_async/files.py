"""Tables of items in, and results out.

`read_items` reads CSV (comma, semicolon, tab or bar), JSON Lines, JSON arrays, Excel workbooks and Parquet, text also
compressed with gzip or zstd; lazily, and off the event loop. A record that cannot be read stands in its place as a
`MalformedRow`, and costs only itself. `ResultWriter` writes results as they come, as CSV, JSON Lines or Parquet;
`RetryWriter` the records that did not succeed, as they stood in their file.
"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast

from ._errors import ConfigurationError
from ._resources import Resource
from ._results import ItemResult
from ._tables.csv_rows import opened_csv
from ._tables.excel_rows import opened_excel
from ._tables.formats import Format, kind_of
from ._tables.headers import MASTERLIST_SPELLINGS, matched_columns
from ._tables.json_rows import JsonLinesTable, opened_json, with_fields
from ._tables.opening import text_file
from ._tables.outputs import check_results_format, part_of
from ._tables.places import START, Place, Places, places_from
from ._tables.results import Columns, CsvSink, JsonLinesSink, Sink
from ._tables.retry import RetryWriter
from ._tables.rows import MalformedRow, RecordIterator, Row
from ._tables.sources import BLOCK, ItemFile, ItemFiles, Reading, Table
from ._tables.values import (
    MASTERLIST_VALUES,
    Cleaning,
    DecimalMark,
    Evidence,
    Marks,
    PercentScale,
    checked_decimal,
    clean_percent,
)

__all__ = ["ItemFile", "ItemFiles", "MalformedRow", "ResultWriter", "RetryWriter", "Row", "read_items"]


def read_items(
    path: str | Path,
    *,
    resource: Resource[Any] | None = None,
    required: Iterable[str] = (),
    spellings: Mapping[str, Sequence[str]] | None = None,
    named: Mapping[str, str] | None = None,
    decimal: DecimalMark | None = None,
    percent_scale: PercentScale | None = None,
    encoding: str | None = None,
    sheet: str | None = None,
    all_named: bool = True,
) -> ItemFile:
    """Opens a table of items, and reads its beginning: on an event loop, call it in a worker thread.

    Args:
        path: a file whose suffix tells its format: .csv, .tsv, .txt, .json, .jsonl, .ndjson, .xlsx, .xlsm, .parquet;
            those of text may have .gz or .zst behind it.
        resource: what the records are. For MASTERLIST the columns are known by the names that sellers give them, and
            values are cleaned: blanks, lower case, percent signs, decimal commas; a record with a value that could mean
            two things is a `MalformedRow`. None: records are given as they are.
        required: columns that a table must have, beside those that the resource requires.
        spellings: field -> other names that its column may have, whatever their case, blanks and signs.
        named: column -> field, for columns that have any other name.
        decimal: the decimal mark; None: what the numbers of the file tell.
        percent_scale: 1: targets are percent, 100: they are fractions of one; None: percent, and a column that seems to
            be of fractions is an error. Numbers with a percent sign or a percent format are percent in any case.
        encoding: as Python names it; None: UTF-8, or what the first bytes tell.
        sheet: of a workbook; None: the first one that is not hidden and has any cells.
        all_named: whether each column in `named` has to be there.

    Raises:
        ConfigurationError: the file cannot be used; the message says why and what to do.
        OSError: it cannot be opened.
    """
    path = Path(path)
    table = _opened_table(path, encoding, sheet)
    fields = resource.item.model_fields if resource is not None and resource.item is not None else {}
    needed = dict.fromkeys([*(name for name, each in fields.items() if each.is_required()), *required])
    is_masterlist = resource is not None and resource.path == "process/masterlist"
    named = {column: name for column, name in (named or {}).items() if all_named or column in table.header}
    spellings = dict(MASTERLIST_SPELLINGS if is_masterlist else {}) | dict(spellings or {})
    try:
        renamed = matched_columns(
            table.header,
            tuple(needed) if table.complete else (),
            spellings,
            named,
            fields=(*fields, *needed),
            strict=table.complete,
        )
    except ConfigurationError as error:
        raise ConfigurationError(f"{path.name} ({table.described}): {error}") from None
    reading = Reading(renamed, frozenset([*needed, *fields]) if needed else None)
    if not is_masterlist:
        return ItemFile(path, table, reading)
    marks = _marks_of(path, table, reading, checked_decimal(decimal), percent_scale)
    return ItemFile(path, table, replace(reading, cleaning=Cleaning(MASTERLIST_VALUES, marks)))


def _opened_table(path: Path, encoding: str | None, sheet: str | None) -> Table:
    kind = kind_of(path)
    if sheet is not None and kind.format is not Format.EXCEL:
        raise ConfigurationError(f"{path.name} is no workbook, and has no sheet {sheet!r}.")
    match kind.format:
        case Format.EXCEL:
            return opened_excel(path, sheet)
        case Format.PARQUET:
            return _opened_parquet(path)
        case Format.CSV:
            return opened_csv(text_file(path, kind.compression, encoding), _sniffed_delimiter)
        case Format.JSON:
            return opened_json(text_file(path, kind.compression, encoding))
        case Format.JSON_LINES:
            return cast("Table", with_fields(JsonLinesTable(text_file(path, kind.compression, encoding))))


def _marks_of(
    path: Path, table: Table, reading: Reading, said: DecimalMark | None, scale: PercentScale | None
) -> Marks:
    """How the targets of a masterlist are written, by as many of them as it takes to be sure.

    Raises:
        ConfigurationError: they may be fractions.
    """
    target = next(name for name, clean in MASTERLIST_VALUES.items() if clean is clean_percent)
    evidence = Evidence()
    with closing(table.records(reading.renamed, reading.needed)) as records:
        for record in records:
            if isinstance(record, Row):
                evidence.add(record.get(target))
            if evidence.is_enough:
                break
    if scale is None and evidence.seem_fractions:
        column = next((column for column, name in reading.renamed.items() if name == target), target)
        count = evidence.plain + evidence.marked
        raise ConfigurationError(
            f"{path.name}: {evidence.low} of {count} values of {column!r} have no percent sign and are below 5 (such "
            f"as {evidence.a_low_one}). Are they percent, or fractions of one, of which 0.275 means 27.5 %? Say "
            "--percent-scale 1 for percent, --percent-scale 100 for fractions."
        )
    found = evidence.decimal_mark(separated_by_commas=getattr(table, "delimiter", ",") == ",")
    return Marks(said or found, said is not None, scale or 1)


# ----------------------------------------------------------------------------------------------------------------
# DuckDB, which tells how CSV is separated, and knows Parquet. It is large, and part of the extra `cli`.


def _sniffed_delimiter(sample: bytes) -> str | None:
    with tempfile.TemporaryDirectory(prefix="quartile-async-") as folder:
        path = Path(folder) / "sample.csv"
        path.write_bytes(sample)
        # Not strict, where the ends of the lines differ: strictly, such a file is no CSV.
        return _sniffed(path, "true") or _sniffed(path, "false")


def _sniffed(path: Path, strict: str) -> str | None:
    import duckdb

    sniff = f"SELECT Delimiter FROM sniff_csv(?, all_varchar = true, ignore_errors = true, strict_mode = {strict})"  # noqa: S608  # true or false
    with duckdb.connect() as database:
        try:
            found = database.execute(sniff, [str(path)]).fetchone()
        except duckdb.InvalidInputException:
            return None
    return str(found[0]) if found else None


@dataclass(slots=True)
class ParquetTable:
    """A file of Parquet; `line` is the number of the record."""

    path: Path
    header: tuple[str, ...]
    kinds: Mapping[str, str]
    complete: bool = True

    described = "Parquet"

    def records(self, renamed: Mapping[str, str], needed: frozenset[str] | None) -> RecordIterator:
        """The records, with the columns under their new names."""
        return self.records_from(START, None, renamed, needed)

    @property
    def can_be_entered(self) -> bool:
        # DuckDB calls the number of a row so.
        return not any(name.lower() == "file_row_number" for name in self.header)

    def records_from(
        self, first: Place, stop: int | None, renamed: Mapping[str, str], needed: frozenset[str] | None
    ) -> RecordIterator:
        """The records from a place on, and before that with the number `stop`."""
        import duckdb

        header = tuple(renamed.get(name, name) for name in self.header)
        numbers = itertools.count(first.record + 1)
        with duckdb.connect(config={"threads": 1}) as database:
            try:
                # A number of single precision has the digits that it is written with.
                columns = ", ".join(
                    f"CAST(CAST({name} AS VARCHAR) AS DOUBLE) AS {name}" if kind == "FLOAT" else name
                    for name, kind in self.kinds.items()
                )
                rows = _numbered(first.record, stop)
                found = database.execute(f"SELECT {columns} FROM read_parquet(?{rows}", [_literal(self.path)])  # noqa: S608  # quoted
                while block := found.fetchmany(BLOCK):
                    for cells in block:
                        yield Row(zip(header, cells, strict=True), next(numbers))
            except duckdb.Error as error:
                raise OSError(f"{self.path.name} is damaged or incomplete: {_first_line(error)}") from error

    def places(self, every: int) -> Places:
        """Where parts of so many records begin; none of them is read for it."""
        records = self.estimate()
        return places_from([Place(record) for record in range(every, records, every)], records)

    def estimate(self) -> int:
        """How many there are."""
        import duckdb

        with duckdb.connect() as database:
            counted = database.execute("SELECT count(*) FROM read_parquet(?)", [_literal(self.path)]).fetchone()
        return int(counted[0]) if counted else 0


def _numbered(first: int, stop: int | None) -> str:
    """What follows in a query for these rows only: groups of rows that have none of them are not read."""
    if not first and stop is None:
        return ")"
    below = "" if stop is None else f" AND file_row_number < {stop}"
    return f", file_row_number = true) WHERE file_row_number >= {first}{below}"


def _opened_parquet(path: Path) -> ParquetTable:
    import duckdb

    with path.open("rb"):
        pass  # what it raises names the file
    with duckdb.connect() as database:
        try:
            described = database.execute("DESCRIBE SELECT * FROM read_parquet(?)", [_literal(path)]).fetchall()
        except duckdb.Error as error:
            raise ConfigurationError(f"{path.name} cannot be read as Parquet: {_first_line(error)}") from None
    kinds = {f'"{name.replace(chr(34), chr(34) * 2)}"': str(kind) for name, kind, *_ in described}
    return ParquetTable(path, tuple(name for name, *_ in described), kinds)


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]


def _literal(path: Path) -> str:
    # DuckDB takes *, ? and [ in a name for a pattern.
    return "".join(f"[{char}]" if char in "*?[" else char for char in str(path.absolute()))


def _write_parquet(lines: Path, columns: Mapping[str, str], path: Path) -> None:
    """Writes a file of JSON Lines as Parquet; columns: name -> type."""
    import duckdb

    listed = ", ".join(f"{_text_literal(name)}: '{kind}'" for name, kind in columns.items())
    source, target = _text_literal(_literal(lines)), _text_literal(str(path.absolute()))
    select = f"SELECT * FROM read_json({source}, format = 'newline_delimited', columns = {{{listed}}})"  # noqa: S608  # quoted
    with duckdb.connect(config={"threads": 1}) as database:
        try:
            database.execute(f"COPY ({select}) TO {target} (FORMAT parquet)")
        except duckdb.Error as error:
            raise OSError(f"{path} cannot be written: {_first_line(error)} The results are in {lines}.") from error


def _text_literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


# ----------------------------------------------------------------------------------------------------------------
# Results


class ResultWriter:
    """Writes results to a file, as CSV, JSON Lines or Parquet by its suffix. Use it with `with`.

    Each result has the columns index (from 0), line (of the input, where it is known), outcome, message, process, id,
    batch_id, not_sent and resent (true or false), and the item's own. An own column with the name of one of these is
    called "item." and its name. The message of a REJECTED result begins with its record number, counted from 1, and
    its line.

    Parquet has its index at its end: until the writer is closed, the results stand in `path.part.jsonl` beside it, and
    can be read there also after a crash.

    Args:
        path: ends in .csv, .tsv, .jsonl, .ndjson or .parquet. An existing file is replaced.
        columns: the item's own columns.
        complete: whether items can have no other fields; else these stand in the column other_fields as JSON.
        with_file: whether there is a first column `file`, for the name of the item's file.

    Raises:
        ConfigurationError: the suffix is another.
        OSError: the file cannot be written.
    """

    def __init__(
        self, path: str | Path, columns: Sequence[str] = (), *, complete: bool = True, with_file: bool = False
    ) -> None:
        self._path = Path(path)
        check_results_format(self._path)
        suffix = self._path.suffix.lower()
        self._is_parquet = suffix in Format.PARQUET.value
        complete = complete and bool(columns)
        self._columns = Columns(columns, complete=complete, with_file=with_file, in_database=self._is_parquet)
        self._kinds: dict[str, set[type]] = {name: set() for name in self._columns.all}
        self._part = part_of(self._path)
        self._sink = self._opened(suffix)

    def _opened(self, suffix: str) -> Sink:
        if self._is_parquet:
            self._path.unlink(missing_ok=True)  # an old one beside new results would be taken for them
            return JsonLinesSink(self._part)
        if suffix in Format.JSON_LINES.value:
            return JsonLinesSink(self._path)
        return CsvSink(self._path, self._columns.all, "\t" if suffix in (".tsv", ".tab") else ",")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._sink.close()
        if self._is_parquet:
            self._make_parquet()

    def write(self, results: Iterable[ItemResult[Any]]) -> None:
        """Writes results, and sees to it that they are in the file."""
        records = [self._columns.record(result) for result in results]
        if self._is_parquet:
            for record in records:
                for name, value in record.items():
                    if value is not None:
                        self._kinds[name].add(type(value))
        self._sink.write(records)

    def _make_parquet(self) -> None:
        columns = {name: FIRST_TYPES.get(name) or _parquet_type(self._kinds[name]) for name in self._columns.all}
        unfinished = self._path.with_name(f"{self._path.name}.part")
        _write_parquet(self._part, columns, unfinished)
        unfinished.replace(self._path)
        with suppress(OSError):
            self._part.unlink()


FIRST_TYPES = {"index": "BIGINT", "line": "BIGINT", "not_sent": "BOOLEAN", "resent": "BOOLEAN", "outcome": "VARCHAR"}


def _parquet_type(kinds: set[type]) -> str:
    if kinds == {bool}:
        return "BOOLEAN"
    return "DOUBLE" if kinds and kinds <= {float} else "VARCHAR"
