"""What becomes of an upload whose files cannot be written, or that is not the first one of its file."""

from __future__ import annotations

import json
import time
from pathlib import Path

import openpyxl
import pexpect
import pytest

from quartile_async.emulator import Fault, ThreadedEmulator

from .test_before_sending import rest_of, terminal
from .test_commands import HEADER, catalogue, read_csv, run, started, until


@pytest.mark.parametrize("report", ["no/such/folder/report.html", "report.txt", "."])
def test_a_report_that_cannot_be_written_is_known_before_anything_is_sent(
    tmp_path: Path, quartile_emulator: ThreadedEmulator, report: str
) -> None:
    done = run("upload", catalogue(tmp_path / "c.csv", 3), "--report", tmp_path / report, emulator=quartile_emulator)

    assert done.returncode == 2
    assert "--report" in done.stderr
    assert not quartile_emulator.batches


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
@pytest.mark.parametrize("option", ["--results", "--retry-file"])
@pytest.mark.quartile_emulator(processing=0.0, fail=lambda item: "no")
def test_a_disk_that_is_full_ends_the_upload_and_the_counts_and_the_way_on_are_told(
    tmp_path: Path, quartile_emulator: ThreadedEmulator, option: str
) -> None:
    full = tmp_path / "full.csv"
    full.symlink_to("/dev/full")
    path = catalogue(tmp_path / "c.csv", 3_000)

    done = run("upload", path, option, full, "--json", emulator=quartile_emulator)

    assert done.returncode == 3
    assert "No space left on device" in done.stderr
    assert "To go on where this has ended:" in done.stderr
    assert "Traceback" not in done.stderr
    counts = json.loads(done.stdout)
    assert counts["items"] >= 100


@pytest.mark.quartile_emulator(processing=0.0)
def test_results_are_in_the_file_as_soon_as_they_are_known(tmp_path: Path, quartile_emulator: ThreadedEmulator) -> None:
    quartile_emulator.add(Fault(on="submit", after=2, delay=30.0))
    results = tmp_path / "results.csv"
    process = started(
        "upload",
        catalogue(tmp_path / "c.csv", 300),
        "--results",
        results,
        "--max-in-flight",
        "1",
        emulator=quartile_emulator,
    )

    until(lambda: results.exists() and len(read_csv(results)) == 200)
    process.kill()
    process.communicate()


@pytest.mark.slow
@pytest.mark.quartile_emulator(processing=0.0)
def test_a_first_try_behind_what_is_under_way_is_refused_and_does_not_hang(
    tmp_path: Path, quartile_emulator: ThreadedEmulator
) -> None:
    path = catalogue(tmp_path / "c.csv", 300)
    run("upload", path, "--first", "20", emulator=quartile_emulator)

    fewer = run("upload", path, "--first", "7", emulator=quartile_emulator)
    more = run("upload", path, "--first", "50", "--json", emulator=quartile_emulator)

    assert fewer.returncode == 2
    assert "has read 20 items" in fewer.stderr
    assert json.loads(more.stdout)["succeeded"] == 50
    assert len(quartile_emulator.applied) == 50


@pytest.mark.quartile_emulator(processing=0.0)
def test_a_first_try_that_has_all_items_says_nothing_of_a_rest(
    tmp_path: Path, quartile_emulator: ThreadedEmulator
) -> None:
    done = run("upload", catalogue(tmp_path / "c.csv", 10), "--first", "10", emulator=quartile_emulator)

    assert done.returncode == 0, done.stderr
    assert "10 succeeded" in done.stderr


@pytest.mark.slow
@pytest.mark.quartile_emulator(processing=0.0)
def test_a_pattern_does_not_mean_what_is_written_nor_results_nor_journals(
    tmp_path: Path, quartile_emulator: ThreadedEmulator
) -> None:
    catalogue(tmp_path / "acme.journal.csv", 3)
    results = tmp_path / "results.csv"

    first = run("upload", tmp_path / "*.csv", "--results", results, emulator=quartile_emulator)
    again = run("upload", tmp_path / "*.csv", "--results", results, emulator=quartile_emulator)
    without = run("upload", tmp_path / "*.csv", emulator=quartile_emulator)

    assert first.returncode == again.returncode == 0, again.stderr
    assert len(quartile_emulator.applied) == 3
    assert without.returncode == 2
    assert "results.csv is a file of results" in without.stderr


def test_the_part_of_parquet_results_is_not_the_input(tmp_path: Path, quartile_emulator: ThreadedEmulator) -> None:
    path = tmp_path / "x.parquet.part.jsonl"
    path.write_text('{"asin": "B0SHOE0001", "countryCode": "US", "percACoS": 27.5}\n')

    done = run("upload", path, "--results", tmp_path / "x.parquet", emulator=quartile_emulator)

    assert done.returncode == 2
    assert path.read_text()


