"""Journals on the command line: resumed by the same line, and never in the way of tomorrow's file."""

from __future__ import annotations

import json
import shlex
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from quartile_async.cli._inputs import Inputs
from quartile_async.cli._journals import Earlier, Way, Wish, default_journal, way_on
from quartile_async.emulator import Fault, ThreadedEmulator

from .test_commands import HEADER, catalogue, environment, read_csv, run, started, until


@pytest.fixture
def emulator(quartile_emulator: ThreadedEmulator) -> Iterator[ThreadedEmulator]:
    yield quartile_emulator
    assert quartile_emulator.violations == []


def results_in(path: Path) -> list[tuple[str, ...]]:
    """In input order, without what tells one run from another."""
    return sorted(tuple(row.values()) for row in read_csv(path))


def received(emulator: ThreadedEmulator) -> int:
    return emulator.items_received


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# ---- which way to go on, as a table

PATH = Path("c.csv.journal")
UNFINISHED = Earlier(items=10, finished=False, at=1.0)
FINISHED = Earlier(items=10, finished=True, at=1.0)


def other(earlier: Earlier, **changes: Any) -> Earlier:
    values = {name: getattr(earlier, name) for name in Earlier.__slots__}
    return Earlier(**values | changes)


@pytest.mark.parametrize(
    ("earlier", "wish", "way"),
    [
        (UNFINISHED, {}, Way.RESUME),
        (UNFINISHED, {"again": True}, Way.RESUME),
        (UNFINISHED, {"restart": True}, Way.SET_ASIDE),
        (other(UNFINISHED, grew=True), {}, Way.RESUME),
        (other(UNFINISHED, parts_at=3), {}, Way.REFUSE),
        (other(UNFINISHED, parts_at=3), {"again": True}, Way.REFUSE),
        (other(UNFINISHED, parts_at=0), {}, Way.REFUSE),
        (other(UNFINISHED, parts_at=3), {"restart": True}, Way.SET_ASIDE),
        (FINISHED, {}, Way.REPLAY),
        (FINISHED, {"again": True}, Way.SET_ASIDE),
        (FINISHED, {"restart": True}, Way.SET_ASIDE),
        (other(FINISHED, grew=True), {}, Way.SET_ASIDE),
        (other(FINISHED, parts_at=0), {}, Way.SET_ASIDE),
        (other(FINISHED, same_subject=False), {}, Way.SET_ASIDE),
    ],
)
def test_the_way_on(earlier: Earlier, wish: dict[str, bool], way: Way) -> None:
    assert way_on(earlier, Wish(PATH, **wish)) is way


@pytest.mark.parametrize(
    ("file", "account", "journal"),
    [
        ("a/catalogue.csv", None, "a/catalogue.csv.journal"),
        ("catalogue.csv", "", "catalogue.csv.journal"),
        ("catalogue.csv", "shop-de", "catalogue.csv.shop-de.journal"),
        ("catalogue.csv", "../Müller & Co", "catalogue.csv.___Müller___Co.journal"),
    ],
)
def test_the_journal_lies_beside_the_file_and_has_the_accounts_label(
    file: str, account: str | None, journal: str
) -> None:
    assert default_journal(Inputs((Path(file),), file), account) == Path(journal)


def test_the_journal_of_several_files_says_so_and_a_pipe_has_none() -> None:
    files = (Path("a/one.csv"), Path("a/two.csv"), Path("b/three.csv"))

    assert default_journal(Inputs(files, "one.csv and 2 more"), "de") == Path("a/one.csv.and-2-more.de.journal")
    assert default_journal(Inputs((Path("x"),), "-", is_pipe=True), None) is None


# ---- the command


@pytest.mark.quartile_emulator(processing=0.3)
def test_an_upload_that_was_killed_is_resumed_by_the_same_line(tmp_path: Path, emulator: ThreadedEmulator) -> None:
    line = ("upload", catalogue(tmp_path / "c.csv", 3_000), "--results", tmp_path / "r.csv", "--max-in-flight", "4")
    with started(*line, emulator=emulator) as process:
        until(lambda: len(emulator.batches) >= 8)
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=10)

    done = run(*line, "--json", emulator=emulator)

    assert done.returncode == 0, done.stderr
    assert "Resuming the upload that was last under way on 20" in done.stderr
    assert json.loads(done.stdout)["succeeded"] == 3_000
    assert sorted(int(row["index"]) for row in read_csv(tmp_path / "r.csv")) == list(range(3_000))
    assert len(emulator.batches) <= 30 + 4, "more than what was in flight was sent twice"
    assert stat.S_IMODE((tmp_path / "c.csv.journal").stat().st_mode) == 0o600


