"""The synchronous door: in a plain script, in a real Jupyter kernel, and by Ctrl-C."""

from __future__ import annotations

import asyncio
import csv
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pytest
from blockbuster import BlockBuster

from quartile_async import (
    UNMANAGED_ASINS,
    AuthenticationError,
    ConfigurationError,
    ItemResult,
    JournalError,
    Summary,
    upload_file,
)
from quartile_async.emulator import ThreadedEmulator
from quartile_async.files import read_items

HEADER = "asin,countryCode,percACoS\n"


@pytest.fixture
def catalogue(tmp_path: Path) -> Path:
    """1,500 rows, of which the first is invalid."""
    rows = (f"B0{number:08d},US,{0.5 if number == 0 else 27.5}\n" for number in range(1_500))
    (tmp_path / "catalogue.csv").write_text(HEADER + "".join(rows))
    return tmp_path / "catalogue.csv"


@pytest.fixture
def environment(quartile_emulator: ThreadedEmulator, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    settings = {
        "QUARTILE_BASE_URL": quartile_emulator.url,
        "QUARTILE_SUBSCRIPTION_KEY": quartile_emulator.subscription_key,
        "QUARTILE_ACCESS_TOKEN": quartile_emulator.access_token,
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    return {**os.environ, **settings, "PYTHONWARNINGS": "error"}


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.usefixtures("environment")
def test_a_file_is_uploaded_and_its_results_are_written(
    catalogue: Path, tmp_path: Path, quartile_emulator: ThreadedEmulator
) -> None:
    summary = upload_file(catalogue, results=tmp_path / "results.csv", max_in_flight=4)

    assert isinstance(summary, Summary)
    assert (summary.items, summary.succeeded, summary.rejected) == (1_500, 1_499, 1)
    assert summary.batches == len(quartile_emulator.batches) == 15
    assert summary.seconds > 0
    rows = rows_of(tmp_path / "results.csv")
    assert sorted(int(row["index"]) for row in rows) == list(range(1_500))
    assert {row["asin"] for row in rows} == {f"B0{number:08d}" for number in range(1_500)}


@pytest.mark.usefixtures("environment")
def test_several_files_are_one_upload(catalogue: Path, tmp_path: Path, quartile_emulator: ThreadedEmulator) -> None:
    (tmp_path / "more.csv").write_text(f"{HEADER}B0MORE0001,DE,18\n")

    summary = upload_file([catalogue, str(tmp_path / "more.csv")], results=tmp_path / "results.csv")

    assert summary.items == 1_501
    assert quartile_emulator.applied["B0MORE0001", "DE"]["percACoS"] == 18
    assert {row["file"] for row in rows_of(tmp_path / "results.csv")} == {"catalogue.csv", "more.csv"}


@pytest.mark.usefixtures("environment")
@pytest.mark.parametrize("make", [list, pd.DataFrame, pl.DataFrame, iter])
def test_what_a_client_takes_is_taken_here_too(make: Any, tmp_path: Path) -> None:
    rows = [{"asin": f"B0{number:08d}", "countryCode": "US", "percACoS": 27.5} for number in range(120)]

    summary = upload_file(make(rows), results=tmp_path / "results.jsonl")

    assert (summary.items, summary.succeeded) == (120, 120)
    told = [json.loads(line) for line in (tmp_path / "results.jsonl").read_text().splitlines()]
    assert {each["outcome"] for each in told} == {"succeeded"}
    assert {(each.get("asin") or each["other_fields"]["asin"]) for each in told} == {row["asin"] for row in rows}


@pytest.mark.usefixtures("environment")
def test_a_file_that_was_opened_with_settings_of_ones_own_is_taken(tmp_path: Path) -> None:
    (tmp_path / "fractions.csv").write_text("Code;Land;Ziel\nB01N5IB20Q;US;0,275\n")
    named = {"Code": "asin", "Land": "countryCode", "Ziel": "percACoS"}

    summary = upload_file(
        read_items(tmp_path / "fractions.csv", resource=_masterlist(), named=named, decimal=",", percent_scale=100)
    )

    assert summary.succeeded == 1


def _masterlist() -> Any:
    from quartile_async import MASTERLIST

    return MASTERLIST


@pytest.mark.usefixtures("environment")
def test_another_resource_and_a_journal_and_a_retry(tmp_path: Path, quartile_emulator: ThreadedEmulator) -> None:
    (tmp_path / "asins.jsonl").write_text('{"asin": "B01N5IB20Q"}\n{"asin": "B07FZ8S74R"}\n')
    asked: list[ItemResult[Any]] = []

    for _ in range(2):
        summary = upload_file(
            tmp_path / "asins.jsonl", UNMANAGED_ASINS, journal=tmp_path / "a.journal", retry=asked.append
        )
        assert summary.succeeded == 2

    assert len(quartile_emulator.batches) == 1


@pytest.mark.quartile_emulator(fail=lambda item: "It is locked.")
@pytest.mark.usefixtures("environment")
def test_failed_items_are_sent_again(quartile_emulator: ThreadedEmulator) -> None:
    rows = [{"asin": "B01N5IB20Q", "countryCode": "US", "percACoS": 27.5}]

    (problem,) = upload_file(rows, retry=lambda result: True, max_item_tries=2).problems

    assert problem.tries == 2
    assert len(quartile_emulator.batches) == 2


@pytest.mark.usefixtures("environment")
def test_the_given_settings_win_over_the_environment(catalogue: Path, tmp_path: Path) -> None:
    with pytest.raises(AuthenticationError) as raised:
        upload_file(catalogue, results=tmp_path / "results.csv", auth="another.token.0")

    assert raised.value.unaccounted
    rows = rows_of(tmp_path / "results.csv")
    assert len(rows) >= len(raised.value.unaccounted)
    assert {row["outcome"] for row in rows} == {"unknown", "rejected"}


@pytest.mark.parametrize(
    ("arguments", "options", "error"),
    [
        (["no_such_file.csv"], {}, OSError),
        (["catalogue.csv"], {"max_in_flight": 0}, ConfigurationError),
        (["catalogue.csv"], {"max_item_tries": 0}, ConfigurationError),
        (["catalogue.csv"], {"results": "results.docx"}, ConfigurationError),
        (["catalogue.csv"], {"no_such_setting": 1}, TypeError),
        ([{"asin": "B0"}], {}, ConfigurationError),
        ([pd.DataFrame({"asin": ["B0"]})], {}, ConfigurationError),
    ],
)
@pytest.mark.usefixtures("environment", "catalogue")
def test_what_cannot_be_used_is_an_error_and_nothing_is_sent(
    arguments: list[Any],
    options: dict[str, Any],
    error: type[Exception],
    quartile_emulator: ThreadedEmulator,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error):
        upload_file(*arguments, **options)

    assert quartile_emulator.requests == []


@pytest.mark.usefixtures("environment")
async def test_where_a_loop_runs_it_has_one_of_its_own_and_leaves_nothing(
    catalogue: Path, blocking_calls_are_caught: BlockBuster
) -> None:
    blocking_calls_are_caught.deactivate()  # it makes the loop stand still, and says so
    before = set(threading.enumerate())

    summary = upload_file(catalogue)

    assert summary.succeeded == 1_499
    assert asyncio.get_running_loop().is_running()
    assert not [thread.name for thread in {*threading.enumerate()} - before if "quartile" in thread.name]


@pytest.mark.usefixtures("environment")
async def test_where_a_loop_runs_errors_are_themselves(catalogue: Path, blocking_calls_are_caught: BlockBuster) -> None:
    blocking_calls_are_caught.deactivate()
    with pytest.raises(AuthenticationError):
        upload_file(catalogue, auth="another.token.0")


@pytest.mark.usefixtures("environment")
def test_in_a_thread_of_ones_own(catalogue: Path) -> None:
    summaries: list[Summary] = []
    thread = threading.Thread(target=lambda: summaries.append(upload_file(catalogue)))
    thread.start()
    thread.join()

    assert summaries[0].succeeded == 1_499


SCRIPT = """
from quartile_async import upload_file
try:
    summary = upload_file("catalogue.csv", results="results.csv"{options})
    print(summary.items, summary.succeeded, summary.rejected)
except KeyboardInterrupt:
    print("interrupted")
"""


def test_a_plain_script(catalogue: Path, environment: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(options="")],
        cwd=catalogue.parent,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.stdout, done.stderr) == ("1500 1499 1\n", "")


BESIDE = """
import asyncio
async def main():
{body}
asyncio.run(main())
"""


# A shell has what it starts in the background ignore Ctrl-C, and so may whatever runs these tests.
AS_FROM_A_TERMINAL = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"


@pytest.mark.quartile_emulator(processing=60.0)
@pytest.mark.parametrize("where", ["in a script", "where a loop runs"])
def test_ctrl_c_ends_it_cleanly_and_the_file_says_what_became_of_each_item(
    where: str, catalogue: Path, environment: dict[str, str], quartile_emulator: ThreadedEmulator
) -> None:
    code = SCRIPT.format(options=", max_in_flight=2")
    if where == "where a loop runs":
        code = BESIDE.format(body="".join(f"    {line}\n" for line in code.splitlines()))
    process = subprocess.Popen(
        [sys.executable, "-c", AS_FROM_A_TERMINAL + code],
        cwd=catalogue.parent,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 20
    while len(quartile_emulator.batches) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=20)

    assert (output, errors) == ("interrupted\n", "")
    assert time.monotonic() - began < 5
    rows = rows_of(catalogue.parent / "results.csv")
    assert sorted(int(row["index"]) for row in rows) == list(range(len(rows)))
    assert {row["batch_id"] for row in rows} == {"", *(batch.id for batch in quartile_emulator.batches)}
    requests = len(quartile_emulator.requests)
    time.sleep(0.2)
    assert len(quartile_emulator.requests) == requests, "a request came after the end"


NOTEBOOK = """
import json, sys, nbclient, nbformat
cells = [nbformat.v4.new_code_cell(source) for source in json.load(sys.stdin)]
notebook = nbformat.v4.new_notebook(cells=cells)
nbclient.NotebookClient(notebook, timeout=60, kernel_name="python3").execute()
print(json.dumps([[output.get("text") or output.get("data", {}).get("text/plain") or str(dict(output))
                   for output in cell.outputs] for cell in notebook.cells]))
"""


def test_a_notebook_in_a_real_kernel(catalogue: Path, environment: dict[str, str]) -> None:
    cells = [
        "import asyncio, threading\nasyncio.get_running_loop().is_running()",
        "from quartile_async import upload_file\nsummary = upload_file('catalogue.csv', results='results.csv')",
        "print(summary.items, summary.succeeded)",
        "import pandas\nupload_file(pandas.read_csv('catalogue.csv')).rejected",
        "await asyncio.sleep(0)\nprint([t.name for t in threading.enumerate() if 'quartile' in t.name])",
    ]
    done = subprocess.run(
        [sys.executable, "-c", NOTEBOOK],
        input=json.dumps(cells),
        cwd=catalogue.parent,
        env={name: value for name, value in environment.items() if name != "PYTHONWARNINGS"},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [["True"], [], ["1500 1499\n"], ["1"], ["[]\n"]]
    assert len(rows_of(catalogue.parent / "results.csv")) == 1_500


@pytest.mark.parametrize("results", ["catalogue.csv", "./catalogue.csv", "link.csv"])
def test_the_input_is_never_written_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, results: str) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "catalogue.csv"
    path.write_text("asin,countryCode,percACoS\nB01N5IB20Q,US,27.5\n")
    (tmp_path / "other.csv").write_text(path.read_text())
    (tmp_path / "link.csv").symlink_to(path)
    settings = {"subscription_key": "key", "auth": "token", "base_url": "http://127.0.0.1:9"}

    for inputs in ("catalogue.csv", ["other.csv", "catalogue.csv"], read_items("catalogue.csv")):
        with pytest.raises(ConfigurationError, match="is the input itself"):
            upload_file(inputs, results=results, **settings)
    with pytest.raises(ConfigurationError, match="Name two files"):
        upload_file("other.csv", results="r.csv", journal="r.csv", **settings)
    assert path.read_text() == "asin,countryCode,percACoS\nB01N5IB20Q,US,27.5\n"


def test_an_upload_that_does_not_begin_leaves_earlier_results_as_they_are(tmp_path: Path) -> None:
    path, results, journal = tmp_path / "c.csv", tmp_path / "results.csv", tmp_path / "no.journal"
    path.write_text("asin,countryCode,percACoS\nB01N5IB20Q,US,27.5\n")
    results.write_text("earlier")
    journal.write_text("this is no journal")
    settings = {"subscription_key": "key", "auth": "token", "base_url": "http://127.0.0.1:9"}

    with pytest.raises(JournalError):
        upload_file(path, results=results, journal=journal, **settings)

    assert results.read_text() == "earlier"
