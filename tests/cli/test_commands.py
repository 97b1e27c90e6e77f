"""The commands, run as processes against an emulator."""

from __future__ import annotations

import csv
import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from quartile_async.cli._own_command import own_command
from quartile_async.emulator import Fault, ThreadedEmulator

HEADER = "asin,countryCode,percACoS\n"


def catalogue(path: Path, rows: int, *extra: str) -> Path:
    path.write_text(HEADER + "".join(f"B0{number:08d},US,27.5\n" for number in range(rows)) + "".join(extra))
    return path


def environment(emulator: ThreadedEmulator | None, **changes: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("QUARTILE_")}
    if emulator is not None:
        kept |= {
            "QUARTILE_BASE_URL": emulator.url,
            "QUARTILE_SUBSCRIPTION_KEY": emulator.subscription_key,
            "QUARTILE_ACCESS_TOKEN": emulator.access_token,
        }
    return kept | {"PYTHONWARNINGS": "error", "COLUMNS": "100"} | changes


COMMAND = (sys.executable, "-m", "quartile_async")


def run(*arguments: str | Path, emulator: ThreadedEmulator | None = None, **changes: str) -> Any:
    return subprocess.run(
        [*COMMAND, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        env=environment(emulator, **changes),
        check=False,
    )


def started(*arguments: str | Path, emulator: ThreadedEmulator) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*COMMAND, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(emulator),
    )


def until(condition: Any) -> None:
    deadline = time.monotonic() + 15
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture
def emulator(quartile_emulator: ThreadedEmulator) -> Iterator[ThreadedEmulator]:
    yield quartile_emulator
    assert quartile_emulator.violations == []


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_an_upload_in_which_all_succeed_exits_0_and_prints_one_line_of_json(
    tmp_path: Path, emulator: ThreadedEmulator
) -> None:
    results = tmp_path / "results.csv"

    done = run("upload", catalogue(tmp_path / "c.csv", 250), "--results", results, "--json", emulator=emulator)

    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    counts = json.loads(line)
    assert counts.pop("seconds") > 0
    assert counts == {"items": 250, "succeeded": 250, "failed": 0, "rejected": 0, "unknown": 0, "batches": 3}
    assert "250 succeeded" in done.stderr
    assert len(emulator.applied) == 250
    rows = read_csv(results)
    assert sorted(int(row["index"]) for row in rows) == list(range(250))
    assert {row["outcome"] for row in rows} == {"succeeded"}
    assert {row["batch_id"] for row in rows} == {batch.id for batch in emulator.batches}
    assert all(row["asin"] == f"B0{int(row['index']):08d}" for row in rows)


def test_rows_that_are_invalid_or_malformed_are_told_by_record_and_line_and_the_rest_goes_through(
    tmp_path: Path, emulator: ThreadedEmulator
) -> None:
    results = tmp_path / "results.jsonl"
    mess = ("B0BADROW01,US,0.4\n", "B0BADROW02,US\n", '"B0\nx",XX,2\n', "B0GOODROW1,DE,12\n")

    done = run("upload", catalogue(tmp_path / "c.csv", 3, *mess), "--results", results, emulator=emulator)

    assert done.returncode == 1
    assert done.stdout == ""
    by_index = {row["index"]: row for row in map(json.loads, results.read_text().splitlines())}
    assert len(by_index) == 7
    assert [by_index[index]["outcome"] for index in range(7)] == ["succeeded"] * 3 + ["rejected"] * 3 + ["succeeded"]
    assert by_index[3]["message"].startswith("record 4 (line 5): percACoS: ")
    assert by_index[4]["message"] == "record 5 (line 6): The record has 2 cells, the header 3."
    assert by_index[5]["message"].startswith("record 6 (line 7): countryCode: ")
    assert by_index[6]["line"] == 9


def test_json_lines_and_other_resources_go_too(tmp_path: Path, emulator: ThreadedEmulator) -> None:
    path = tmp_path / "asins.jsonl"
    path.write_text('{"asin": "B01", "tags": ["a"]}\n{"asin": "B02"}\n')

    done = run("upload", path, "--resource", "unmanaged-asins", emulator=emulator)

    assert done.returncode == 0, done.stderr
    assert emulator.applied_to("unmanaged/asins") == [{"asin": "B01", "tags": ["a"]}, {"asin": "B02"}]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("upload",), "file"),
        (("upload", "missing.csv"), "missing.csv"),
        (("upload", "."), "folder"),
        (("upload", "empty.csv"), "empty"),
        (("upload", "headless.csv"), "countryCode"),
        (("upload", "odd.pdf"), ".csv"),
        (("upload", "good.csv", "--results", "good.csv"), "input itself"),
        (("upload", "good.csv", "--results", "x.pdf"), ".csv or .jsonl"),
        (("upload", "good.csv", "--results", "no/such/folder/x.csv"), "no/such/folder"),
        (("upload", "good.csv", "--resource", "nonsense"), "nonsense"),
        (("upload", "good.csv", "--max-in-flight", "0"), "max-in-flight"),
        (("upload", "good.csv", "--base-url", "http://api.quartile.com"), "https://"),
        (("nonsense",), "nonsense"),
    ],
)
def test_bad_usage_files_and_settings_exit_2_with_a_few_lines(
    arguments: tuple[str, ...], said: str, tmp_path: Path, emulator: ThreadedEmulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    catalogue(tmp_path / "good.csv", 3)
    (tmp_path / "empty.csv").touch()
    (tmp_path / "headless.csv").write_text("asin,land\nB01,US\n")
    (tmp_path / "odd.pdf").write_text("x")
    root = str(Path(__file__).parents[2])

    done = run(*arguments, emulator=emulator, PYTHONPATH=root)

    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) <= 12
    assert done.stdout == ""
    assert emulator.batches == []
    assert (tmp_path / "good.csv").read_text().startswith(HEADER)


