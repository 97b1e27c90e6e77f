"""Tables in memory as items: pandas, polars, and whatever gives an Arrow stream. None of these has to be installed.

A table is read in blocks, in a worker thread; each row becomes a dictionary with the table's column names. Whatever
stands for "nothing" (None, NaN, NaT, a null) in a column of pandas is None.
"""

from __future__ import annotations

import datetime as dt
import importlib
import math
import re
import struct
from collections import Counter
from collections.abc import AsyncIterator, Callable, Generator, Iterable, Iterator, Sequence
from decimal import Decimal
from itertools import islice
from typing import Any, Protocol, TypeAlias

import anyio.to_thread

from ._errors import ConfigurationError
from ._resources import Resource

BLOCK = 1_000
"""Rows that are read in one go in the worker thread."""

Rows: TypeAlias = list[dict[str, Any]]


def is_table(items: Any) -> bool:
    """Whether these are rows in columns, which would be iterated by column, or not at all."""
    if hasattr(items, "iloc") or _is_of("polars", items):  # a Series is a column, and is iterated by row
        return hasattr(items, "columns")
    return hasattr(items, "__arrow_c_stream__") or hasattr(items, "__dataframe__")


def opened_table(items: Any, resource: Resource[Any]) -> TableItems:
    """The rows of a table, as items of a resource.

    Raises:
        ConfigurationError: it lacks a column that the items need, or cannot be read.
    """
    return TableItems(_reader_of(items), resource)


class TableItems:
    """The rows of a table, as an async iterable of dictionaries.

    Attributes:
        columns: the names of the columns, as far as they are known before it is read.
        complete: whether they are known.
    """

    def __init__(self, table: Table, resource: Resource[Any]) -> None:
        self._table = table
        self._resource = resource
        self.columns: tuple[str, ...] = tuple(map(str, table.columns or ()))
        self.complete: bool = table.columns is not None
        if table.columns is not None:
            check_columns(table.columns, resource)

    async def __aiter__(self) -> AsyncIterator[dict[str, Any]]:
        blocks = self.blocks()
        try:
            while (block := await anyio.to_thread.run_sync(next, blocks, None)) is not None:
                for row in block:
                    yield row
        finally:
            blocks.close()

    def blocks(self) -> Generator[Rows]:
        """The rows, some at once, read in the thread that asks for them."""
        checked = False
        # Where the resource has a model, it says what becomes of a date or a Decimal; else they have to be JSON.
        plain = _as_json if self._resource.item is None else None
        for columns, cells in self._table.blocks():
            if not checked:
                check_columns(columns, self._resource)
                checked = True
            names = list(map(str, columns))
            values = cells if plain is None else [map(plain, row) for row in cells]
            yield [dict(zip(names, row, strict=True)) for row in values]


Block: TypeAlias = tuple[Sequence[Any], Iterable[Iterable[Any]]]
"""The names of the columns, and rows of cells."""


class Table(Protocol):
    """A table of some library.

    Attributes:
        columns: their names; None where only reading tells them.
    """

    columns: Sequence[Any] | None

    def blocks(self) -> Iterator[Block]:
        """All rows, at most `BLOCK` at once, and at least one block."""
        ...


def check_columns(columns: Sequence[Any], resource: Resource[Any]) -> None:
    """Raises ConfigurationError where the items of the resource need a column that is not there, or is there twice."""
    listed = ", ".join(map(repr, columns)) or "none"
    if missing := [names[0] for names in _needed(resource) if not {*names} & {*columns}]:
        raise ConfigurationError(
            f"The table has no column {' and no '.join(map(repr, missing))}. Its columns are {listed}. Rename them."
        )
    if twice := [name for name, count in Counter(map(str, columns)).items() if count > 1]:
        raise ConfigurationError(f"The table has the column {twice[0]!r} more than once. Its columns are {listed}.")


def _needed(resource: Resource[Any]) -> list[tuple[str, ...]]:
    """The fields that each item needs, by all names that each may have."""
    if resource.item is None:
        return [(name,) for name in resource.key]
    return [
        tuple(dict.fromkeys(each for each in (field.alias, field.validation_alias, name) if isinstance(each, str)))
        for name, field in resource.item.model_fields.items()
        if field.is_required()
    ]


def _reader_of(items: Any) -> Table:
    if hasattr(items, "iloc"):
        return PandasTable(items)
    if _is_of("polars", items) and hasattr(items, "iter_slices"):
        return PolarsTable(items)
    if hasattr(items, "__arrow_c_stream__"):
        return ArrowTable(items)
    raise ConfigurationError(
        f"The items are a table, a {type(items).__name__}, that cannot be read row by row. Give one that has an Arrow "
        "stream, such as one of polars or pyarrow, or its rows as mappings."
    )


def _is_of(library: str, items: Any) -> bool:
    return type(items).__module__.partition(".")[0] == library


class PandasTable:
    """A DataFrame of pandas, or of a library that looks the same."""

    def __init__(self, frame: Any) -> None:
        self._frame = frame
        self.columns: Sequence[Any] | None = list(frame.columns)

    def blocks(self) -> Iterator[Block]:
        columns = list(self._frame.columns)
        for first in range(0, max(1, len(self._frame)), BLOCK):
            part = self._frame.iloc[first : first + BLOCK]
            cells = [_pandas_cells(part.iloc[:, place]) for place in range(len(columns))]
            yield columns, zip(*cells, strict=True)


