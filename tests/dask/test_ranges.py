"""Files in ranges of records: together they are the whole, whatever stands in the file."""

from __future__ import annotations

import asyncio
import gzip
import itertools
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quartile_async import MASTERLIST, ConfigurationError, Resource
from quartile_async._dask import ranges
from quartile_async._dask.forms import Form, form_of, opened_as
from quartile_async._dask.inputs import input_of
from quartile_async._dask.parts import Part, Records, items_of
from quartile_async._dask.ranges import examined, parts_of_files
from quartile_async._tables import csv_rows
from quartile_async._tables.opening import has_one_byte_for_each
from quartile_async._tables.places import Place
from quartile_async.files import ItemFile, MalformedRow, Row, read_items

ROWS: Resource[Any] = Resource("process/rows")


@pytest.fixture(scope="module", autouse=True)
def quotes_are_given_up_soon() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(csv_rows, "MOST_LINES", 4)
        yield


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ranges") / "file"


def told(record: Any) -> tuple[Any, ...]:
    """All that a record says of itself."""
    if isinstance(record, Row):
        return list(record.items()), record.line, record.original
    assert isinstance(record, MalformedRow)
    return (
        str(record),
        record.line,
        record.text,
        record.record,
        record.fields,
        record.cells,
        record.separated_by,
        record.columns,
    )


def parts_of(path: Path, form: Form | None, part_items: int, resource: Resource[Any] = MASTERLIST) -> tuple[Part, ...]:
    found = examined(str(path), form, resource, {}, part_items)
    return parts_of_files(input_of(opened_as(str(path), found.file.form)).files, [found])


def check_parts_are_the_whole(path: Path, form: Form, part_items: int) -> int:
    """Gives how many parts there are."""
    whole = list(map(told, opened_as(str(path), form).records()))
    parts = parts_of(path, form, part_items)
    each = [list(map(told, items_of(part, None, MASTERLIST).records())) for part in parts]
    assert list(itertools.chain.from_iterable(each)) == whole
    if len(parts) > 1:
        assert [len(records) for records in each[:-1]] == [part_items] * (len(parts) - 1)
        assert 1 <= len(each[-1]) <= part_items
    return len(parts)


PIECES = st.sampled_from(
    [
        b"B01N5IB20Q",
        b"US",
        b"27,5",
        b"27.5",
        b"1.234",
        b"%",
        b";",
        b";",
        b";",
        b'"',
        b'"',
        b'""',
        b"\n",
        b"\n",
        b"\r\n",
        b"\r",
        b" ",
        b"\t",
        b"\xc3\xa9",
        b"\xe9",
        b"\xef\xbb\xbf",
        b"\xc3",
        b"\x81",
        b"a;b;3\n",
        b"x;y;4,5\r\n",
        b'"q;\nr";s;5\n',
        b"\x00",
        b"\xe2\x80\xa8",
        b"\x85",
        b"\x0b",
        b"\x0c",
    ]
)


@settings(max_examples=300)
@given(
    bom=st.booleans(),
    before=st.sampled_from([b"", b"\n", b"\r\n\r\n"]),
    end=st.sampled_from([b"\n", b"\r\n", b"\r"]),
    pieces=st.lists(PIECES, max_size=60),
    encoding=st.sampled_from(["utf-8-sig", "cp1252", "iso8859-1"]),
    decimal=st.sampled_from([".", ",", None]),
    part_items=st.integers(1, 4),
)
def test_the_ranges_of_any_csv_are_together_the_whole(
    file: Path, bom: bool, before: bytes, end: bytes, pieces: list[bytes], encoding: str, decimal: Any, part_items: int
) -> None:
    path = file.with_suffix(".csv")
    has_bom = bom and encoding == "utf-8-sig"
    path.write_bytes(b"\xef\xbb\xbf" * has_bom + before + b"ASIN;countryCode;percACoS" + end + b"".join(pieces))
    form = Form(
        "csv",
        ("ASIN", "countryCode", "percACoS"),
        {"ASIN": "asin"},
        ("asin", "countryCode", "percACoS"),
        is_cleaned=True,
        decimal=decimal,
        encoding=encoding,
        delimiter=";",
    )

    check_parts_are_the_whole(path, form, part_items)