@pytest.mark.slow
@pytest.mark.quartile_emulator(processing=0.3)
def test_an_interruption_says_which_command_resumes_and_that_command_does(
    tmp_path: Path, emulator: ThreadedEmulator
) -> None:
    path = catalogue(tmp_path / "my catalogue.csv", 3_000)
    line = ("upload", path, "--restart", "--max-in-flight", "2")
    with started(*line, emulator=emulator) as process:
        until(lambda: len(emulator.batches) >= 4)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    _, _, command = err.strip().splitlines()[-1].partition("To go on where this has ended: ")
    assert "--restart" not in command

    done = subprocess.run(
        shlex.split(command), env=environment(emulator), capture_output=True, text=True, timeout=60, check=False
    )

    assert done.returncode == 0, done.stderr
    assert "3000 succeeded" in done.stderr
    assert received(emulator) == 3_000, "nothing was sent twice"


@pytest.mark.quartile_emulator(fail_share=0.1)
def test_a_file_that_was_uploaded_already_is_not_sent_and_gives_the_same_results(
    tmp_path: Path, emulator: ThreadedEmulator
) -> None:
    path = catalogue(tmp_path / "c.csv", 300, "B0BADROW01,US,0.4\n")
    first = run("upload", path, "--results", tmp_path / "first.csv", "--json", emulator=emulator)
    sent = received(emulator)

    second = run("upload", path, "--results", tmp_path / "second.csv", "--json", emulator=emulator)

    assert f"c.csv was uploaded already: that finished on {time.strftime('%Y')}" in second.stderr
    assert "--again" in second.stderr
    assert received(emulator) == sent == 300
    assert second.returncode == first.returncode == 1
    assert results_in(tmp_path / "second.csv") == results_in(tmp_path / "first.csv")
    counts, before = json.loads(second.stdout), json.loads(first.stdout)
    assert {**counts, "seconds": 0, "batches": 0} == {**before, "seconds": 0, "batches": 0}

    third = run("upload", path, "--again", emulator=emulator)

    assert received(emulator) == 600
    assert "The earlier journal was set aside: " in third.stderr
    assert len(list(tmp_path.glob("c.csv.20*.journal"))) == 1


@pytest.mark.parametrize("extra", [(), ("B0TOMORROW,US,12\n",)])
def test_tomorrows_file_of_the_same_name_is_uploaded_and_the_old_journal_kept(
    extra: tuple[str, ...], tmp_path: Path, emulator: ThreadedEmulator
) -> None:
    path = catalogue(tmp_path / "c.csv", 150)
    assert run("upload", path, emulator=emulator).returncode == 0
    yesterdays = (tmp_path / "c.csv.journal").read_bytes()
    path = catalogue(tmp_path / "c.csv", 150, *extra) if extra else catalogue(tmp_path / "c.csv", 149)

    done = run("upload", path, "--json", emulator=emulator)

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["succeeded"] == (151 if extra else 149)
    assert received(emulator) == 150 + (151 if extra else 149), "all of it was sent"
    (aside,) = tmp_path.glob("c.csv.20*.journal")
    assert aside.read_bytes() == yesterdays
    assert str(aside) in done.stderr


@pytest.mark.slow
def test_an_unfinished_journal_whose_file_has_changed_is_an_error_that_names_both_ways_out(
    tmp_path: Path, emulator: ThreadedEmulator
) -> None:
    emulator.add(Fault(on="submit", after=1, times=1, status=403, body={"message": "Out of call volume quota."}))
    path = catalogue(tmp_path / "c.csv", 300)
    assert run("upload", path, "--max-in-flight", "1", emulator=emulator).returncode == 3
    before, journal = received(emulator), (tmp_path / "c.csv.journal").read_bytes()
    path.write_text(path.read_text().replace("B000000250,US,27.5", "B000000250,US,28.5"))

    done = run("upload", path, "--results", tmp_path / "r.csv", emulator=emulator)

    assert done.returncode == 2
    assert "others from index 250 on" in done.stderr
    assert "Put the old file back" in done.stderr
    assert "--restart" in done.stderr
    assert received(emulator) == before
    assert (tmp_path / "c.csv.journal").read_bytes() == journal
    assert not (tmp_path / "r.csv").exists(), "the results of an earlier run would be gone"

    again = run("upload", path, "--restart", emulator=emulator)

    assert again.returncode == 0, again.stderr
    assert received(emulator) == before + 300
    assert len(list(tmp_path.glob("c.csv.20*.journal"))) == 1