def test_missing_credentials_are_named(tmp_path: Path) -> None:
    done = run("upload", catalogue(tmp_path / "c.csv", 3))

    assert done.returncode == 2
    assert "QUARTILE_SUBSCRIPTION_KEY and QUARTILE_ACCESS_TOKEN" in done.stderr


def test_an_error_that_stops_the_upload_exits_3_and_the_rest_is_in_the_results(
    tmp_path: Path, emulator: ThreadedEmulator
) -> None:
    emulator.add(Fault(on="submit", after=1, times=None, status=403, body={"message": "Out of call volume quota."}))
    results = tmp_path / "results.csv"

    done = run(
        "upload",
        catalogue(tmp_path / "c.csv", 300),
        "--results",
        results,
        "--json",
        "--max-in-flight",
        "1",
        emulator=emulator,
    )

    assert done.returncode == 3
    assert "Out of call volume quota" in done.stderr
    assert "Traceback" not in done.stderr
    assert emulator.access_token not in done.stderr
    counts = json.loads(done.stdout)
    assert (counts["items"], counts["succeeded"], counts["unknown"]) == (300, 100, 200)
    assert len(read_csv(results)) == 300


@pytest.mark.slow
def test_a_server_that_is_not_there_exits_3(tmp_path: Path, emulator: ThreadedEmulator) -> None:
    nobody = "http://127.0.0.1:9"

    done = run("upload", catalogue(tmp_path / "c.csv", 3), "--base-url", nobody, emulator=emulator)

    assert done.returncode == 3
    assert nobody in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.quartile_emulator(processing=1.0)
def test_ctrl_c_once_waits_for_what_is_in_flight_and_exits_130(tmp_path: Path, emulator: ThreadedEmulator) -> None:
    results = tmp_path / "results.csv"
    with started(
        "upload",
        catalogue(tmp_path / "c.csv", 5_000),
        "--results",
        results,
        "--json",
        "--max-in-flight",
        "2",
        emulator=emulator,
    ) as process:
        until(lambda: len(emulator.batches) >= 2)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)

    assert process.returncode == 130, err
    assert "interrupted" in err
    assert "Traceback" not in err
    counts = json.loads(out)
    assert counts["succeeded"] == 200
    rows = read_csv(results)
    assert len(rows) == counts["items"]
    assert {row["outcome"] for row in rows if not row["batch_id"]} == {"unknown"}
    assert len(emulator.batches) == 2


@pytest.mark.quartile_emulator(processing=60.0)
def test_ctrl_c_twice_leaves_now(tmp_path: Path, emulator: ThreadedEmulator) -> None:
    with started("upload", catalogue(tmp_path / "c.csv", 500), "--json", emulator=emulator) as process:
        until(lambda: len(emulator.batches) >= 5)
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        until(lambda: "again leaves now" in process.stderr.readline())
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=10)

    assert process.returncode == 130, err
    assert json.loads(out)["unknown"] == 500
    assert "Traceback" not in err


def test_progress_on_a_terminal_of_80_columns_is_one_line(tmp_path: Path, emulator: ThreadedEmulator) -> None:
    path = catalogue(tmp_path / "c.csv", 3_000)
    terminal, theirs = pty.openpty()
    with subprocess.Popen(
        [*COMMAND, "upload", str(path)],
        stderr=theirs,
        stdout=subprocess.PIPE,
        env=environment(emulator, COLUMNS="80", TERM="xterm"),
    ) as process:
        os.close(theirs)
        shown = b""
        try:
            while part := os.read(terminal, 65_536):
                shown += part
        except OSError:  # how the end of a terminal looks on Linux
            pass
        process.wait(timeout=30)
    os.close(terminal)

    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown.decode())
    assert process.returncode == 0
    assert "3000/3000" in text
    assert "3000 ok" in text
    assert all(len(line) <= 80 for line in re.split(r"[\r\n]+", text) if "/3000" in line)


