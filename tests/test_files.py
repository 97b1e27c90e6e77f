"""Reading tables of items: each kind of mess costs itself, and the lines are certain."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import tempfile
from pathlib import Path
from typing import Any

import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quartile_async import ConfigurationError, ItemResult, Outcome
from quartile_async._tables.csv_rows import CsvTable
from quartile_async._tables.formats import Compression
from quartile_async._tables.opening import TextFile
from quartile_async._tables.sources import Reading
from quartile_async.files import BLOCK, ItemFile, MalformedRow, ResultWriter, Row, read_items

HEADER = "asin,countryCode,percACoS"
REQUIRED = ("asin", "countryCode", "percACoS")


async def records(path: Path, required: Any = REQUIRED) -> list[tuple[int, Any]]:
    """Line and content of each record; a malformed one has its reason."""
    return [
        (each.line, str(each) if isinstance(each, MalformedRow) else dict(each))
        async for each in await opened(path, required)
    ]


async def opened(path: Path, required: Any = ()) -> ItemFile:
    return await asyncio.to_thread(read_items, path, required=required)


def row(number: int, target: str = "27.5") -> dict[str, str]:
    return {"asin": f"B0000000{number:02d}", "countryCode": "US", "percACoS": target}


ROW = "B0000000{:02d},US,27.5"

MESSES: dict[str, tuple[str | bytes, list[tuple[int, Any]]]] = {
    "plain": (f"{HEADER}\n{ROW.format(1)}\n{ROW.format(2)}\n", [(2, row(1)), (3, row(2))]),
    "no line break at the end": (f"{HEADER}\n{ROW.format(1)}", [(2, row(1))]),
    "header only": (f"{HEADER}\n", []),
    "semicolons": (f"{HEADER}\n{ROW.format(1)}\n".replace(",", ";"), [(2, row(1))]),
    "tabs": (f"{HEADER}\n{ROW.format(1)}\n".replace(",", "\t"), [(2, row(1))]),
    "a BOM": (f"\ufeff{HEADER}\n{ROW.format(1)}\n", [(2, row(1))]),
    "Windows line breaks": (f"{HEADER}\r\n{ROW.format(1)}\r\n", [(2, row(1))]),
    "blank lines": (f"\n{HEADER}\n\n{ROW.format(1)}\n\n,,\n{ROW.format(2)}\n", [(4, row(1)), (7, row(2))]),
    "blanks around names": (f"asin , countryCode,percACoS\n{ROW.format(1)}\n", [(2, row(1))]),
    "a cell too few": (
        f"{HEADER}\n{ROW.format(1)}\nB000000002,US\n{ROW.format(3)}\n",
        [(2, row(1)), (3, "The record has 2 cells, the header 3."), (4, row(3))],
    ),
    "a cell too many": (
        f"{HEADER}\n{ROW.format(1)},x\n{ROW.format(2)}\n",
        [(2, "The record has 4 cells, the header 3."), (3, row(2))],
    ),
    "a line break in quotes": (
        f'{HEADER}\n"B0000000\n01",US,27.5\n{ROW.format(2)}\n',
        [(2, {**row(1), "asin": "B0000000\n01"}), (4, row(2))],
    ),
    "a quote that is not closed": (
        f'{HEADER}\nB000000001,"US,27.5\n{ROW.format(2)}\n{ROW.format(3)}\n',
        [(2, "The record cannot be read: unexpected end of data."), (3, row(2)), (4, row(3))],
    ),
    "a quote that the next row's quote closes": (
        f'{HEADER}\nB000000001,"US,27.5\n{ROW.format(2)}\n"B000000003",US,27.5\n',
        [(2, "The record cannot be read: ',' expected after '\"'."), (3, row(2)), (4, row(3))],
    ),
    "a quote in the middle": (
        f'{HEADER}\nB000000001,US,"2"7.5\n{ROW.format(2)}\n',
        [
            (2, "The record cannot be read: ',' expected after '\"'."),
            (3, row(2)),
        ],
    ),
    "another encoding": (
        f"{HEADER}\n{ROW.format(1)}\n".encode() + b"B00000000\xe9,US,27.5\n" + f"{ROW.format(3)}\n".encode(),
        [(2, row(1)), (3, "The record is not in UTF-8: save the file as 'CSV UTF-8'."), (4, row(3))],
    ),
}


@pytest.mark.parametrize("mess", MESSES)
async def test_each_kind_of_mess_costs_itself_and_the_lines_are_certain(mess: str, tmp_path: Path) -> None:
    content, expected = MESSES[mess]
    path = tmp_path / "catalogue.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)

    assert await records(path) == expected


async def test_an_open_quote_in_a_long_file_swallows_nothing(tmp_path: Path) -> None:
    path = tmp_path / "catalogue.csv"
    path.write_text(f'{HEADER}\nB000000001,"US,27.5\n' + f"{ROW.format(2)}\n" * 5_000)

    first, *others = await records(path)

    assert first[0] == 2
    assert "a quote is not closed within 100 lines" in first[1]
    assert others == [(line, row(2)) for line in range(3, 5_003)]


async def test_json_lines_are_read_with_their_types_and_bad_lines_cost_themselves(tmp_path: Path) -> None:
    path = tmp_path / "catalogue.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"asin": "a", "n": 1.5}\n\n[1]\n{"asin": \n{"asin": NaN}\n"x"\n\xff\n{"b": [1]}\n')

    read = await records(path)

    assert [line for line, _ in read] == [1, 3, 4, 5, 6, 7, 8]
    assert read[0] == (1, {"asin": "a", "n": 1.5})
    assert all(isinstance(each, str) for _, each in read[1:6])
    assert read[6] == (8, {"b": [1]})
    assert (await opened(path)).columns == ("asin", "n", "b")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("catalogue.csv", b"", "is empty"),
        ("catalogue.csv", b"asin,country,percACoS\na,US,1\n", "'countryCode' must be there too"),
        ("catalogue.csv", b"asin,asin,countryCode,percACoS\na,a,US,1\n", "name of its own"),
        ("catalogue.csv", b"asin,,countryCode,percACoS\na,a,US,1\n", "name of its own"),
        ("catalogue.xyz", b"asin\n", ".csv"),
    ],
)
def test_a_file_that_cannot_be_used_is_told_with_what_was_found(
    name: str, content: bytes, said: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_bytes(content)

    with pytest.raises(ConfigurationError) as caught:
        read_items(path, required=REQUIRED)

    assert said in str(caught.value)


async def test_a_name_that_looks_like_a_pattern_is_that_of_one_file(tmp_path: Path) -> None:
    path = tmp_path / "cat[1]*.csv"
    path.write_text(f"{HEADER}\n{ROW.format(1)}\n")
    (tmp_path / "cat1.csv").write_text("a;b\n1;2\n")

    assert await records(path) == [(2, row(1))]


async def test_a_file_is_read_lazily_and_closed_when_it_is_left(tmp_path: Path) -> None:
    path = tmp_path / "catalogue.csv"
    path.write_text(f"{HEADER}\n" + f"{ROW.format(2)}\n" * (BLOCK * 50))
    source = await opened(path, REQUIRED)
    assert await source.estimate() == BLOCK * 50

    reading = aiter(source)
    await anext(reading)
    (position,) = await asyncio.to_thread(positions, path)
    assert 0 < position < BLOCK * 50 * len(ROW) / 10
    await reading.aclose()  # type: ignore[attr-defined]  # a generator
    assert await asyncio.to_thread(positions, path) == []


def positions(path: Path) -> list[int]:
    """How far each open file of this name has been read."""
    return [each.position for each in psutil.Process().open_files() if each.path == str(path)]


async def test_lines_may_end_in_different_ways(tmp_path: Path) -> None:
    path = tmp_path / "catalogue.csv"
    path.write_bytes(b"asin,countryCode,percACoS\r\n" + b"B000000001,US,20.5\r\n" * 5_000 + b"B000000002,US,20\n")

    source = await asyncio.to_thread(read_items, path)
    read = [each async for each in source]

    assert len(read) == 5_001
    assert all(isinstance(each, Row) and each["countryCode"] == "US" for each in read)


cells = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=12)


@settings(max_examples=60)
@given(st.lists(st.tuples(cells, cells, cells).filter(any), max_size=8), st.sampled_from(",;\t"))
async def test_what_a_csv_writer_writes_is_read_back(rows: list[tuple[str, ...]], delimiter: str) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=delimiter)
    writer.writerows([REQUIRED, *rows])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "catalogue.csv"
        path.write_bytes(text.getvalue().encode())
        # The dialect is given, because no sniffer can be sure of it for text like this.
        table = CsvTable(TextFile(path, Compression.NONE, "utf-8-sig"), delimiter, REQUIRED)
        read = [each async for each in ItemFile(path, table, Reading())]

    assert [tuple(each.values()) if isinstance(each, Row) else str(each) for each in read] == rows


RESULTS = [
    ItemResult(0, Row({"asin": 'a,b\n"c"', "index": "7"}, 2), Outcome.SUCCEEDED, "ok", "INSERT", "uuid", "batch"),
    ItemResult(1, MalformedRow("torn", line=5, text="x"), Outcome.REJECTED, "torn"),
    ItemResult(2, Row({"asin": None, "extra": {"n": 1}}, 6), Outcome.UNKNOWN, "é", batch_id="batch"),
]


def test_results_are_written_as_csv_that_can_be_read_back(tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    with ResultWriter(path, ("asin", "index"), complete=False) as writer:
        writer.write(RESULTS[:1])
        assert len(path.read_text().splitlines()) > 1, "what was written is in the file at once"
        writer.write(RESULTS[1:])
    with path.open(encoding="utf-8", newline="") as file:
        first, second, third = csv.DictReader(file)

    assert first == {
        "index": "0",
        "line": "2",
        "outcome": "succeeded",
        "message": "ok",
        "process": "INSERT",
        "id": "uuid",
        "batch_id": "batch",
        "not_sent": "false",
        "resent": "false",
        "asin": 'a,b\n"c"',
        "item.index": "7",
        "other_fields": "",
    }
    assert (second["outcome"], second["message"]) == ("rejected", "record 2 (line 5): torn")
    assert (third["message"], json.loads(third["other_fields"])) == ("é", {"extra": {"n": 1}})


def test_results_are_written_as_json_lines(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    with ResultWriter(path, ("asin", "index")) as writer:
        writer.write(RESULTS)
    first, second, third = map(json.loads, path.read_text().splitlines())

    assert (first["index"], first["item.index"], first["asin"]) == (0, "7", 'a,b\n"c"')
    assert (second["index"], second["line"], second["batch_id"]) == (1, 5, None)
    assert third["other_fields"] == {"extra": {"n": 1}}