def test_what_was_not_sent_is_sent_by_the_same_line(tmp_path: Path, emulator: ThreadedEmulator) -> None:
    emulator.add(Fault(on="submit", after=1, times=1, status=403, body={"message": "Out of call volume quota."}))
    line = ("upload", catalogue(tmp_path / "c.csv", 300), "--max-in-flight", "1", "--json")

    stopped = run(*line, emulator=emulator)

    assert "200 items were not sent." in stopped.stderr
    assert "To go on where this has ended: " in stopped.stderr
    done = run(*line, emulator=emulator)
    assert (done.returncode, json.loads(done.stdout)["succeeded"]) == (0, 300)
    assert received(emulator) == 300


def test_without_a_journal_none_is_made_and_none_is_looked_at(tmp_path: Path, emulator: ThreadedEmulator) -> None:
    path = catalogue(tmp_path / "c.csv", 10)

    for _ in range(2):
        assert run("upload", path, "--no-journal", emulator=emulator).returncode == 0

    assert received(emulator) == 20
    assert names_in(tmp_path) == ["c.csv"]


@pytest.mark.parametrize("other", [("--journal", "x.journal"), ("--again",), ("--restart",)])
def test_no_journal_goes_with_nothing_that_needs_one(
    other: tuple[str, ...], tmp_path: Path, emulator: ThreadedEmulator
) -> None:
    done = run("upload", catalogue(tmp_path / "c.csv", 3), "--no-journal", *other, emulator=emulator)

    assert done.returncode == 2
    assert "--no-journal" in done.stderr
    assert received(emulator) == 0


@pytest.mark.slow
def test_each_account_has_a_journal_of_its_own(tmp_path: Path, emulator: ThreadedEmulator) -> None:
    path = catalogue(tmp_path / "c.csv", 10)

    assert run("upload", path, "--account", "de", emulator=emulator).returncode == 0
    assert run("upload", path, emulator=emulator, QUARTILE_ACCOUNT="fr").returncode == 0

    assert received(emulator) == 20
    assert names_in(tmp_path) == ["c.csv", "c.csv.de.journal", "c.csv.fr.journal"]


@pytest.mark.slow
def test_a_journal_that_another_upload_is_using_is_left_alone_even_by_restart(
    tmp_path: Path, emulator: ThreadedEmulator
) -> None:
    emulator.add(Fault(on="submit", times=None, delay=30.0))
    path = catalogue(tmp_path / "c.csv", 10)
    with started("upload", path, emulator=emulator) as process:
        until(lambda: emulator.batches)
        for arguments in (("upload", path), ("upload", path, "--restart"), ("journal", tmp_path / "c.csv.journal")):
            done = run(*arguments, emulator=emulator)
            assert done.returncode == 2
            assert "is in use by another upload" in done.stderr
        process.kill()
    assert [name for name in names_in(tmp_path) if name.endswith("journal")] == ["c.csv.journal"]


@pytest.mark.slow
@pytest.mark.parametrize("content", [b"asin,countryCode\nB0,US\n" * 100, b"SQLite format 3\0" + bytes(5_000)])
def test_what_is_not_a_journal_is_left_as_it_is_unless_it_is_set_aside(
    content: bytes, tmp_path: Path, emulator: ThreadedEmulator
) -> None:
    path, journal = catalogue(tmp_path / "c.csv", 10), tmp_path / "c.csv.journal"
    journal.write_bytes(content)

    done = run("upload", path, emulator=emulator)

    assert done.returncode == 2
    assert str(journal) in done.stderr
    assert "--restart" in done.stderr
    assert "Traceback" not in done.stderr
    assert journal.read_bytes() == content
    assert received(emulator) == 0
    assert run("upload", path, "--restart", emulator=emulator).returncode == 0
    (aside,) = tmp_path.glob("c.csv.20*.journal")
    assert aside.read_bytes() == content


def test_a_folder_that_is_not_there_is_told_with_the_ways_out(tmp_path: Path, emulator: ThreadedEmulator) -> None:
    path = catalogue(tmp_path / "c.csv", 10)

    done = run("upload", path, "--journal", tmp_path / "no" / "x.journal", emulator=emulator)

    assert done.returncode == 2
    assert str(tmp_path / "no" / "x.journal") in done.stderr
    assert "--no-journal" in done.stderr
    assert received(emulator) == 0


def test_a_folder_is_never_set_aside(tmp_path: Path, emulator: ThreadedEmulator) -> None:
    path = catalogue(tmp_path / "c.csv", 10)
    (tmp_path / "folder").mkdir()

    done = run("upload", path, "--journal", tmp_path / "folder", "--restart", emulator=emulator)

    assert done.returncode == 2
    assert "is a folder" in done.stderr
    assert names_in(tmp_path) == ["c.csv", "folder"]


