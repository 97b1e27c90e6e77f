"""Results written and read again: equal, in each format, whatever is in them; and readable when all ends badly."""

from __future__ import annotations

import csv
import json
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quartile_async import ItemResult, Outcome
from quartile_async.files import ResultWriter, Row

FIRST = ("index", "line", "outcome", "message", "process", "id", "batch_id", "not_sent", "resent")

texts = st.text(st.characters(codec="utf-8"), max_size=12)
names = st.one_of(st.sampled_from(["asin", "ASIN", "Index", "index", "file", "other_fields", "it's", 'a "b"']), texts)
values = st.one_of(st.none(), texts, st.booleans(), st.integers(-(2**40), 2**40), st.floats(allow_nan=False, width=32))


@st.composite
def results(draw: st.DrawFn) -> tuple[list[str], list[ItemResult[Any]]]:
    columns = draw(st.lists(names, unique=True, max_size=4))
    rows = draw(st.lists(st.fixed_dictionaries(dict.fromkeys(columns, values)), max_size=6))
    return columns, [
        ItemResult(
            index,
            Row(row, index + 2),
            draw(st.sampled_from([Outcome.SUCCEEDED, Outcome.FAILED, Outcome.UNKNOWN])),
            draw(texts),
            id=draw(st.one_of(st.none(), texts)),
            batch_id=draw(st.one_of(st.none(), texts)),
            not_sent=draw(st.booleans()),
        )
        for index, row in enumerate(rows)
    ]


@contextmanager
def written(suffix: str, columns: Sequence[str], found: Sequence[ItemResult[Any]]) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"results{suffix}"
        with ResultWriter(path, columns) as writer:
            writer.write(found[:2])
            writer.write(found[2:])
        assert [each.name for each in Path(folder).iterdir()] == [path.name]
        yield path


def first_cells(result: ItemResult[Any]) -> tuple[Any, ...]:
    return (
        result.index,
        result.item.line,
        str(result.outcome),
        result.message,
        result.process,
        result.id,
        result.batch_id,
        result.not_sent,
        result.resent,
    )


@settings(max_examples=60, deadline=None)
@given(results())
def test_what_is_written_as_json_lines_is_read_again_as_it_was(found: tuple[list[str], list[ItemResult[Any]]]) -> None:
    columns, rows = found
    with written(".jsonl", columns, rows) as path:
        read = [json.loads(line) for line in path.read_bytes().splitlines()]

    assert [tuple(record[name] for name in FIRST) for record in read] == [first_cells(row) for row in rows]
    for record, row in zip(read, rows, strict=True):
        own = [value for name, value in record.items() if name not in FIRST]
        assert Counter(map(repr, own)) == Counter(map(repr, row.item.values()))


def as_text(value: Any) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    return json.dumps(value) if isinstance(value, bool) else repr(value)


@settings(max_examples=60, deadline=None)
@given(results())
def test_what_is_written_as_csv_is_read_again_as_it_was(found: tuple[list[str], list[ItemResult[Any]]]) -> None:
    columns, rows = found
    with written(".csv", columns, rows) as path, path.open(encoding="utf-8", newline="") as file:
        header, *read = list(csv.reader(file))

    assert tuple(header[: len(FIRST)]) == FIRST
    assert len(set(header)) == len(header)
    complete = header[len(FIRST) :][: len(columns)]
    assert len(complete) == len(columns)
    assert [tuple(cells[: len(FIRST)]) for cells in read] == [tuple(map(as_text, first_cells(row))) for row in rows]
    own = [cells[len(FIRST) :][: len(columns)] for cells in read]
    assert own == [[as_text(row.item[name]) for name in columns] for row in rows]


@settings(max_examples=40, deadline=None)
@given(results())
def test_what_is_written_as_parquet_is_read_again_as_it_was(found: tuple[list[str], list[ItemResult[Any]]]) -> None:
    columns, rows = found
    with written(".parquet", columns, rows) as path, duckdb.connect() as database:
        query = database.execute("SELECT * FROM read_parquet(?)", [str(path)])
        header = [name for name, *_ in query.description or ()]
        read = query.fetchall()

    assert tuple(header[: len(FIRST)]) == FIRST
    assert len({name.casefold() for name in header}) == len(header)
    assert [cells[: len(FIRST)] for cells in read] == [first_cells(row) for row in rows]
    for place in range(len(columns)):
        meant = [row.item[columns[place]] for row in rows]
        assert [cells[len(FIRST) + place] for cells in read] == in_one_type(meant)


def in_one_type(column: list[Any]) -> list[Any]:
    """As a column that has one type: numbers and truths beside others are text, as JSON has it."""
    kinds = {type(value) for value in column if value is not None}
    if kinds <= {str} or kinds in ({bool}, {float}):
        return column
    return [value if value is None or isinstance(value, str) else Json(value) for value in column]


class Json:
    """Equal to the JSON text of a value."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, str) and json.loads(other) == self.value

    def __hash__(self) -> int:
        return hash(self.value)


def test_parquet_that_is_not_finished_stands_beside_it_as_json_lines_and_an_old_one_is_gone(tmp_path: Path) -> None:
    path = tmp_path / "results.parquet"
    path.write_bytes(b"an old one")
    writer = ResultWriter(path, ["asin"])
    writer.write([ItemResult(0, Row({"asin": "B01"}, 2), Outcome.SUCCEEDED)])

    part = tmp_path / "results.parquet.part.jsonl"
    assert json.loads(part.read_bytes())["asin"] == "B01"
    assert not path.exists()

    with pytest.raises(KeyError), writer:
        raise KeyError

    assert not part.exists()
    assert duckdb.connect().execute("SELECT asin FROM read_parquet(?)", [str(path)]).fetchall() == [("B01",)]


def test_results_of_several_files_name_the_file(tmp_path: Path) -> None:
    row = Row({"asin": "B01"}, 2)
    row.file = "a.csv"
    with ResultWriter(tmp_path / "results.csv", ["asin", "file"], with_file=True) as writer:
        writer.write([ItemResult(4, row, Outcome.REJECTED, "no")])

    header, cells = list(csv.reader((tmp_path / "results.csv").read_text().splitlines()))
    record = dict(zip(header, cells, strict=True))
    assert header[0] == "file"
    assert (record["file"], record["item.file"], record["message"]) == ("a.csv", "", "record 5 (a.csv, line 2): no")
