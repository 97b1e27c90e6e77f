"""How a file is read, as plain data: told once, from its beginning, and the same for each of its parts.

Which mark is a decimal one, which column means which field: a worker that told it anew from a part of its own could
tell it otherwise, and one that told it from the beginning might have to read the whole file for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

from .._tables.csv_rows import CsvTable
from .._tables.excel_rows import ExcelTable
from .._tables.formats import kind_of
from .._tables.json_rows import JsonArrayTable, JsonLinesTable
from .._tables.opening import TextFile
from .._tables.sources import Reading, Table
from .._tables.values import MASTERLIST_VALUES, Cleaning, DecimalMark, Marks, PercentScale
from ..files import ItemFile, ParquetTable

Kind: TypeAlias = Literal["csv", "json lines", "json array", "excel", "parquet"]


@dataclass(slots=True, frozen=True)
class Form:
    """How a file is read. It is made of what JSON knows.

    Attributes:
        kind: what reads it.
        header: the names of its columns.
        renamed: column -> field.
        needed: the fields whose values must be certain; None: all.
        is_cleaned: whether its values are cleaned as those of a masterlist.
        decimal, decimal_is_said, scale: how its numbers are written; see `Marks`.
        encoding: of text.
        delimiter: of CSV.
        sheet: of a workbook.
        columns: of Parquet: name, quoted for SQL -> type.
    """

    kind: Kind
    header: tuple[str, ...]
    renamed: Mapping[str, str] = field(default_factory=dict)
    needed: tuple[str, ...] | None = None
    is_cleaned: bool = False
    decimal: DecimalMark | None = "."
    decimal_is_said: bool = False
    scale: PercentScale = 1
    encoding: str = ""
    delimiter: str = ""
    sheet: str = ""
    columns: Mapping[str, str] = field(default_factory=dict)


def form_of(file: ItemFile) -> Form:
    """How an opened file is read."""
    reading, marks = file.reading, file.marks
    kind, told = _kind_of(file.table)
    return Form(
        kind,
        file.header,
        dict(reading.renamed),
        None if reading.needed is None else tuple(sorted(reading.needed)),
        bool(reading.cleaning.values),
        marks.decimal,
        marks.said,
        marks.scale,
        **told,
    )


def _kind_of(table: Table) -> tuple[Kind, dict[str, Any]]:
    match table:
        case CsvTable():
            return "csv", {"encoding": table.file.encoding, "delimiter": table.delimiter}
        case JsonLinesTable():
            return "json lines", {"encoding": table.file.encoding}
        case JsonArrayTable():
            return "json array", {"encoding": table.file.encoding}
        case ExcelTable():
            return "excel", {"sheet": table.sheet}
        case ParquetTable():
            return "parquet", {"columns": dict(table.kinds)}
    raise TypeError(f"There is no form for a {type(table).__name__}.")


def opened_as(path: str, form: Form) -> ItemFile:
    """The file, to be read in this way; nothing is read yet."""
    marks = Marks(form.decimal, form.decimal_is_said, form.scale)
    cleaning = Cleaning(MASTERLIST_VALUES if form.is_cleaned else {}, marks)
    needed = None if form.needed is None else frozenset(form.needed)
    return ItemFile(Path(path), _table_of(Path(path), form), Reading(form.renamed, needed, cleaning))


def _table_of(path: Path, form: Form) -> Table:
    text = TextFile(path, kind_of(path).compression, form.encoding)
    match form.kind:
        case "csv":
            return CsvTable(text, form.delimiter, form.header)
        case "json lines":
            return JsonLinesTable(text, form.header)
        case "json array":
            return JsonArrayTable(text, form.header)
        case "excel":
            return ExcelTable(path, form.sheet, form.header, others=(), rows=0)
        case "parquet":
            return ParquetTable(path, form.header, form.columns)