LINES = st.sampled_from(
    [
        b'{"asin": "B01N5IB20Q", "percACoS": "27,5"}',
        b'{"ASIN": "\xc3\xa9"}',
        b'{"asin": "\xe9"}',
        b"[1]",
        b"{",
        b"",
        b"  ",
        b'{"asin":\r"B0"}',
        b"\xef\xbb\xbf{}",
        b'{"asin": "\xef\xbf\xbd"}',
    ]
)


@given(
    bom=st.booleans(),
    lines=st.lists(st.tuples(LINES, st.sampled_from([b"\n", b"\r\n"])), max_size=12),
    part_items=st.integers(1, 4),
)
def test_the_ranges_of_any_json_lines_are_together_the_whole(
    file: Path, bom: bool, lines: list[tuple[bytes, bytes]], part_items: int
) -> None:
    path = file.with_suffix(".jsonl")
    path.write_bytes(b"\xef\xbb\xbf" * bom + b"".join(itertools.chain.from_iterable(lines)))
    form = Form("json lines", (), {"ASIN": "asin"}, ("asin",), is_cleaned=True, decimal=None, encoding="utf-8-sig")

    check_parts_are_the_whole(path, form, part_items)


def write_parquet(path: Path, select: str, rows_of_a_group: int = 2_048) -> None:
    with duckdb.connect() as database:
        database.execute(f"COPY ({select}) TO '{path}' (FORMAT parquet, ROW_GROUP_SIZE {rows_of_a_group})")


CATALOGUE = "SELECT 'B0' || i AS asin, 'US' AS countryCode, (i % 50 + 1.5)::FLOAT AS percACoS FROM range(10000) t(i)"


@pytest.mark.parametrize("part_items", [999, 2_048, 5_000, 10_000, 20_000])
def test_the_ranges_of_parquet_are_together_the_whole(tmp_path: Path, part_items: int) -> None:
    path = tmp_path / "a 'catalogue' [1]*.parquet".replace("'", "")
    write_parquet(path, CATALOGUE)

    count = check_parts_are_the_whole(path, form_of(read_items(path, resource=MASTERLIST)), part_items)

    assert count == -(-10_000 // part_items)


@pytest.mark.parametrize(("number", "first", "last", "groups"), [(0, "B00", "B01999", 1), (3, "B06000", "B07999", 2)])
def test_only_those_groups_of_rows_of_parquet_are_read_that_have_records_of_the_range(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, first: str, last: str, groups: int
) -> None:
    path = tmp_path / "catalogue.parquet"
    write_parquet(path, CATALOGUE)
    queries: list[tuple[str, Any]] = []
    real = duckdb.connect

    class Noting:
        def __init__(self, **options: Any) -> None:
            self._database = real(**options)

        def __enter__(self) -> Noting:
            return self

        def __exit__(self, *_: object) -> None:
            self._database.close()

        def execute(self, query: str, arguments: Any = ()) -> Any:
            queries.append((query, arguments))
            return self._database.execute(query, arguments)

    monkeypatch.setattr(duckdb, "connect", Noting)
    part = parts_of(path, form_of(read_items(path, resource=MASTERLIST)), 2_000)[number]
    queries.clear()

    records = list(items_of(part, None, MASTERLIST).records())

    assert [records[0]["asin"], records[-1]["asin"], len(records)] == [first, last, 2_000]
    ((query, arguments),) = queries
    with real() as database:
        explained = database.execute(f"EXPLAIN ANALYZE {query}", arguments).fetchall()
    assert f"Row Groups Scanned: {groups} / 5" in explained[0][1]


def test_parquet_with_a_column_that_duckdb_needs_itself_is_one_part(tmp_path: Path) -> None:
    path = tmp_path / "catalogue.parquet"
    write_parquet(path, "SELECT 'B01' AS asin, 1 AS File_Row_Number FROM range(10)")

    (part,) = parts_of(path, None, 3, ROWS)

    assert len(list(items_of(part, None, ROWS).records())) == 10


@pytest.mark.parametrize("name", ["catalogue.json", "catalogue.csv.gz", "catalogue.csv"])
def test_what_cannot_be_entered_in_the_middle_is_one_part(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    records = [{"asin": f"B0{number}", "countryCode": "US", "percACoS": 20.5} for number in range(10)]
    text = "asin,countryCode,percACoS\n" + "".join(f"{','.join(map(str, each.values()))}\n" for each in records)
    match path.suffix:
        case ".json":
            path.write_text(json.dumps(records))
        case ".gz":
            path.write_bytes(gzip.compress(text.encode()))
        case _:
            path.write_text(text, "utf-16")

    (part,) = parts_of(path, None, 3)

    items = items_of(part, None, MASTERLIST)
    assert isinstance(part.items, Records)
    assert part.items.stop is None
    assert [row["asin"] for row in items.records()] == [row["asin"] for row in records]
    some = items.between(Place(4), 6)
    assert [row["asin"] for row in some.records()] == ["B04", "B05"]


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "iso8859-1", "iso8859-15", "koi8-r", "mac-roman", "cp437"])
def test_encodings_of_one_byte_for_each_character_can_be_entered(encoding: str) -> None:
    assert has_one_byte_for_each(encoding)
    for byte in range(256):
        assert len(bytes([byte]).decode(encoding, "replace")) == 1


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32", "utf-7", "shift_jis", "gb18030", "hz", "big5"])
def test_encodings_of_several_bytes_for_a_character_cannot_be_entered(encoding: str) -> None:
    assert not has_one_byte_for_each(encoding)


