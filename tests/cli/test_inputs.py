"""Files as they are named on the command line: several, by patterns, compressed, through pipes."""

from __future__ import annotations

import gzip
import json
import subprocess
from pathlib import Path

import openpyxl
import pytest

from quartile_async.cli._inputs import Inputs, inputs_of
from quartile_async.cli._own_command import without_what_is_done_once
from quartile_async.emulator import ThreadedEmulator

from .test_commands import COMMAND, HEADER, catalogue, environment, read_csv, run

MESSY = Path(__file__).parents[1] / "messy"


@pytest.mark.quartile_emulator(processing=0.0)
def test_several_files_are_one_upload_whose_results_name_the_file(
    tmp_path: Path, quartile_emulator: ThreadedEmulator
) -> None:
    (tmp_path / "b.csv").write_text("ASIN;Country;Target ACoS\nB0FROMB001;DE;27,5\nB0FROMB002;XX;27,5\n")
    (tmp_path / "a.jsonl").write_text('{"asin": "B0FROMA001", "countryCode": "US", "percACoS": 18}\n')
    (tmp_path / "c.csv.gz").write_bytes(gzip.compress(f"{HEADER}B0FROMC001,FR,12\nB0FROMC002\n".encode()))
    results = tmp_path / "results.csv"

    done = run("upload", tmp_path / "*.*", "--results", results, "--json", emulator=quartile_emulator)

    assert json.loads(done.stdout)["succeeded"] == 3, done.stderr
    assert {asin: item["percACoS"] for (asin, _), item in quartile_emulator.applied.items()} == {
        "B0FROMA001": 18,
        "B0FROMB001": 27.5,
        "B0FROMC001": 12,
    }
    told = {(row["file"], row["line"]): row["outcome"] for row in read_csv(results)}
    assert told == {
        ("a.jsonl", "1"): "succeeded",
        ("b.csv", "2"): "succeeded",
        ("b.csv", "3"): "rejected",
        ("c.csv.gz", "2"): "succeeded",
        ("c.csv.gz", "3"): "rejected",
    }
    assert any("record 3 (b.csv, line 3): countryCode" in row["message"] for row in read_csv(results))
    assert (tmp_path / "a.jsonl.and-2-more.journal").exists()

    results.unlink()
    again = run("upload", tmp_path / "*", "--json", emulator=quartile_emulator)
    assert "was uploaded already" in again.stderr
    assert json.loads(again.stdout)["succeeded"] == 3
    assert len(quartile_emulator.batches) == 1


@pytest.mark.quartile_emulator(processing=0.0)
def test_the_rows_to_mend_of_several_files_go_into_one(tmp_path: Path, quartile_emulator: ThreadedEmulator) -> None:
    (tmp_path / "a.csv").write_text(f"{HEADER}B0FROMA001,US,0.5\nB0FROMA002,US,27.5\n")
    (tmp_path / "b.csv").write_text("ASIN,Country,Target ACoS,Notes\nB0FROMB001,DE,abc,mine\n")
    retry = tmp_path / "retry.csv"

    run("upload", tmp_path / "a.csv", tmp_path / "b.csv", "--retry-file", retry, emulator=quartile_emulator)

    assert read_csv(retry) == [
        {"asin": "B0FROMA001", "countryCode": "US", "percACoS": "0.5", "Notes": ""},
        {"asin": "B0FROMB001", "countryCode": "DE", "percACoS": "abc", "Notes": "mine"},
    ]


@pytest.mark.quartile_emulator(processing=0.0)
def test_a_sellers_workbook_goes_through_and_its_rows_to_mend_are_a_workbook_too(
    tmp_path: Path, quartile_emulator: ThreadedEmulator
) -> None:
    retry = tmp_path / "retry.xlsx"
    arguments = ("upload", MESSY / "sellers_workbook.xlsx", "--no-journal", "--retry-file", retry)

    done = run(*arguments, emulator=quartile_emulator)

    assert done.returncode == 1
    assert "the sheet 'Targets'; not read: 'Notes'" in done.stderr
    assert quartile_emulator.applied["B0PERCENT2", "US"]["percACoS"] == 150.0
    book = openpyxl.load_workbook(retry)
    sheet = book["To mend"]
    assert [[cell.value for cell in row] for row in sheet.iter_rows(max_col=4)] == [
        ["ASIN", "Country", "Column C", "Target ACoS"],
        ["B0DATE0001", "US", "note", "2026-05-25 00:00:00"],
        [307474278, "US", "note", 20],
        [None, None, None, None],
    ]

    sheet["D2"] = 25
    sheet["A3"] = "0307474278"
    sheet.delete_rows(4)
    book.save(retry)
    mended = run("upload", retry, "--no-journal", "--json", emulator=quartile_emulator)
    assert json.loads(mended.stdout) | {"seconds": 0} == {
        "items": 2,
        "succeeded": 2,
        "failed": 0,
        "rejected": 0,
        "unknown": 0,
        "batches": 1,
        "seconds": 0,
    }


