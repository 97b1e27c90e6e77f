"""What the package shows to the outside."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import quartile_async

ROOT = Path(__file__).parents[1]

PUBLIC = {
    "APIError",
    "AuthenticationError",
    "BatchStatus",
    "ClientClosedError",
    "ConfigurationError",
    "ItemResult",
    "JournalError",
    "MASTERLIST",
    "MasterlistItem",
    "Outcome",
    "PermissionDeniedError",
    "Progress",
    "ProtocolError",
    "QuartileClient",
    "QuartileError",
    "QuotaExceededError",
    "RateLimitError",
    "Resource",
    "ServerError",
    "Summary",
    "Account",
    "FileTokenStore",
    "Journal",
    "LoginAuth",
    "RefreshAuth",
    "StoredTokens",
    "TokenStore",
    "SharedQuotaError",
    "TransportError",
    "UNMANAGED_ASINS",
    "UNMANAGED_CAMPAIGNS",
    "Upload",
    "upload_file",
}
EVENTS = {
    "BatchFinished",
    "BatchPolled",
    "BatchSubmitted",
    "Event",
    "OutageBegan",
    "OutageEnded",
    "RequestRetried",
    "Throttled",
    "TokenRefreshed",
}


def test_the_public_names_are_those_of_the_manual() -> None:
    assert set(quartile_async.__all__) == PUBLIC
    for name in PUBLIC:
        value = getattr(quartile_async, name)
        if isinstance(value, type):
            assert value.__module__ == "quartile_async"


def test_the_events_are_those_of_the_manual_and_their_module_imports_nothing_of_note() -> None:
    from quartile_async import events

    manual = (ROOT / "README.md").read_text().split("\n## Events\n")[1].split("\n## ")[0]
    assert set(events.__all__) == EVENTS
    assert set(re.findall(r"^\| `(\w+)` \|", manual, re.MULTILINE)) == EVENTS - {"Event"}
    assert imports_of(Path(events.__file__)) == {"__future__", "dataclasses", "typing"}


@pytest.mark.parametrize(
    ("child", "parent"),
    [
        ("ConfigurationError", "QuartileError"),
        ("TransportError", "QuartileError"),
        ("ProtocolError", "QuartileError"),
        ("ClientClosedError", "QuartileError"),
        ("JournalError", "QuartileError"),
        ("SharedQuotaError", "QuartileError"),
        ("APIError", "QuartileError"),
        ("AuthenticationError", "APIError"),
        ("PermissionDeniedError", "APIError"),
        ("QuotaExceededError", "APIError"),
        ("RateLimitError", "APIError"),
        ("ServerError", "APIError"),
    ],
)
def test_the_error_tree_is_the_one_that_is_drawn(child: str, parent: str) -> None:
    assert issubclass(getattr(quartile_async, child), getattr(quartile_async, parent))
    assert issubclass(quartile_async.QuartileError, Exception)


def test_importing_the_package_imports_no_extra_and_no_emulator() -> None:
    code = (
        "import sys, quartile_async;"
        "extras = {'typer', 'rich', 'duckdb', 'redis', 'pytest', 'opentelemetry'};"
        "unwanted = (extras | {'quartile_async.emulator'}) & {*sys.modules};"
        "sys.exit(f'imported: {unwanted}' if unwanted else 0)"
    )

    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_importing_the_package_loads_neither_what_few_need_nor_a_model() -> None:
    code = (
        "import sys, quartile_async;"
        "unwanted = {'sqlite3', 'filelock', 'backoff', 'pydantic.main', 'quartile_async._masterlist'}&{*sys.modules};"
        "assert not unwanted, unwanted;"
        "import pickle; item = quartile_async.MasterlistItem(asin='B01N5IB20Q', countryCode='US', percACoS=25);"
        "assert pickle.loads(pickle.dumps(item)) == item;"
        "assert b'_masterlist' not in pickle.dumps(item);"
        "assert not hasattr(quartile_async, 'Masterlist');"
        "assert set(quartile_async.__all__) <= set(dir(quartile_async))"
    )

    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_the_changelog_has_the_version() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text()

    assert re.search(r"^## \[Unreleased\]", changelog, re.MULTILINE)
    assert re.search(rf"^## \[{re.escape(quartile_async.__version__)}\]|^## \[Unreleased\]", changelog, re.MULTILINE)


def imports_of(file: Path) -> set[str]:
    return set(re.findall(r"^\s*(?:from|import) ([\w.]+)", file.read_text(), re.MULTILINE))


@pytest.mark.parametrize(
    ("library", "files"),
    [
        ("aiohttp", {"_http.py"}),
        ("backoff", {"_retrying.py"}),
        ("duckdb", {"files.py"}),
        ("redis", {"_shared/connection.py"}),
        ("sqlite3", {"_journal_sqlite.py"}),
        (
            "opentelemetry",
            {"opentelemetry.py"}
            | {
                f"_telemetry/{room}.py" for room in ("attributes", "batches", "metrics", "requests", "spans", "uploads")
            },
        ),
    ],
)
def test_one_file_each_opens_aiohttp_backoff_duckdb_and_sqlite(library: str, files: set[str]) -> None:
    package = ROOT / "quartile_async"
    found = {
        str(file.relative_to(package))
        for file in package.rglob("*.py")
        if library in {name.split(".")[0] for name in imports_of(file)} and "emulator" not in file.parts
    }

    assert found == files


def test_the_emulator_shares_no_code_with_the_client() -> None:
    for file in (ROOT / "quartile_async" / "emulator").rglob("*.py"):
        assert not {name for name in imports_of(file) if name.startswith("quartile_async")} - {
            "quartile_async.emulator"
        }
        assert "from .._" not in file.read_text()
        assert "from .. " not in file.read_text()


FLOORS = [
    {
        "_errors",
        "_results",
        "_resources",
        "_source",
        "_journal_path",
        "_durations",
        "_allowance",
        "_linger",
        "_json",
        "_wires",
        "_turns",
        "_clock",
    },
    {
        "_masterlist",
        "_numbers",
        "_frames",
        "_journal",
        "_keys",
        "_answers",
        "_delivery",
        "_pacing",
        "_quota",
        "_polling",
        "_outage",
        "_hook",
        "_traces",
        "_tracing",
    },
    {
        "_digests",
        "_gathering",
        "_journal_rows",
        "_validation",
        "_chunking",
        "_ordering",
        "_retrying",
        "_tokens",
        "_http",
    },
    {
        "_journal_sqlite",
        "_room",
        "_recording",
        "_replay",
        "_matching",
        "_token_store",
        "_traffic",
        "_again",
        "_unfinished",
    },
    {"_credentials", "_journal_thread"},
    {"_auth"},
    {"_transport"},
    {"_api"},
    {"_waiting"},
    {"_batch"},
    {"_intake"},
    {"_outbox"},
    {"_supervisor"},
    {"_upload"},
    {"_account", "_blocks"},
    {"_client"},
    {"_upload_file"},
]


TABLE_FLOORS = [
    {"rows", "formats", "headers"},
    {"places", "opening", "values", "results", "number_formats", "outputs"},
    {"csv_rows", "json_rows", "excel_rows", "retry", "sources"},
]


DASK_FLOORS = [
    {"chains", "channel", "forms", "results", "tasks", "terminal", "travel"},
    {"blocks", "ends", "inputs", "job", "keeper", "parts", "seen"},
    {"environment", "plan", "ranges", "survey", "task"},
    {"cluster", "kept", "planning"},
    {"removal", "upload"},
    {"planner"},
]


TELEMETRY_FLOORS = [
    {"attributes", "guard", "late", "metrics", "spans"},
    {"requests"},
    {"batches"},
    {"uploads", "waits"},
]


SHARED_FLOORS = [
    {"scripts", "rate", "work"},
    {"connection", "journal_durability"},
    {"terms", "journal_records", "journal_words"},
    {"grants", "leases", "tokens", "journal_hold"},
    {"share", "journal_session"},
    {"quota", "journal"},
]


@pytest.mark.parametrize(
    ("annex", "floors", "of_the_house"),
    [
        ("_tables", TABLE_FLOORS, {"_errors", "_results"}),
        (
            "_dask",
            DASK_FLOORS,
            {
                *("_client", "_credentials", "_errors", "_frames", "_keys", "_resources", "_results", "_token_store"),
                *("_upload", "_validation", "files"),
            },
        ),
        ("_telemetry", TELEMETRY_FLOORS, {"_api", "_errors", "_results", "_traces"}),
        (
            "_shared",
            SHARED_FLOORS,
            {"_clock", "_errors", "_gathering", "_journal", "_journal_rows", "_numbers", "_token_store", "_tokens"},
        ),
    ],
)
def test_every_room_of_an_annex_imports_only_downwards_and_little_of_the_house(
    annex: str, floors: list[set[str]], of_the_house: set[str]
) -> None:
    floor_of = {room: floor for floor, rooms in enumerate(floors) for room in rooms}
    folder = ROOT / "quartile_async" / annex
    assert {file.stem for file in folder.glob("*.py")} - {"__init__"} == set(floor_of)
    for room, floor in floor_of.items():
        text = (folder / f"{room}.py").read_text()
        for imported in re.findall(r"^from \.(\w+) import", text, re.MULTILINE):
            assert floor_of[imported] < floor, f"{room} imports {imported}"
        assert set(re.findall(r"^from \.\.(\w+) import", text, re.MULTILINE)) <= of_the_house


def test_every_room_of_the_house_imports_only_downwards() -> None:
    floor_of = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
    package = ROOT / "quartile_async"
    assert {file.stem for file in package.glob("_*.py")} - {"__init__", "__main__"} == set(floor_of)
    for room, floor in floor_of.items():
        text = (package / f"{room}.py").read_text()
        for imported in re.findall(r"^from \.(_\w+) import", text, re.MULTILINE):
            assert floor_of[imported] < floor or {imported, room} <= {"_errors", "_results", "_resources"}, (
                f"{room} imports {imported}"
            )