@pytest.mark.slow
@pytest.mark.quartile_emulator(processing=0.0)
def test_a_row_that_was_refused_is_refused_again_until_it_is_mended(
    tmp_path: Path, quartile_emulator: ThreadedEmulator
) -> None:
    (tmp_path / "a.csv").write_text("asin,countryCode,percACoS,note,x\nB0FROMA001,US,27.5,n,x\n")
    (tmp_path / "b.csv").write_text("asin,countryCode,price,percACoS\nB0FROMB001,DE,19,99,25,0\n")
    (tmp_path / "c.csv").write_text("asin;countryCode;percACoS\nB0FROMC001;DE;19,5\nB0FROMC002;DE;12.345\n")
    (tmp_path / "latin.csv").write_bytes(HEADER.encode() + b"B0\xfcL000001,DE,12\n")
    book = openpyxl.Workbook()
    book.active.append(["asin", "countryCode", "percACoS"])
    book.active.append(["B0SHOE0001", "US", 27, "see:\nB0INVENT01,DE,77"])
    book.active.append([True, "US", 27])
    book.save(tmp_path / "d.xlsx")

    for number, names in enumerate((["a.csv", "b.csv"], ["c.csv"], ["latin.csv"], ["d.xlsx"])):
        retry = tmp_path / f"retry{number}.csv"
        paths = [tmp_path / name for name in names]
        run("upload", *paths, "--no-journal", "--retry-file", retry, emulator=quartile_emulator)
        before = dict(quartile_emulator.applied)
        again = run("upload", retry, "--no-journal", "--json", emulator=quartile_emulator)

        assert again.stdout, again.stderr
        counts = json.loads(again.stdout)
        assert (counts["succeeded"], counts["rejected"]) == (0, counts["items"]), (names, retry.read_text())
        assert counts["items"] > 0
        assert quartile_emulator.applied == before


@pytest.mark.slow
@pytest.mark.quartile_emulator(processing=0.0)
def test_percent_of_a_workbook_stays_percent_in_json_lines(tmp_path: Path, quartile_emulator: ThreadedEmulator) -> None:
    book = openpyxl.Workbook()
    book.active.append(["asin", "countryCode", "percACoS"])
    book.active.append(["B0SHOE0001", "XX", 0.275])
    book.active.cell(2, 3).number_format = "0.0%"
    book.save(tmp_path / "a.xlsx")
    (tmp_path / "b.json").write_text("[]")
    retry = tmp_path / "retry.jsonl"

    scale = ("--percent-scale", "100", "--no-journal")
    run("upload", tmp_path / "a.xlsx", tmp_path / "b.json", "--retry-file", retry, *scale, emulator=quartile_emulator)
    retry.write_text(retry.read_text().replace("XX", "US"))
    run("upload", retry, *scale, emulator=quartile_emulator)

    assert quartile_emulator.applied["B0SHOE0001", "US"]["percACoS"] == 27.5


def test_ctrl_c_at_the_question_leaves_at_once(tmp_path: Path, quartile_emulator: ThreadedEmulator) -> None:
    shown = terminal("upload", catalogue(tmp_path / "c.csv", 3), emulator=quartile_emulator)
    shown.expect(r"Send all 3 records\?.*: ")
    time.sleep(0.2)
    shown.sendintr()
    shown.expect(pexpect.EOF)
    shown.wait()

    assert shown.exitstatus == 130
    assert not quartile_emulator.requests


def test_yes_is_an_answer_too(tmp_path: Path, quartile_emulator: ThreadedEmulator) -> None:
    shown = terminal("upload", catalogue(tmp_path / "c.csv", 3), emulator=quartile_emulator)
    shown.expect(r"Send all 3 records\?.*: ")
    shown.sendline("yes")

    assert "3 succeeded" in rest_of(shown)


@pytest.mark.slow
@pytest.mark.quartile_emulator(processing=0.0)
def test_the_question_knows_what_was_uploaded_already(tmp_path: Path, quartile_emulator: ThreadedEmulator) -> None:
    path = catalogue(tmp_path / "c.csv", 30)
    run("upload", path, "--first", "20", emulator=quartile_emulator)

    shown = terminal("upload", path, emulator=quartile_emulator)
    shown.expect(r"had\s+read 20.*Go on with it, and send what is left\?.*: ")
    shown.sendline("y")
    assert "30 succeeded" in rest_of(shown)

    seen = rest_of(terminal("upload", path, emulator=quartile_emulator))
    assert "was uploaded already" in seen
    assert "[y/n]" not in seen


@pytest.mark.quartile_emulator(processing=0.0, fail=lambda item: "\x1b]0;hunter\x07gone")
def test_what_the_server_says_does_not_steer_the_terminal(tmp_path: Path, quartile_emulator: ThreadedEmulator) -> None:
    shown = terminal("upload", catalogue(tmp_path / "c.csv", 3), "--yes", emulator=quartile_emulator)
    shown.expect(pexpect.EOF)
    shown.wait()

    assert "\x1b]0;" not in (shown.before or "")
    assert "hunter" in (shown.before or "")