def _pandas_cells(column: Any) -> list[Any]:
    values: list[Any] = column.tolist()
    dtype = str(column.cat.categories.dtype if str(column.dtype) == "category" else column.dtype)
    if dtype.lower().startswith(("float32", "float16", "float[", "halffloat[")):
        values = [_shortest(value) for value in values]
    elif dtype == "object" or dtype.startswith("Sparse"):
        values = [_scalar(value) for value in values]
    if column.isna().any():
        values = [None if empty else value for value, empty in zip(values, column.isna().tolist(), strict=True)]
    return values


class PolarsTable:
    """A DataFrame of polars."""

    def __init__(self, frame: Any) -> None:
        self._frame = frame
        self.columns: Sequence[Any] | None = list(frame.columns)

    def blocks(self) -> Iterator[Block]:
        columns = list(self._frame.columns)
        kinds = list(map(str, self._frame.dtypes))
        if not len(self._frame):
            yield columns, ()
        for part in self._frame.iter_slices(BLOCK):
            yield columns, _plain_rows(part.rows(), kinds)


class ArrowTable:
    """Anything with an Arrow stream, which is read by pyarrow, nanoarrow or polars: whichever is installed."""

    def __init__(self, items: Any) -> None:
        self._items = items
        names = getattr(getattr(items, "schema", None), "names", None)
        names = getattr(items, "column_names", names)
        self.columns: Sequence[Any] | None = list(names) if isinstance(names, list | tuple) else None

    def blocks(self) -> Iterator[Block]:
        for library, read in _ARROW_READERS.items():
            try:
                module = importlib.import_module(library)
            except ImportError:
                continue
            return read(module, self._items)
        raise ConfigurationError(
            f"The items are a {type(self._items).__name__}. A table of Arrow is read by pyarrow, nanoarrow or polars, "
            "and none of them is installed: pip install pyarrow"
        )


def _by_pyarrow(pyarrow: Any, items: Any) -> Iterator[Block]:
    try:
        reader = pyarrow.RecordBatchReader.from_stream(items)
    except pyarrow.ArrowInvalid as error:
        raise _no_rows(items, error) from None
    columns = reader.schema.names
    kinds = list(map(str, reader.schema.types))
    yield columns, ()
    for batch in reader:
        for first in range(0, batch.num_rows, BLOCK):
            part = batch.slice(first, BLOCK)
            yield columns, _plain_rows(zip(*(column.to_pylist() for column in part.columns), strict=True), kinds)


def _by_nanoarrow(nanoarrow: Any, items: Any) -> Iterator[Block]:
    stream = nanoarrow.ArrayStream(items)
    fields = list(stream.schema.fields)
    if not fields:
        raise _no_rows(items, "it has no columns")
    columns = [field.name for field in fields]
    kinds = [f"{field.type.name} {field}" for field in fields]
    yield columns, ()
    for array in stream:
        rows = iter(array.iter_tuples())
        while part := list(islice(rows, BLOCK)):
            yield columns, _plain_rows(part, kinds)


def _by_polars(polars: Any, items: Any) -> Iterator[Block]:
    yield from PolarsTable(polars.DataFrame(items)).blocks()


_ARROW_READERS: dict[str, Callable[[Any, Any], Iterator[Block]]] = {
    "pyarrow": _by_pyarrow,
    "nanoarrow": _by_nanoarrow,
    "polars": _by_polars,
}


def _no_rows(items: Any, why: object) -> ConfigurationError:
    return ConfigurationError(f"The items are a {type(items).__name__}, which has no rows of named columns: {why}.")


def _plain_rows(rows: Iterable[Sequence[Any]], kinds: Sequence[str]) -> Iterable[Iterable[Any]]:
    """The same, with None for NaN, and with the digits that narrow floats were written with."""
    made = {place: clean for place, kind in enumerate(kinds) if (clean := _cleaner_of(kind)) is not None}
    if not made:
        return rows
    return [[made[place](cell) if place in made else cell for place, cell in enumerate(row)] for row in rows]


def _cleaner_of(kind: str) -> Callable[[Any], Any] | None:
    """What makes cells of this type plain; None: they are."""
    lower = kind.lower()
    wide = "double" in lower or "float64" in lower
    if not wide and not re.search(r"float", lower):
        return None
    return _without_nan if wide else _narrow


def _without_nan(cell: Any) -> Any:
    return None if isinstance(cell, float) and math.isnan(cell) else cell


def _narrow(cell: Any) -> Any:
    if isinstance(cell, list | tuple):
        return [_narrow(each) for each in cell]
    if isinstance(cell, dict):
        return {name: _narrow(each) for name, each in cell.items()}
    return _shortest(_without_nan(cell))


def _shortest(value: Any) -> Any:
    """A float of 32 bits by the digits that it was written with: 27.3, and not 27.299999237060547."""
    if not isinstance(value, float) or not math.isfinite(value):
        return value
    return next(
        short for digits in range(1, 18) if _narrowed(short := float(f"{value:.{digits}g}")) == _narrowed(value)
    )


def _narrowed(value: float) -> bytes:
    return struct.pack("<f", value)


def _scalar(value: Any) -> Any:
    """What a scalar of numpy stands for; anything else as it is."""
    if not _is_of("numpy", value) or getattr(value, "ndim", 1) != 0:
        return value
    dtype = str(value.dtype)
    if dtype.startswith(("datetime64", "timedelta64")):  # of nanoseconds, a number would be made
        return value.astype(f"{dtype.partition('[')[0]}[us]").item()
    return _shortest(value.item()) if dtype in ("float32", "float16") else value.item()


def _as_json(value: Any) -> Any:
    if isinstance(value, Decimal):
        return int(value) if value.is_finite() and value == value.to_integral_value() else float(value)
    if isinstance(value, dt.date | dt.time):
        return value.isoformat()
    return value
