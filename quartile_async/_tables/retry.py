"""The records that did not succeed, in a file like the one that they came from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from .._errors import ConfigurationError
from .._results import ItemResult
from .formats import Format
from .results import as_json, cell, csv_writer
from .rows import MalformedRow, Percent, original_of

CSV_SUFFIXES, JSON_LINES_SUFFIXES, EXCEL_SUFFIXES = Format.CSV.value, Format.JSON_LINES.value, (".xlsx",)


class _Target(Protocol):
    def write(self, fields: Mapping[str, Any]) -> None: ...

    def write_unread(self, item: MalformedRow) -> None:
        """Writes a record that could not be read, so that it cannot be read again before it is mended."""
        ...

    def flush(self) -> None: ...

    def close(self) -> None: ...


class RetryWriter:
    """Writes the records that did not succeed as they stood in their file, to be mended and uploaded again.

    A record that could not be read is written as it is, where it fits the file. Use it with `with`. A workbook is on
    disk when it is closed.

    Args:
        path: ends like CSV or, for a table, like Excel (.xlsx); or like JSON Lines where the input is JSON. An existing
            file is replaced.
        columns: of the input.
        delimiter: of the input, where it is CSV; a comma for other tables; None: it is JSON.
        header: the columns' names in the input, where they were read under others.
        encoding: of the input.

    Raises:
        ConfigurationError: the suffix is that of another format.
        OSError: the file cannot be written.
    """

    def __init__(
        self,
        path: str | Path,
        columns: Sequence[str],
        delimiter: str | None,
        header: Sequence[str] | None = None,
        *,
        encoding: str = "utf-8",
    ) -> None:
        self._path = Path(path)
        self._target = _target(self._path, columns, delimiter, header or columns, encoding)
        self.written: int = 0
        """How many records have been written."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._target.close()

    def write(self, results: Iterable[ItemResult[Any]]) -> None:
        """Writes the records of those results that are no successes, and sees to it that they are in the file."""
        for result in results:
            if not result.ok:
                self._write_record(result.item)
                self.written += 1
        self._target.flush()

    def _write_record(self, item: Any) -> None:
        if (fields := original_of(item)) is not None:
            self._target.write(fields)
        else:
            unread = item if isinstance(item, MalformedRow) else MalformedRow("", line=0, text=str(item))
            self._target.write_unread(unread)


def _target(path: Path, columns: Sequence[str], delimiter: str | None, header: Sequence[str], encoding: str) -> _Target:
    suffix, is_table = path.suffix.lower(), delimiter is not None
    if is_table and suffix in EXCEL_SUFFIXES:
        return _ExcelTarget(path, columns, header)
    if is_table and suffix in CSV_SUFFIXES:
        return _CsvTarget(path, columns, delimiter or ",", header, encoding)
    if not is_table and suffix in JSON_LINES_SUFFIXES:
        return _JsonTarget(path, encoding)
    suffixes = (*CSV_SUFFIXES, *EXCEL_SUFFIXES) if is_table else JSON_LINES_SUFFIXES
    raise ConfigurationError(
        f"{path.name}: the rows to mend are written in the input's own format. Name a file that ends in one of "
        f"{', '.join(suffixes)}."
    )


class _TextTarget:
    def __init__(self, path: Path, encoding: str) -> None:
        # What an encoding does not have stands in it as Python writes it: it is to be mended anyway.
        self._file = path.open("w", encoding=encoding, errors="backslashreplace", newline="")

    def flush(self) -> None:
        self._file.flush()

    def close(self) -> None:
        self._file.close()


class _CsvTarget(_TextTarget):
    def __init__(
        self, path: Path, columns: Sequence[str], delimiter: str, header: Sequence[str], encoding: str
    ) -> None:
        super().__init__(path, encoding)
        self._columns = columns
        self._delimiter = delimiter
        self._csv = csv_writer(self._file, delimiter)
        self._csv.writerow(header)

    def write(self, fields: Mapping[str, Any]) -> None:
        self._csv.writerow([_text(fields.get(column, "")) for column in self._columns])

    def write_unread(self, item: MalformedRow) -> None:
        if item.cells is not None:
            self._csv.writerow(list(map(_text, item.cells)))
        elif item.separated_by == self._delimiter and (item.columns is None or item.columns == len(self._columns)):
            self._file.write(f"{_legible(item.record)}\n")
        else:  # in one cell: among other columns, its own would be taken for them
            self._csv.writerow([_legible(item.record)])


class _JsonTarget(_TextTarget):
    def write(self, fields: Mapping[str, Any]) -> None:
        plain = {name: str(value) if isinstance(value, Percent) else value for name, value in fields.items()}
        self._file.write(as_json(plain).decode() + "\n")

    def write_unread(self, item: MalformedRow) -> None:
        self._file.write(f"{_legible(item.record)}\n")


class _ExcelTarget:
    def __init__(self, path: Path, columns: Sequence[str], header: Sequence[str]) -> None:
        import openpyxl  # a part of the extra `cli`, and slow to import
        from openpyxl.cell import WriteOnlyCell
        from openpyxl.cell.cell import ILLEGAL_CHARACTERS_RE

        with path.open("wb"):
            pass  # what it raises is better told now
        self._path, self._columns = path, columns
        self._new_cell, self._illegal = WriteOnlyCell, ILLEGAL_CHARACTERS_RE
        self._book: Any = openpyxl.Workbook(write_only=True)
        self._sheet: Any = self._book.create_sheet("To mend")
        self._sheet.append([self._cell(name) for name in header])

    def write(self, fields: Mapping[str, Any]) -> None:
        self._sheet.append([self._cell(fields.get(column)) for column in self._columns])

    def write_unread(self, item: MalformedRow) -> None:
        cells = item.cells if item.cells is not None else [item.record]
        self._sheet.append([self._cell(each) for each in cells])

    def flush(self) -> None:
        pass  # a workbook is written as a whole

    def close(self) -> None:
        self._book.save(self._path)

    def _cell(self, value: Any) -> Any:
        if isinstance(value, Percent):
            new: Any = self._new_cell(self._sheet, value=float(value) / 100)
            new.number_format = "0.00%"
        elif isinstance(value, str):
            new = self._new_cell(self._sheet, value=self._illegal.sub("", value))
            new.data_type = "s"  # a text that begins with = is no formula
            new.number_format = "@"
        else:
            # A date is written as text: in a cell with the format of a date, a number would become one again.
            is_plain = value is None or isinstance(value, int | float | Decimal)
            plain: Any = value if is_plain else str(_text(value)).strip('"')
            new = self._new_cell(self._sheet, value=plain)
        return new


def _legible(record: str) -> str:
    """A record with the sign of what was lost for what could not be read: so it is refused until it is mended."""
    return record.rstrip("\r\n").encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _text(value: Any) -> Any:
    return str(value) if isinstance(value, Percent) else cell(value)
