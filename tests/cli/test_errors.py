"""What a person can do wrong, and what goes wrong around them: a few lines, which say what to do."""

from __future__ import annotations

import socket
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from quartile_async.cli import app
from quartile_async.emulator import ThreadedEmulator

from .test_accounts import Home
from .test_commands import catalogue, run

NOWHERE = "http://127.0.0.1:1"
COMMANDS = sorted(get_command(app).commands)  # type: ignore[attr-defined]  # a group has them

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Case:
    """A mistake: what is typed, what the error says to do, and what was there before."""

    arguments: list[str]
    words: str
    code: int = 2
    stdin: str = ""
    profiles: str | bytes | None = None
    environment: dict[str, str] = field(default_factory=dict)
    before: Callable[[Home], Any] = lambda home: None


def no_credentials(home: Home) -> None:
    for name in ("QUARTILE_ACCESS_TOKEN", "QUARTILE_SUBSCRIPTION_KEY"):
        home.environment.pop(name, None)


def an_ended_login(home: Home) -> None:
    home.environment["QUARTILE_ACCESS_TOKEN"] = ""
    home.log_in()
    home.emulator.expire_token(home.tokens()["refresh_token"])
    home.expire()


def a_login_without_refresh_token(home: Home) -> None:
    an_ended_login(home)
    (store,) = home.stores()
    store.write_text(store.read_text().replace(home.tokens()["refresh_token"], "").replace('""', "null"))


def a_store_that_is_a_folder(home: Home) -> None:
    home.environment["QUARTILE_ACCESS_TOKEN"] = ""
    home.log_in()
    (store,) = home.stores()
    store.unlink()
    store.mkdir()


def a_file_for_a_folder(home: Home) -> None:
    (home.path / "data").write_text("")


def text(name: str, content: str | bytes) -> Callable[[Home], Any]:
    content = content.encode() if isinstance(content, str) else content
    return lambda home: (home.path / name).write_bytes(content)


def a_journal(home: Home) -> Path:
    done = home.run("upload", "c.csv")
    assert done.returncode == 0, done.stderr
    return home.path / "c.csv.journal"


def a_journal_in_use(home: Home) -> sqlite3.Connection:
    connection = sqlite3.connect(a_journal(home), isolation_level=None)
    connection.execute("BEGIN EXCLUSIVE")
    return connection


def a_damaged_journal(home: Home) -> None:
    journal = a_journal(home)
    journal.write_bytes(journal.read_bytes()[:64] + b"\xff" * 4000)


HELP = "-h' for help"
UPLOAD = ["upload", "c.csv"]
TO_ONE = ["check", "--profile", "one"]
LOGIN = ["login", "--username", "me", "--password-stdin"]
REFUSED = {"QUARTILE_ACCESS_TOKEN": "not.valid"}
WRONG_KEY = {"QUARTILE_SUBSCRIPTION_KEY": "0" * 32}

