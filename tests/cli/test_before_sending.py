"""On a terminal: what is seen before anything is sent, the question, progress, and Ctrl-C."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pexpect
import pytest

from quartile_async.emulator import Fault, ThreadedEmulator

from .test_commands import COMMAND, catalogue, environment, read_csv, run, until

COLUMNS = 80
SHEET = "ASIN;Country;Target ACoS\nb0shoe0001;us;27,5\nB0HAT00001;DE;18\nB0BAG00001;GB;0,5\n"


def terminal(*arguments: str | Path, emulator: ThreadedEmulator, **changes: str) -> pexpect.spawn[str]:
    command, *first = COMMAND
    # The window says how wide it is, as a terminal does.
    variables = environment(emulator, TERM="xterm", **changes)
    variables.pop("COLUMNS")
    return pexpect.spawn(
        command, [*first, *map(str, arguments)], env=variables, encoding="utf-8", dimensions=(40, COLUMNS), timeout=20
    )


def plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text).replace("\r\n", "\n")


def rest_of(shown: pexpect.spawn[str]) -> str:
    shown.expect(pexpect.EOF)
    shown.wait()
    return plain(shown.before or "")


@pytest.mark.quartile_emulator(processing=0.0)
def test_a_person_sees_what_was_understood_and_is_asked(tmp_path: Path, quartile_emulator: ThreadedEmulator) -> None:
    path = tmp_path / "sheet.csv"
    path.write_text(SHEET)

    shown = terminal("upload", path, "--account", "acme-de", emulator=quartile_emulator)
    shown.expect(r"\[y/n\]")
    seen = plain(shown.before or "")

    assert not quartile_emulator.requests
    assert "'ASIN' is asin, 'Country' is countryCode, 'Target ACoS' is percACoS" in seen
    assert "Decimal mark: a comma." in seen
    assert re.search(r"B0SHOE0001 +│ US +│ 27.5 ", seen)
    assert "sheet.csv: 3 records" in seen
    assert re.search(r"2 valid\n +1 invalid\npercACoS: from 18 to 27.5, the median is 18\n", seen)
    assert "record 3 (line 4): percACoS: " in seen
    assert f"To {quartile_emulator.url}, account: acme-de" in re.sub(r"\s+", " ", seen)
    assert "Send the 2 valid records?" in seen
    assert all(len(line) <= COLUMNS for line in seen.splitlines() if "│" in line)

    shown.sendline("y")
    assert "2 succeeded" in rest_of(shown)
    assert shown.exitstatus == 1, "one record is invalid"
    assert len(quartile_emulator.applied) == 2


@pytest.mark.parametrize("answer", ["n", ""])
def test_nothing_is_sent_or_made_unless_the_answer_is_yes(
    tmp_path: Path, quartile_emulator: ThreadedEmulator, answer: str
) -> None:
    path = catalogue(tmp_path / "c.csv", 3)

    shown = terminal("upload", path, "--results", tmp_path / "results.csv", emulator=quartile_emulator)
    shown.expect(r"Send all 3 records\?.*: ")
    shown.sendline(answer)

    assert "Nothing was sent." in rest_of(shown)
    assert shown.exitstatus == 130
    assert not quartile_emulator.requests
    assert [each.name for each in tmp_path.iterdir()] == ["c.csv"]


def test_with_yes_there_is_no_question(tmp_path: Path, quartile_emulator: ThreadedEmulator) -> None:
    shown = terminal("upload", catalogue(tmp_path / "c.csv", 3), "--yes", emulator=quartile_emulator)

    seen = rest_of(shown)
    assert "[y/n]" not in seen
    assert "3 succeeded" in seen
    assert shown.exitstatus == 0


def test_a_first_try_sends_so_many_items_and_the_same_command_without_it_the_rest(
    tmp_path: Path, quartile_emulator: ThreadedEmulator
) -> None:
    path, results = catalogue(tmp_path / "c.csv", 250), tmp_path / "results.csv"

    first = run("upload", path, "--first", "5", "--results", results, emulator=quartile_emulator)

    assert first.returncode == 0, first.stderr
    assert len(quartile_emulator.applied) == 5
    assert [row["outcome"] for row in read_csv(results)] == ["succeeded"] * 5
    assert "Only the first 5 were to be sent. To send the rest:" in first.stderr
    assert "--first" not in first.stderr.split("To send the rest:")[1]

    rest = run("upload", path, "--results", results, emulator=quartile_emulator)

    assert rest.returncode == 0, rest.stderr
    assert len(read_csv(results)) == 250
    assert sum(batch.size for batch in sizes(quartile_emulator)) == 250, "none was sent twice"


def sizes(emulator: ThreadedEmulator) -> Any:
    class Sized:
        def __init__(self, size: int) -> None:
            self.size = size

    return [Sized(len(batch.items)) for batch in emulator.batches]


def test_a_file_that_is_shorter_than_the_first_try_ends(tmp_path: Path, quartile_emulator: ThreadedEmulator) -> None:
    done = run("upload", catalogue(tmp_path / "c.csv", 3), "--first", "5", emulator=quartile_emulator)

    assert done.returncode == 0, done.stderr
    assert "3 succeeded" in done.stderr
    assert "To send the rest" not in done.stderr


@pytest.mark.quartile_emulator(processing=3600.0)
def test_ctrl_c_twice_leaves_now_and_says_how_to_go_on(tmp_path: Path, quartile_emulator: ThreadedEmulator) -> None:
    path, results = catalogue(tmp_path / "c.csv", 5_000), tmp_path / "results.csv"
    shown = terminal("upload", path, "--yes", "--results", results, "--max-in-flight", "4", emulator=quartile_emulator)
    until(lambda: len(quartile_emulator.batches) == 4)

    shown.sendintr()
    shown.expect("waiting for what is in flight. Ctrl-C again leaves now")
    shown.sendintr()
    seen = rest_of(shown)

    assert shown.exitstatus == 130
    assert "To go on where this has ended: " in seen
    assert f"upload {path} --yes --results {results}" in seen.replace("\n", "")
    assert len(quartile_emulator.batches) == 4
    assert {row["outcome"] for row in read_csv(results)} == {"unknown"}


@pytest.mark.quartile_emulator(processing=0.5)
def test_ctrl_c_once_submits_no_more_and_collects_what_is_in_flight(
    tmp_path: Path, quartile_emulator: ThreadedEmulator
) -> None:
    path, results = catalogue(tmp_path / "c.csv", 50_000), tmp_path / "results.parquet"
    shown = terminal("upload", path, "--yes", "--results", results, emulator=quartile_emulator)
    until(lambda: len(quartile_emulator.batches) >= 4)

    shown.sendintr()
    shown.expect("waiting for what is in flight")
    submitted = len(quartile_emulator.batches)
    seen = rest_of(shown)

    assert shown.exitstatus == 130
    assert len(quartile_emulator.batches) <= submitted + 16
    assert "interrupted" in seen
    assert results.exists()
    succeeded = re.search(r"(\d+) succeeded", seen)
    assert succeeded
    assert int(succeeded[1]) == len(quartile_emulator.applied) > 0


@pytest.mark.slow
@pytest.mark.quartile_emulator(processing=0.2)
def test_a_throttled_upload_says_for_how_long(tmp_path: Path, quartile_emulator: ThreadedEmulator) -> None:
    quartile_emulator.add(Fault(on="submit", after=2, status=429, headers={"Retry-After": "2"}))
    path = catalogue(tmp_path / "c.csv", 1_000)

    shown = terminal("upload", path, "--yes", "--max-in-flight", "2", emulator=quartile_emulator)
    seen = rest_of(shown)

    assert shown.exitstatus == 0
    assert seen.count("Paused by the server for 2 s.") == 1


@pytest.mark.quartile_emulator(processing=0.3)
def test_no_color_means_none_and_everything_can_be_read(tmp_path: Path, quartile_emulator: ThreadedEmulator) -> None:
    path = catalogue(tmp_path / "c.csv", 2_000, "B0BADROW01,US,0.4\n")

    shown = terminal("upload", path, "--yes", emulator=quartile_emulator, NO_COLOR="1")
    shown.expect(pexpect.EOF)
    raw = shown.before or ""
    shown.wait()

    assert shown.exitstatus == 1
    assert not re.search(r"\x1b\[[0-9;]*[34][0-7]", raw), "no colours"
    assert "batches in flight" in raw
    lines = [line for line in re.split(r"[\r\n]+", plain(raw)) if "ok" in line]
    assert lines
    assert all(len(line) <= COLUMNS for line in lines)