def test_a_part_is_cleaned_by_what_the_whole_file_tells_and_not_by_its_own_records(tmp_path: Path) -> None:
    path = tmp_path / "catalogue.csv"
    rows = ["B01N5IB20A;US;27,5", "B01N5IB20B;US;28,5", "B01N5IB20C;US;1.500", "B01N5IB20D;US;29"]
    path.write_text("\n".join(["asin;Country;percACoS", *rows]))

    parts = parts_of(path, None, 2)
    records = [record for part in parts for record in items_of(part, None, MASTERLIST).records()]

    assert [str(part) for part in parts] == ["catalogue.csv, records 1 to 2", "catalogue.csv, records 3 to 4"]
    assert isinstance(records[2], MalformedRow)
    assert "thousands" in str(records[2])
    assert [records[0]["percACoS"], records[3]["countryCode"], records[3].line] == ["27.5", "US", 5]


async def test_the_records_of_a_part_are_counted_without_reading_the_file(tmp_path: Path) -> None:
    path = tmp_path / "catalogue.csv"
    path.write_text("asin,countryCode,percACoS\n" + "B01,US,20\n" * 10)
    parts = await asyncio.to_thread(parts_of, path, None, 4)
    items = await asyncio.to_thread(items_of, parts[2], None, MASTERLIST)

    assert await items.estimate() == 2
    assert [item.line async for item in items] == [10, 11]
    assert await items.between(Place(8, 0, 9), None).estimate() == 2


def test_a_file_without_records_has_no_parts(tmp_path: Path) -> None:
    path = tmp_path / "catalogue.csv"
    path.write_text("asin,countryCode,percACoS\n\n")

    assert parts_of(path, None, 4) == ()


def test_a_file_that_a_worker_does_not_find_is_an_error_that_says_where_files_must_be(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigurationError, match=r"gone\.csv cannot be opened by a worker: No such file.*all of them see"
    ):
        parts_of(tmp_path / "gone.csv", None, 4)


def test_a_folder_is_an_error_that_says_what_to_give(tmp_path: Path) -> None:
    folder = tmp_path / "catalogue.parquet"
    folder.mkdir()

    with pytest.raises(ConfigurationError, match=r"is a folder\. Give the files in it"):
        parts_of(folder, None, 4)


def test_a_file_that_is_written_while_it_is_looked_at_is_another_one_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "catalogue.csv"
    path.write_text("asin,countryCode,percACoS\nB01,US,20\n")
    before = path.stat().st_mtime_ns

    def reading_items(path: str, **options: Any) -> ItemFile:
        os.utime(path, ns=(before + 1_000_000, before + 1_000_000))
        return read_items(path, **options)

    monkeypatch.setattr(ranges, "read_items", reading_items)

    assert examined(str(path), None, MASTERLIST, {}, 4).file.modified == before