@pytest.mark.parametrize(("name", "pipe_format"), [("sellers_workbook.xlsx", "xlsx"), ("two_parts.csv.zst", "csv.zst")])
def test_standard_input_may_be_of_any_format(name: str, pipe_format: str) -> None:
    done = subprocess.run(
        [*COMMAND, "upload", "-", "--format", pipe_format, "--dry-run", "--json"],
        input=(MESSY / name).read_bytes(),
        capture_output=True,
        env=environment(None),
        timeout=60,
        check=False,
    )

    assert json.loads(done.stdout)["valid"] == {"xlsx": 8, "csv.zst": 2}[pipe_format], done.stderr


@pytest.mark.parametrize(
    ("arguments", "valid"),
    [
        (("fractions.csv", "--percent-scale", "100"), 4),
        (("decimal_commas.csv", "--decimal", ","), 3),
        (("both_marks_in_a_column.csv", "--decimal", "."), 2),
        (("windows_latin_1.csv", "--encoding", "cp1252"), 2),
        (("unknown_headers.csv", "--map", "Artikel=asin", "--map", "Land=countryCode", "--map", "Ziel=percACoS"), 1),
    ],
)
def test_what_a_file_means_can_be_said(arguments: tuple[str, ...], valid: int) -> None:
    name, *options = arguments

    done = run("upload", MESSY / name, "--dry-run", "--json", *options)

    assert json.loads(done.stdout)["valid"] == valid, done.stderr


@pytest.mark.parametrize("name", ["array_that_breaks_off.json", "breaks_off.csv.gz", "breaks_off.csv.zst"])
def test_a_file_that_breaks_off_ends_with_an_error_and_what_was_read_is_told(
    tmp_path: Path, name: str, quartile_emulator: ThreadedEmulator
) -> None:
    dry = run("upload", MESSY / name, "--dry-run")
    results = tmp_path / "results.csv"
    wet = run("upload", MESSY / name, "--no-journal", "--results", results, emulator=quartile_emulator)

    assert dry.returncode == 2
    assert name in dry.stderr
    assert wet.returncode in (2, 3)
    assert name in wet.stderr
    assert max(len(each.stderr.splitlines()) for each in (dry, wet)) <= 12
    if wet.returncode == 3:
        assert len(read_csv(results)) == len(quartile_emulator.applied) > 0


def test_a_pattern_is_taken_by_name_and_a_file_of_that_name_is_itself(tmp_path: Path) -> None:
    for name in ("2.csv", "1.csv", "[x].csv"):
        catalogue(tmp_path / name, 1)

    def names(*patterns: str) -> list[str]:
        with inputs_of([tmp_path / each for each in patterns], None) as inputs:
            assert not inputs.is_pipe
            return [path.name for path in inputs.paths]

    assert names("*.csv") == ["1.csv", "2.csv", "[x].csv"]
    assert names("2.csv", "*.csv") == ["2.csv", "1.csv", "[x].csv"]
    assert names("[x].csv") == ["[x].csv"]
    assert Inputs((Path("a"),), "a").is_pipe is False


def test_a_pattern_that_means_nothing_is_an_error(tmp_path: Path) -> None:
    done = run("upload", tmp_path / "*.csv", "--dry-run")

    assert done.returncode == 2
    assert "No file matches" in done.stderr


def test_a_pipe_is_uploaded_alone(tmp_path: Path) -> None:
    done = run("upload", "-", catalogue(tmp_path / "c.csv", 1), "--dry-run")

    assert done.returncode == 2
    assert "Upload one after the other" in done.stderr


def test_what_is_done_once_is_not_in_the_command_that_goes_on() -> None:
    typed = ["upload", "a.csv", "--first", "5", "--again", "--yes", "--first=7", "--restart", "--results", "r.csv"]

    assert without_what_is_done_once(typed) == ["upload", "a.csv", "--yes", "--results", "r.csv"]