CASES = {
    "no such command": Case(["uplaod", "c.csv"], "upload"),
    "no such option": Case([*UPLOAD, "--nope"], HELP),
    "no file named": Case(["upload"], HELP),
    "a value too many": Case(["batch", "a", "b"], HELP),
    "no such file": Case(["upload", "missing.csv"], "Check the path"),
    "a folder": Case(["upload", "."], "Name a file"),
    "an empty file": Case(["upload", "e.csv"], "must name the columns", before=text("e.csv", "")),
    "no column of that name": Case(["upload", "e.csv"], "--map", before=text("e.csv", "asin,x,y\nB01,US,2\n")),
    "a map that is none": Case([*UPLOAD, "--map", "nonsense"], "COLUMN=FIELD"),
    "no such resource": Case([*UPLOAD, "--resource", "x"], "masterlist"),
    "none in flight": Case([*UPLOAD, "--max-in-flight", "0"], "--max-in-flight"),
    "results over the input": Case([*UPLOAD, "--results", "c.csv"], "Name another file"),
    "results in no folder": Case([*UPLOAD, "--results", "no/r.csv"], "Check the path"),
    "options that exclude each other": Case([*UPLOAD, "--no-journal", "--again"], "--no-journal goes with none"),
    "no Redis": Case([*UPLOAD, "--dask", "local"], "Give its address by --redis"),
    "a Redis that is not there": Case([*UPLOAD, "--dask", "local", "--redis", "redis://127.0.0.1:1"], "that it runs"),
    "workers of nothing": Case([*UPLOAD, "--workers", "2"], "--workers goes only with --dask"),
    "another's account": Case([*UPLOAD, "--profile", "one", "--account", "x"], "Leave out one", profiles="[one]\n"),
    "no credentials": Case(UPLOAD, "Run: quartile-async login", before=no_credentials),
    "no credentials to check": Case(["check"], "Set QUARTILE_SUBSCRIPTION_KEY and", before=no_credentials),
    "no credentials for a profile": Case(TO_ONE, "login --profile one", profiles="[one]\n"),
    "no key": Case(["check"], "set QUARTILE_SUBSCRIPTION_KEY", environment={"QUARTILE_SUBSCRIPTION_KEY": ""}),
    "no key for a login": Case(LOGIN, "set QUARTILE_SUBSCRIPTION_KEY", stdin="x\n", before=no_credentials),
    "no URL": Case(["check", "--base-url", "x"], "Give one such as"),
    "no encryption": Case([*UPLOAD, "--base-url", "http://example.com"], "Use https://"),
    "a token with a blank": Case(["check"], "Check how it was copied", environment={"QUARTILE_ACCESS_TOKEN": "a b"}),
    "a refused token": Case(["check"], "get a new one", 3, environment=REFUSED),
    "an upload with a refused token": Case(UPLOAD, "get a new one", 3, environment=REFUSED),
    "a wrong key": Case(["check"], "Check the subscription key", 3, environment=WRONG_KEY),
    "an upload with a wrong key": Case(UPLOAD, "Check the subscription key", 3, environment=WRONG_KEY),
    "a login with a wrong key": Case(LOGIN, "subscription key", 3, "x\n", environment=WRONG_KEY),
    "nobody answers": Case(["check", "--base-url", NOWHERE], "Check base_url and the network", 3),
    "nobody answers a login": Case([*LOGIN, "--base-url", NOWHERE], "Check base_url and the network", 3, "x\n"),
    "nobody answers about a batch": Case(["batch", "abc", "--base-url", NOWHERE], "Check base_url", 3),
    "a refused login": Case(LOGIN, "Check the user name and the password", 3, "x\n"),
    "no terminal": Case(["login", "--username", "me"], "--password-stdin"),
    "no terminal for the user name": Case(["login", "--password-stdin"], "Give --username", stdin="x\n"),
    "no password": Case(LOGIN, "Give it as its first line"),
    "a password option": Case([*LOGIN, "--password", "x"], HELP),
    "no folder for the tokens": Case(LOGIN, "Check the path", stdin="x\n", before=a_file_for_a_folder),
    "another user than the profile's": Case(
        [*LOGIN, "--profile", "one"], "Leave it out", profiles="[one]\nusername = 'you'\n"
    ),
    "an ended login": Case(["check"], "Run: quartile-async login", 3, before=an_ended_login),
    "an upload with an ended login": Case(UPLOAD, "Run: quartile-async login", 3, before=an_ended_login),
    "a login that cannot go on": Case(["check"], "Run: quartile-async login", before=a_login_without_refresh_token),
    "a store that cannot be read": Case(["check"], "Mend that", before=a_store_that_is_a_folder),
    "no profiles": Case(TO_ONE, "make "),
    "no such profile": Case(TO_ONE, "Name one that is there: 'three', 'two'", profiles="[two]\n[three]\n"),
    "no such profile to log in to": Case([*LOGIN, "--profile", "one"], "Name one that is there", profiles="[two]\n"),
    "no such profile to log out from": Case(["logout", "--profile", "one"], "Name one", profiles="[two]\n"),
    "broken TOML": Case(
        TO_ONE, "Mend it: Expected '=' after a key in a key/value pair (at line 2", profiles="[one]\nx\n"
    ),
    "no UTF-8": Case(TO_ONE, "line 2: this is no UTF-8. Save the file as UTF-8", profiles=b"[one]\n# \xff\n"),
    "no table": Case(TO_ONE, "Write it as [one]", profiles="one = 1\n"),
    "a password in a profile": Case(TO_ONE, "Remove it, and run: ", profiles="[one]\npassword = 'hunter-2'\n"),
    "a token in a profile": Case(TO_ONE, "Remove it, and run: ", profiles="[one]\naccess_token = 'hunter-2'\n"),
    "an unknown setting": Case(TO_ONE, "the settings are subscription_key", profiles="[one]\nurl = 'hunter-2'\n"),
    "wrong types": Case(
        TO_ONE,
        "Mend that",
        profiles="[one]\nsubscription_key = 2\nmax_in_flight = 'hunter-2'\nbatch_paths = 'hunter-2'\n",
    ),
    "many wrong settings": Case(
        TO_ONE, "Mend that", profiles="[one]\n" + "".join(f"setting_{number} = 1\n" for number in range(30))
    ),
    "a profile without a URL": Case(TO_ONE, "Give one such as", profiles="[one]\nbase_url = 'x'\n"),
    "a bad batch id": Case(["batch", "../login"], "plain token"),
    "an unknown batch": Case(["batch", "0" * 24], "Check the id", 3),
    "no batch id": Case(["batch"], HELP),
    "a journal in use": Case(UPLOAD, "--journal PATH", before=a_journal_in_use),
    "a look at a journal in use": Case(["journal", "c.csv.journal"], "in use", before=a_journal_in_use),
    "a damaged journal": Case(UPLOAD, "--restart", before=a_damaged_journal),
    "a look at a damaged journal": Case(["journal", "c.csv.journal"], "damaged", before=a_damaged_journal),
    "no journal": Case(["journal", "missing.journal"], "name another"),
    "a port that is none": Case(["emulator", "--port", "70000"], "--port"),
    "a share that is none": Case(["emulator", "--fail-share", "2"], "--fail-share"),
    "no items": Case(["demo", "--items", "0"], "--items"),
}


