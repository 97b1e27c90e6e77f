"""Records of an Excel workbook, as its cells show them."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .._errors import ConfigurationError
from .headers import listed
from .number_formats import shown
from .rows import MalformedRow, RecordIterator, Row


@dataclass(slots=True)
class ExcelTable:
    """A sheet of a workbook, with the names of its columns in the first row that is not blank."""

    path: Path
    sheet: str
    header: tuple[str, ...]
    others: tuple[str, ...]
    rows: int
    complete: bool = True

    @property
    def described(self) -> str:
        others = f"; not read: {listed(self.others)}" if self.others else ""
        return f"the sheet {self.sheet!r}{others}"

    def records(self, renamed: Mapping[str, str], needed: frozenset[str] | None) -> RecordIterator:
        """The records, with the columns under their new names. `line` is the row's number in the sheet.

        Raises:
            OSError: the workbook is damaged.
        """
        header: tuple[str, ...] = ()
        with _workbook(self.path) as book:
            for number, cells in enumerate(_rows(book[self.sheet]), 1):
                values = [shown(cell.value, cell.number_format) for cell in cells]
                while values and values[-1] in (None, ""):
                    values.pop()
                if not values:
                    continue
                if not header:
                    header = tuple(renamed.get(name, name) for name in self.header)
                elif len(values) > len(header):
                    text = "\t".join("" if value is None else str(value) for value in values)
                    reason = f"The row has {len(values)} cells, the header {len(header)}."
                    yield MalformedRow(reason, line=number, text=text, cells=values)
                else:
                    values += [None] * (len(header) - len(values))
                    yield Row(zip(header, values, strict=True), number)

    def estimate(self) -> int:
        """How many there are, by what the workbook says of its size."""
        return self.rows


def opened_excel(path: Path, sheet: str | None) -> ExcelTable:
    """Reads the header of a sheet; None: of the first one that is not hidden and has any cells.

    Raises:
        ConfigurationError: there is no such sheet, or it cannot be used.
        OSError: the workbook cannot be read.
    """
    with _workbook(path) as book:
        names: list[str] = [each.title for each in book.worksheets]
        if sheet is not None and sheet not in names:
            raise ConfigurationError(f"{path.name} has no sheet {sheet!r}. Its sheets are {listed(names)}.")
        visible = [each.title for each in book.worksheets if each.sheet_state == "visible"]
        for name in [sheet] if sheet is not None else visible:
            rows = max(0, (book[name].max_row or 1) - 1)
            if (header := _header(_rows(book[name]))) is not None:
                others = tuple(other for other in names if other != name)
                return ExcelTable(path, name, _checked(path, name, header), others, rows)
    raise ConfigurationError(f"{path.name} is empty. Its first row must name the columns.")


@contextmanager
def _workbook(path: Path) -> Iterator[Any]:
    import openpyxl  # a part of the extra `cli`, and slow to import

    # About styles, validations and the like, of which nothing is read; a date that is none is an error value.
    warnings.filterwarnings("ignore", category=UserWarning, module=r"openpyxl\.")
    with path.open("rb"):
        pass  # what it raises names the file
    try:
        book = openpyxl.load_workbook(path, read_only=True, data_only=True)
    except Exception as error:  # noqa: BLE001  # a damaged file makes it raise anything
        raise ConfigurationError(
            f"{path.name} cannot be read as an Excel workbook ({type(error).__name__}). It may be damaged, protected "
            "by a password, or of another format: open it in Excel and save it as .xlsx."
        ) from None
    try:
        yield book
    except ConfigurationError:
        raise
    except Exception as error:
        what = f"{type(error).__name__}: {error}"
        raise OSError(
            f"{path.name} is damaged or incomplete ({what}). Open it in Excel, save it anew, and run the same again."
        ) from error
    finally:
        book.close()


def _rows(sheet: Any) -> Iterator[Sequence[Any]]:
    sheet.reset_dimensions()  # which some programs write down wrongly, and cells would be missing
    rows: Iterator[Sequence[Any]] = sheet.iter_rows()
    return rows


def _header(rows: Iterator[Sequence[Any]]) -> list[Any] | None:
    for cells in itertools.islice(rows, 1_000):
        names = [cell.value for cell in cells]
        while names and names[-1] in (None, ""):
            names.pop()
        if names:
            return names
    return None


def _checked(path: Path, sheet: str, names: Sequence[Any]) -> tuple[str, ...]:
    from openpyxl.utils import get_column_letter

    header = tuple(
        f"Column {get_column_letter(place)}" if name in (None, "") else str(name).strip()
        for place, name in enumerate(names, 1)
    )
    if len(set(header)) < len(header):
        raise ConfigurationError(
            f"{path.name}, sheet {sheet!r}, has the columns {listed(header)}. Give each column a name of its own."
        )
    return header