@pytest.mark.parametrize("option", ["--results", "--journal"])
def test_the_journal_the_input_and_the_results_are_different_files(
    option: str, tmp_path: Path, emulator: ThreadedEmulator
) -> None:
    path = catalogue(tmp_path / "c.csv", 10)
    line = ("--journal", tmp_path / "r.csv", "--results", tmp_path / "r.csv")

    done = run("upload", path, *(line if option == "--results" else ("--journal", path)), emulator=emulator)

    assert done.returncode == 2
    assert "itself. Name another file." in done.stderr
    assert path.read_text().startswith(HEADER)


# ---- pipes


def piped(text: str, *arguments: str | Path, emulator: ThreadedEmulator) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "quartile_async", "upload", *map(str, arguments)],
        input=text,
        capture_output=True,
        text=True,
        timeout=60,
        env=environment(emulator),
        check=False,
    )


@pytest.mark.slow
def test_a_pipe_has_no_journal_unless_one_is_named(
    tmp_path: Path, emulator: ThreadedEmulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = catalogue(tmp_path / "c.csv", 150).read_text()
    (tmp_path / "c.csv").unlink()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))

    assert piped(text, "-", "--json", emulator=emulator).returncode == 0
    assert names_in(tmp_path) == []

    for _ in range(2):
        done = piped(text, "-", "--journal", "named.journal", "--json", emulator=emulator)
        assert (done.returncode, json.loads(done.stdout)["succeeded"]) == (0, 150)
    assert "- was uploaded already" in done.stderr
    assert received(emulator) == 300


def test_json_lines_come_through_a_pipe_when_it_is_said_that_they_do(emulator: ThreadedEmulator) -> None:
    lines = '{"asin": "B000000001", "countryCode": "US", "percACoS": 20.5}\n' * 2

    done = piped(lines, "/dev/stdin", "--format", "jsonl", "--json", emulator=emulator)

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["succeeded"] == 2


# ---- what a journal holds


@pytest.mark.quartile_emulator(processing=60.0)
def test_the_journal_command_shows_what_is_open(tmp_path: Path, emulator: ThreadedEmulator) -> None:
    path, journal = catalogue(tmp_path / "c.csv", 250, "B0BADROW01,US,0.4\n"), tmp_path / "c.csv.journal"
    with started("upload", path, emulator=emulator) as process:
        until(lambda: len(emulator.batches) >= 3)
        time.sleep(0.3)  # until the ids have come back and are durable
        process.kill()
    content = journal.read_bytes()

    shown, as_json = run("journal", journal), run("journal", journal, "--json")

    assert (shown.returncode, as_json.returncode) == (0, 0), shown.stderr
    held = json.loads(as_json.stdout)
    assert held["items"] == 251
    assert held["outcomes"] == {"rejected": 1}
    assert held["batches"] == {"ended": 1, "taken": 3}
    assert {each["batch_id"] for each in held["open"]} == {batch.id for batch in emulator.batches}
    assert sum(each["items"] for each in held["open"]) == held["without_result"] == 250
    assert held["finished_at"] is None
    assert time.time() - 60 < held["started_at"] <= held["touched_at"] <= time.time()
    for batch in emulator.batches:
        assert f"batch {batch.id}" in shown.stdout
    assert "250 without a result so far" in shown.stdout
    assert emulator.url in shown.stdout
    assert emulator.subscription_key not in shown.stdout
    assert len(journal.read_bytes()) >= len(content)


def test_the_journal_command_shows_what_came_of_a_finished_upload(tmp_path: Path, emulator: ThreadedEmulator) -> None:
    emulator.add(Fault(on="submit", status=503, times=1))
    run("upload", catalogue(tmp_path / "c.csv", 150), emulator=emulator)

    done = run("journal", tmp_path / "c.csv.journal")

    lines = [line.split() for line in done.stdout.splitlines()]
    assert ["150", "succeeded"] in lines
    assert ["2", "ended"] in lines
    assert ["items", "read", "150"] in lines
    assert any(line[0] == "finished" and line[1] == time.strftime("%Y-%m-%d") for line in lines)
    assert "still open" not in done.stdout


@pytest.mark.parametrize("name", ["missing.journal", "empty.journal", "table.csv"])
def test_the_journal_command_says_what_is_wrong_with_a_file(name: str, tmp_path: Path) -> None:
    (tmp_path / "empty.journal").touch()
    catalogue(tmp_path / "table.csv", 100)

    done = run("journal", tmp_path / name)

    assert done.returncode == 2
    assert name in done.stderr
    assert "Traceback" not in done.stderr