@pytest.fixture
def home(tmp_path: Path, quartile_emulator: ThreadedEmulator) -> Home:
    catalogue(tmp_path / "c.csv", 3)
    found = Home(tmp_path, quartile_emulator)
    found.environment |= {"QUARTILE_ACCESS_TOKEN": quartile_emulator.access_token, "COLUMNS": "80"}
    return found


@pytest.mark.parametrize("name", CASES)
def test_an_error_is_a_few_lines_that_say_what_to_do(home: Home, name: str) -> None:
    case = CASES[name]
    if case.profiles is not None:
        home.write_profiles("")
        home.profiles.write_bytes(case.profiles.encode() if isinstance(case.profiles, str) else case.profiles)
    kept = case.before(home)

    done = home.run(*case.arguments, stdin=case.stdin, **case.environment)

    assert done.returncode == case.code, done.stderr
    assert done.stdout == ""
    assert 1 <= len(done.stderr.splitlines()) <= 12, done.stderr
    assert "Traceback" not in done.stderr
    assert " ".join(case.words.split()) in " ".join(done.stderr.split()), done.stderr
    for secret in ("hunter-2", home.emulator.access_token, home.emulator.subscription_key):
        assert secret not in done.stderr
    if isinstance(kept, sqlite3.Connection):
        kept.close()


def test_a_port_that_is_taken_is_an_error_too(home: Home) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()

        done = home.run("emulator", "--port", str(taken.getsockname()[1]))

    assert (done.returncode, done.stdout) == (2, "")
    assert 1 <= len(done.stderr.splitlines()) <= 12


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_each_command_has_an_example_and_fits_a_narrow_terminal(command: str) -> None:
    done = run(command, "--help", COLUMNS="80")

    assert done.returncode == 0
    assert f"Example: quartile-async {command}" in done.stdout
    assert "--debug" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80