def test_the_demo_exits_0_when_every_item_has_its_result() -> None:
    done = run("demo", "--items", "300", "--json")

    assert done.returncode == 0, done.stderr
    counts = json.loads(done.stdout)
    assert counts["items"] == 300
    assert counts["unknown"] == 0
    assert counts["rejected"] >= 4
    found = re.search(r"Each item's result: (\S+)", done.stderr)
    assert found
    rows = read_csv(Path(found[1]))
    assert sorted(int(row["index"]) for row in rows) == list(range(300))
    assert f"{sys.executable} -m quartile_async upload YOUR_CATALOGUE.csv" in done.stderr


@contextmanager
def emulator_command() -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
    """The command, and its first lines; it is killed in the end, so that a failure cannot leave it behind."""
    with subprocess.Popen(
        [*COMMAND, "emulator", "--port", "0", "--processing", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(None),
    ) as process:
        try:
            assert process.stdout is not None
            yield process, [process.stdout.readline().strip() for _ in range(4)]
        finally:
            process.kill()


def test_the_emulator_command_prints_its_address_first_and_lines_that_work(tmp_path: Path) -> None:
    with emulator_command() as (_, (url, *lines)):
        settings = dict(line.removeprefix("export ").split("=", 1) for line in lines)
        done = run("upload", catalogue(tmp_path / "c.csv", 3), **settings)

    assert re.fullmatch(r"http://127\.0\.0\.1:\d+", url)
    assert settings["QUARTILE_BASE_URL"] == url
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("in_the_background", [False, True])
def test_the_emulator_command_ends_quietly_when_it_is_told_to(number: signal.Signals, in_the_background: bool) -> None:
    # A shell starts what runs in the background with Ctrl-C ignored, and a child inherits that.
    with ExitStack() as stack:
        before = signal.signal(signal.SIGINT, signal.SIG_IGN if in_the_background else signal.default_int_handler)
        try:
            process, _ = stack.enter_context(emulator_command())
        finally:
            signal.signal(signal.SIGINT, before)
        process.send_signal(number)
        _, err = process.communicate(timeout=30)

    assert process.returncode == 128 + number
    assert err == ""


@pytest.mark.parametrize("command", ["upload", "demo", "emulator"])
def test_help_has_an_example(command: str) -> None:
    done = run(command, "--help")

    assert done.returncode == 0
    assert f"quartile-async {command}" in done.stdout


def test_a_missing_extra_is_told_in_two_lines() -> None:
    code = "import sys; sys.modules['typer'] = None; from quartile_async.__main__ import main; main()"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert done.returncode == 2
    assert "pip install 'quartile-async[cli]'" in done.stderr
    assert len(done.stderr.splitlines()) == 2


def test_the_demo_names_the_command_by_words_that_can_be_pasted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "bin dir"
    folder.mkdir()
    program = folder / "quartile-async"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)

    monkeypatch.setenv("PATH", "/nowhere")
    assert own_command(str(program)) == f"'{program}'"
    monkeypatch.setenv("PATH", str(folder))
    assert own_command(str(program)) == "quartile-async"
    assert own_command("quartile-async") == "quartile-async", "which names no file here"
    assert own_command(str(program.parent.parent / "gone" / "quartile-async")) == "quartile-async"
    assert own_command("/any/quartile_async/__main__.py") == f"{sys.executable} -m quartile_async"


def test_an_upload_that_stops_early_says_how_much_of_the_file_was_read(tmp_path: Path) -> None:
    with ThreadedEmulator() as emulator:
        done = run(
            "upload", catalogue(tmp_path / "c.csv", 6_000), emulator=emulator, QUARTILE_SUBSCRIPTION_KEY="x" * 32
        )

    assert done.returncode == 3
    assert re.search(r"\d+ records of c.csv were read; any that come after them were not", done.stderr)


@pytest.mark.slow
def test_an_outage_is_told_while_it_lasts(tmp_path: Path) -> None:
    with ThreadedEmulator(processing=0.05) as emulator:
        emulator.add(Fault(after=20, times=6, status=502, body="<html>Bad Gateway</html>"))
        done = run("upload", catalogue(tmp_path / "c.csv", 1_000), "--max-in-flight", "1", emulator=emulator)

    assert done.returncode == 0, done.stderr
    assert "No request gets through: waiting, for 300 s at most" in done.stderr
    assert "Requests get through again" in done.stderr


def test_sigterm_is_as_gentle_as_ctrl_c(tmp_path: Path) -> None:
    results = tmp_path / "results.csv"
    with ThreadedEmulator(processing=0.3) as emulator:
        process = started("upload", catalogue(tmp_path / "c.csv", 50_000), "--results", results, emulator=emulator)
        while not emulator.batches:
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=30)

    assert process.returncode == 130, errors
    assert {row["outcome"] for row in read_csv(results) if row["batch_id"]} == {"succeeded"}
