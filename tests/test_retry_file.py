"""The rows to mend: exactly the records that did not succeed, as they stood in their file."""

from __future__ import annotations

import asyncio
import csv
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quartile_async import ConfigurationError, ItemResult, Outcome
from quartile_async.emulator import ThreadedEmulator
from quartile_async.files import MalformedRow, RetryWriter, Row, read_items

from .cli.test_commands import HEADER, run

MESS = (
    "B0GOODROW1,US,27.5\n"
    "B0BADROW01,US,0.4\n"
    '"B0 ""quoted"", here",DE,12\n'
    "B0SHORT001,US\n"
    "\n"
    '"B0UNCLOSED,US,3\n'
    "B0GOODROW2,DE,12\n"
    "B0FAILED77,FR,15\n"
)


def records_of(path: Path) -> list[Row | MalformedRow]:
    source = read_items(path)

    async def read() -> list[Row | MalformedRow]:
        return [record async for record in source]

    return asyncio.run(read())


def as_told(record: Row | MalformedRow) -> object:
    if isinstance(record, Row):
        return dict(record)
    # What could not be read is lost, and seen to be.
    return record.record.rstrip("\r\n").encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def written(path: Path, records: list[Any], outcome: Outcome = Outcome.REJECTED) -> Path:
    source = read_items(path)
    target = path.with_name(f"retry{path.suffix}")
    with RetryWriter(target, source.columns, source.delimiter) as writer:
        writer.write(ItemResult(number, record, outcome) for number, record in enumerate(records))
    assert writer.written == (0 if outcome is Outcome.SUCCEEDED else len(records))
    return target


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", HEADER.encode() + MESS.encode()),
        ("a.csv", HEADER.encode() + MESS.encode().replace(b"\n", b"\r\n")),
        ("a.csv", b"\xef\xbb\xbf" + HEADER.replace(",", ";").encode() + b"B0;US;1,5\nB0\xe9;US;2\n"),
        ("a.tsv", HEADER.replace(",", "\t").encode() + b"B0TABBED01\tUS\t1\nB0TABBED02\tUS\n"),
        ("a.jsonl", b'{"asin": "B0", "percACoS": 1.50}\n{"asin": \n[1]\n{"asin": "\xff"}\n{"other": {"a": null}}\n'),
    ],
    ids=["a mess", "its lines end in CR LF", "semicolons and Latin-1", "tabs", "JSON Lines"],
)
def test_what_is_written_reads_like_what_was_read(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    records = records_of(path)
    assert any(isinstance(record, MalformedRow) for record in records) or ";" in path.read_text("latin-1")

    again = records_of(written(path, records))

    assert list(map(as_told, again)) == list(map(as_told, records))


def test_successes_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(HEADER + MESS)

    target = written(path, records_of(path), Outcome.SUCCEEDED)

    assert target.read_text() == HEADER


cells = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\u2028\u2029\x85"), max_size=8)


@given(st.lists(st.tuples(st.text("ab,;\t|\"' \n", min_size=1, max_size=8), cells), min_size=1, max_size=6))
def test_any_cells_come_back_as_they_were(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]]
) -> None:
    path = tmp_path_factory.mktemp("retry") / "retry.csv"
    records = [Row({"one": one, "two": two}, line) for line, (one, two) in enumerate(rows, 2)]
    with RetryWriter(path, ("one", "two"), ",") as writer:
        writer.write(ItemResult(number, record, Outcome.FAILED) for number, record in enumerate(records))

    with path.open(newline="", encoding="utf-8") as file:
        header, *found = csv.reader(file)
    assert header == ["one", "two"]
    assert [tuple(cells) for cells in found] == rows


@pytest.mark.parametrize(
    ("name", "delimiter"), [("a.jsonl", ","), ("a.csv", None), ("a.xlsx", None), ("a.parquet", ",")]
)
def test_another_format_than_the_inputs_is_refused(tmp_path: Path, name: str, delimiter: str | None) -> None:
    with pytest.raises(ConfigurationError, match="the input's own format"):
        RetryWriter(tmp_path / name, ("asin",), delimiter)

    assert not (tmp_path / name).exists()


def fails(item: dict[str, Any]) -> str | None:
    return "no such product" if item["asin"] == "B0FAILED77" else None


@pytest.mark.quartile_emulator(processing=0.0, fail=fails)
def test_the_rows_to_mend_once_mended_complete_the_catalogue(
    tmp_path: Path, quartile_emulator: ThreadedEmulator
) -> None:
    path, retry = tmp_path / "catalogue.csv", tmp_path / "retry.csv"
    path.write_text(HEADER + MESS)

    first = run("upload", path, "--retry-file", retry, emulator=quartile_emulator)

    assert first.returncode == 1
    assert f"To mend and upload again: 4 rows in {retry}" in first.stderr
    assert sorted(retry.read_text().splitlines()) == sorted(
        ["asin,countryCode,percACoS", "B0BADROW01,US,0.4", "B0SHORT001,US", '"B0UNCLOSED,US,3', "B0FAILED77,FR,15"]
    )

    mended = retry.read_text().replace("0.4", "40").replace("B0SHORT001,US", "B0SHORT001,US,20")
    retry.write_text(mended.replace('"B0UNCLOSED', "B0UNCLOSED").replace("B0FAILED77", "B0MENDED77"))
    second = run("upload", retry, "--json", emulator=quartile_emulator)

    assert second.returncode == 0, second.stderr
    assert json.loads(second.stdout)["succeeded"] == 4
    assert {asin for asin, _ in quartile_emulator.applied} == {
        "B0GOODROW1",
        'B0 "QUOTED", HERE',
        "B0GOODROW2",
        "B0BADROW01",
        "B0SHORT001",
        "B0UNCLOSED",
        "B0MENDED77",
    }


@pytest.mark.parametrize("other", ["catalogue.csv", "results.csv"])
def test_a_retry_file_that_would_replace_another_is_refused(
    tmp_path: Path, quartile_emulator: ThreadedEmulator, other: str
) -> None:
    path = tmp_path / "catalogue.csv"
    path.write_text(HEADER + MESS)

    done = run(
        "upload",
        path,
        "--results",
        tmp_path / "results.csv",
        "--retry-file",
        tmp_path / other,
        emulator=quartile_emulator,
    )

    assert done.returncode == 2
    assert "another file" in done.stderr or "two files" in done.stderr
    assert path.read_text() == HEADER + MESS
    assert not quartile_emulator.requests
