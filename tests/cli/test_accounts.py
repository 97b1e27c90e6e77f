"""`login`, `logout` and `--profile`: whose data it is, and where tokens are kept."""

from __future__ import annotations

import json
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pexpect
import pytest

from quartile_async.cli._accounts import account_for
from quartile_async.emulator import Fault, ThreadedEmulator

from .test_commands import COMMAND, catalogue, environment

OTHER, OTHER_PASSWORD = "other@example.com", "Other-Pass-Word-7"


@pytest.fixture
def emulator(quartile_emulator: ThreadedEmulator) -> Iterator[ThreadedEmulator]:
    quartile_emulator.add_user(OTHER, OTHER_PASSWORD)
    yield quartile_emulator
    assert quartile_emulator.violations == []


class Home:
    """A user's folder, and the command line within it; no credentials are in the environment."""

    def __init__(self, path: Path, emulator: ThreadedEmulator) -> None:
        self.path = path
        self.emulator = emulator
        self.profiles = path / "config" / "quartile-async" / "profiles.toml"
        self.environment = environment(emulator, QUARTILE_ACCESS_TOKEN="") | {
            "HOME": str(path),
            "XDG_DATA_HOME": str(path / "data"),
            "XDG_CONFIG_HOME": str(path / "config"),
        }

    def run(self, *arguments: str | Path, stdin: str = "", **changes: str) -> Any:
        return subprocess.run(
            [*COMMAND, *map(str, arguments)],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            cwd=self.path,
            env=self.environment | changes,
            check=False,
        )

    def log_in(self, *arguments: str, username: str = "", password: str = "") -> Any:
        username = username or self.emulator.username
        password = password or self.emulator.password
        return self.run("login", "--username", username, "--password-stdin", *arguments, stdin=f"{password}\n")

    def write_profiles(self, text: str, mode: int = 0o600) -> None:
        self.profiles.parent.mkdir(parents=True, exist_ok=True)
        self.profiles.write_text(text)
        self.profiles.chmod(mode)

    def stores(self) -> list[Path]:
        return sorted(self.path.rglob("tokens/*.json"))

    def tokens(self) -> dict[str, Any]:
        (store,) = self.stores()
        found: dict[str, Any] = json.loads(store.read_bytes())["tokens"]
        return found

    def expire(self) -> None:
        """Has the access token in the store be replaced by the next run."""
        (store,) = self.stores()
        content = json.loads(store.read_bytes())
        content["tokens"]["expires_at"] = 1.0
        store.write_text(json.dumps(content))


@pytest.fixture
def home(tmp_path: Path, emulator: ThreadedEmulator) -> Home:
    return Home(tmp_path, emulator)


def kinds(emulator: ThreadedEmulator) -> list[str]:
    return [request.kind for request in emulator.requests]


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# A process with threads is forked, of which later Pythons warn; the child does nothing but start another program.
FORKS = pytest.mark.filterwarnings("ignore:.*use of forkpty:DeprecationWarning")


@FORKS
def test_the_password_is_asked_for_without_echo_and_stands_in_no_output_and_no_file(home: Home) -> None:
    child = pexpect.spawn(
        sys.executable, ["-m", "quartile_async", "login"], env=home.environment, encoding="utf-8", timeout=30
    )
    child.expect("User name: ")
    child.sendline(home.emulator.username)
    child.expect(f"Password for {home.emulator.username}: ")
    child.sendline(home.emulator.password)
    child.expect(pexpect.EOF)
    child.close()

    assert child.exitstatus == 0
    assert home.emulator.password not in (child.before or "")
    assert "Logged in as" in (child.before or "")
    for file in home.path.rglob("*"):
        assert not file.is_file() or home.emulator.password not in file.read_text()


@FORKS
def test_ctrl_c_at_the_password_exits_130_and_nothing_is_sent(home: Home) -> None:
    child = pexpect.spawn(
        sys.executable,
        ["-m", "quartile_async", "login", "--username", "someone"],
        env=home.environment,
        encoding="utf-8",
        timeout=30,
        # As in a terminal; whoever runs tests in the background has it ignored, and so would the child.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    child.expect("Password for someone: ")
    child.sendintr()
    child.expect(pexpect.EOF)
    child.close()

    assert child.exitstatus == 130
    assert "Traceback" not in (child.before or "")
    assert not home.emulator.requests


def test_tokens_are_kept_in_files_and_folders_that_only_their_owner_can_read(home: Home) -> None:
    done = home.log_in()

    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    (store,) = home.stores()
    assert store.parent == home.path / "data" / "quartile-async" / "tokens"
    assert str(store) in done.stderr
    assert [mode(each) for each in (store, store.parent, store.parent.parent)] == [0o600, 0o700, 0o700]
    assert all(mode(file) == 0o600 for file in store.parent.iterdir())
    assert home.tokens()["server"] == home.emulator.url
    for secret in (home.emulator.password, home.tokens()["access_token"], home.tokens()["refresh_token"]):
        assert secret not in done.stderr


def test_upload_check_and_batch_use_the_stored_login_and_log_in_no_more(home: Home) -> None:
    home.log_in()

    checked = home.run("check")
    uploaded = home.run("upload", catalogue(home.path / "c.csv", 3))
    asked = home.run("batch", home.emulator.batches[0].id, "--wait")

    assert [done.returncode for done in (checked, uploaded, asked)] == [0, 0, 0], uploaded.stderr
    assert home.emulator.logins == {home.emulator.username: 1}
    assert not home.emulator.refreshes


@pytest.mark.slow
def test_the_stored_refresh_token_is_replaced_by_each_run_that_uses_it(home: Home) -> None:
    home.log_in()
    seen = [home.tokens()]

    for _ in range(3):
        home.expire()
        done = home.run("check")
        assert done.returncode == 0, done.stderr
        seen.append(home.tokens())

    assert len({tokens["refresh_token"] for tokens in seen}) == 4
    assert len({tokens["user"] for tokens in seen}) == 1, "whose they are is not forgotten"
    assert home.emulator.refreshes == {home.emulator.username: 3}
    assert home.emulator.logins == {home.emulator.username: 1}


@pytest.mark.slow
def test_a_login_that_is_refused_leaves_the_old_tokens(home: Home) -> None:
    home.log_in()
    before = home.tokens()

    done = home.log_in(password="wrong-pass-word")

    assert done.returncode == 3
    assert "Check the user name and the password" in done.stderr
    assert "wrong-pass-word" not in done.stderr
    assert home.tokens() == before
    assert home.run("check").returncode == 0


def test_a_login_replaces_the_tokens_of_whoever_was_logged_in_before(home: Home) -> None:
    home.log_in()
    before = home.tokens()

    assert home.log_in(username=OTHER, password=OTHER_PASSWORD).returncode == 0

    assert home.tokens()["user"] != before["user"]
    assert home.emulator.logins == {home.emulator.username: 1, OTHER: 1}


@pytest.mark.parametrize("command", [["check"], ["upload", "c.csv"]])
def test_where_the_refresh_token_has_ended_one_is_told_to_log_in_again(home: Home, command: list[str]) -> None:
    catalogue(home.path / "c.csv", 3)
    home.log_in()
    home.emulator.expire_token(home.tokens()["refresh_token"])
    home.expire()

    done = home.run(*command)

    assert done.returncode == 3
    assert "Run: quartile-async login" in done.stderr
    assert "refresh_token" not in done.stderr


@pytest.mark.slow
def test_credentials_of_the_environment_come_before_the_stored_login(home: Home) -> None:
    home.log_in(username=OTHER, password=OTHER_PASSWORD)
    login = {"QUARTILE_USERNAME": home.emulator.username, "QUARTILE_PASSWORD": home.emulator.password}

    home.expire()
    assert home.run("check", **login).returncode == 0
    assert home.emulator.logins == {OTHER: 1, home.emulator.username: 1}
    assert home.run("check", QUARTILE_ACCESS_TOKEN=home.emulator.access_token, **login).returncode == 0
    assert home.emulator.logins == {OTHER: 1, home.emulator.username: 1}
    assert not home.emulator.refreshes, "the stored login was left alone"


def test_a_user_name_without_password_in_the_environment_does_not_get_anothers_login(home: Home) -> None:
    home.log_in()

    same = home.run("check", QUARTILE_USERNAME=home.emulator.username)
    other = home.run("check", QUARTILE_USERNAME=OTHER)

    assert same.returncode == 0, same.stderr
    assert other.returncode == 2
    assert "another user's" in other.stderr


@pytest.mark.slow
def test_tokens_of_one_server_are_sent_to_no_other(home: Home) -> None:
    home.log_in()
    with ThreadedEmulator() as elsewhere:
        done = home.run("check", "--base-url", elsewhere.url)

        assert done.returncode == 2
        assert f"login --base-url {elsewhere.url}" in done.stderr
        assert not elsewhere.requests
        keys = {"QUARTILE_SUBSCRIPTION_KEY": elsewhere.subscription_key, "QUARTILE_BASE_URL": elsewhere.url}
        login = ["login", "--username", elsewhere.username, "--password-stdin"]
        assert home.run(*login, stdin=f"{elsewhere.password}\n", **keys).returncode == 0
    assert home.run("check", "--base-url", f"{home.emulator.url}/").returncode == 0


@pytest.mark.slow
def test_logout_removes_the_tokens_of_this_account_and_no_other(home: Home) -> None:
    home.write_profiles("[acme]\n")
    home.log_in()
    home.log_in("--profile", "acme")
    assert len(home.stores()) == 2

    done, again = home.run("logout"), home.run("logout")

    assert (done.returncode, again.returncode) == (0, 0)
    assert "Logged out" in done.stderr
    assert "no stored login" in again.stderr
    assert home.run("check").returncode == 2
    assert home.run("check", "--profile", "acme").returncode == 0


def two_profiles(home: Home) -> None:
    key = home.emulator.subscription_key
    home.write_profiles(
        f"[one]\nsubscription_key = {key!r}\nbase_url = {home.emulator.url!r}\nusername = {home.emulator.username!r}\n"
        f"['Other GmbH / DE']\nsubscription_key = {key!r}\nbase_url = {home.emulator.url!r}\nusername = {OTHER!r}\n"
        "batch_paths = 'table'\nmax_in_flight = 1\n"
    )
    del home.environment["QUARTILE_BASE_URL"], home.environment["QUARTILE_SUBSCRIPTION_KEY"]


@pytest.mark.slow
@pytest.mark.quartile_emulator(processing=0.0)
def test_two_profiles_keep_their_logins_journals_and_settings_apart(home: Home) -> None:
    two_profiles(home)
    path = catalogue(home.path / "c.csv", 3)
    logins = [
        home.run("login", "--password-stdin", "--profile", name, stdin=f"{password}\n")
        for name, password in (("one", home.emulator.password), ("Other GmbH / DE", OTHER_PASSWORD))
    ]
    assert [done.returncode for done in logins] == [0, 0], logins
    assert home.emulator.logins == {home.emulator.username: 1, OTHER: 1}

    first = home.run("upload", path, "--profile", "one")
    second = home.run("upload", path, QUARTILE_PROFILE="Other GmbH / DE")

    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    assert len(home.stores()) == 2
    assert {file.name for file in home.path.glob("*.journal")} == {"c.csv.one.journal", "c.csv.Other_GmbH___DE.journal"}
    submits = [request for request in home.emulator.requests if request.kind == "submit"]
    assert [request.path.endswith("/batch") for request in submits] == [False, True]


def test_what_is_typed_comes_before_the_profile_and_the_profile_before_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    profiles = tmp_path / "profiles.toml"
    profiles.write_text("[a]\nbase_url = 'https://profile.example'\nmax_in_flight = 3\n")
    monkeypatch.setenv("QUARTILE_PROFILES", str(profiles))
    options = {"base_url": "https://given.example", "max_in_flight": 16, "account": None}

    typed = account_for("a", options, frozenset({"base_url"}), warn=pytest.fail)
    from_environment = account_for("a", options, frozenset(), warn=pytest.fail)

    assert (typed.server, from_environment.server) == ("https://given.example", "https://profile.example")
    assert typed.settings == {"base_url": "https://given.example", "max_in_flight": 3, "account": "a"}


def test_a_profile_without_login_does_not_take_the_access_token_of_the_environment(home: Home) -> None:
    two_profiles(home)

    done = home.run("upload", catalogue(home.path / "c.csv", 3), "--profile", "one", QUARTILE_ACCESS_TOKEN="a.b.c")

    assert done.returncode == 2
    assert "QUARTILE_ACCESS_TOKEN" in done.stderr
    assert "Run: quartile-async login --profile one" in done.stderr
    assert not home.emulator.requests


def test_a_password_counts_for_a_profile_only_beside_its_own_user_name_or_none(home: Home) -> None:
    two_profiles(home)
    secret = {"QUARTILE_PASSWORD": home.emulator.password}

    alone = home.run("check", "--profile", "one", **secret)
    beside_its_own = home.run("check", "--profile", "one", QUARTILE_USERNAME=home.emulator.username, **secret)
    beside_another = home.run("check", "--profile", "one", QUARTILE_USERNAME=OTHER, **secret)

    assert [done.returncode for done in (alone, beside_its_own, beside_another)] == [0, 0, 2]
    assert home.emulator.logins == {home.emulator.username: 2}
    assert "QUARTILE_USERNAME may name no other" in beside_another.stderr


def test_a_profile_is_not_logged_in_as_the_user_of_the_environment(home: Home) -> None:
    home.write_profiles("[acme]\n")

    done = home.run(
        "login",
        "--profile",
        "acme",
        "--password-stdin",
        stdin="secret-word\n",
        QUARTILE_USERNAME=home.emulator.username,
    )

    assert done.returncode == 2
    assert "Give --username" in done.stderr
    assert not home.emulator.requests


def test_a_login_of_another_user_than_the_profiles_is_not_used(home: Home) -> None:
    home.write_profiles("[acme]\n")
    home.log_in("--profile", "acme")
    home.write_profiles(f"[acme]\nusername = {OTHER!r}\n")

    done = home.run("check", "--profile", "acme")

    assert done.returncode == 2
    assert "another user's" in done.stderr
    assert "Run: quartile-async login --profile acme" in done.stderr


def test_a_subscription_key_that_others_can_read_is_warned_of_and_never_shown(home: Home) -> None:
    two_profiles(home)
    home.profiles.chmod(0o644)

    done = home.run("check", "--profile", "one", "--debug", QUARTILE_PASSWORD=home.emulator.password)

    assert done.returncode == 0, done.stderr
    assert f"Run: chmod 600 {home.profiles}" in done.stderr
    assert home.emulator.subscription_key not in done.stderr


def test_dry_run_takes_a_profile_and_needs_no_login(home: Home) -> None:
    home.write_profiles("[acme]\n")

    done = home.run("upload", catalogue(home.path / "c.csv", 3), "--dry-run", "--profile", "acme")

    assert done.returncode == 0, done.stderr


def test_names_of_profiles_never_lead_out_of_the_folder_and_never_meet(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    names = ["../x", "..", "/etc/x", "a/b", "a_b", "A_B", "", "default", "ä", "x" * 300, "a\nb", "a\x00b"]
    profiles = tmp_path / "profiles.toml"
    profiles.write_text("".join(f"[{json.dumps(name)}]\n" for name in names))
    monkeypatch.setenv("QUARTILE_PROFILES", str(profiles))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))

    stores = [account_for(name, {}, frozenset(), warn=pytest.fail).store for name in [None, *names]]

    assert len({str(store).lower() for store in stores}) == len(names) + 1
    assert len({store.parent for store in stores}) == 1
    assert all(len(store.name) < 100 and store.name.isascii() for store in stores)


def completed(home: Home, line: str, shell: str = "bash", **changes: str) -> Any:
    words = line.split(" ")
    asked = {
        "bash": {"COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)},
        "zsh": {"_TYPER_COMPLETE_ARGS": line},
        "fish": {"_TYPER_COMPLETE_ARGS": line, "_TYPER_COMPLETE_FISH_ACTION": "get-args"},
    }
    return subprocess.run(
        [str(Path(sys.executable).parent / "quartile-async")],
        capture_output=True,
        text=True,
        timeout=60,
        env=home.environment | {"_QUARTILE_ASYNC_COMPLETE": f"complete_{shell}"} | asked[shell] | changes,
        check=False,
    )


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("quartile-async log", {"login", "logout"}),
        ("quartile-async upload --res", {"--resource", "--results", "--restart"}),
        ("quartile-async upload --batch-paths ", {"example", "table"}),
        ("quartile-async upload x.csv --profile ", {"one", "Other GmbH / DE"}),
        ("quartile-async login --profile o", {"one"}),
        ("quartile-async check --deb", {"--debug"}),
    ],
)
def test_commands_options_choices_and_profiles_are_completed(
    home: Home, shell: str, line: str, words: set[str]
) -> None:
    two_profiles(home)

    done = completed(home, line, shell)

    assert done.returncode == 0
    assert done.stderr == ""
    assert all(word in done.stdout for word in words)
    if shell == "bash":
        assert set(done.stdout.splitlines()) == words


def test_a_broken_file_of_profiles_completes_nothing_and_says_nothing(home: Home) -> None:
    for text in ("[one\n", "one = 1\n[", "\ufffe["):
        home.write_profiles(text)
        done = completed(home, "quartile-async upload --profile ")
        assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "", "")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_for_a_shell_is_shown(home: Home, shell: str) -> None:
    done = subprocess.run(
        [str(Path(sys.executable).parent / "quartile-async"), "--show-completion", shell],
        capture_output=True,
        text=True,
        timeout=60,
        env=home.environment | {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"},
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert "_QUARTILE_ASYNC_COMPLETE" in done.stdout


@pytest.mark.parametrize("place", ["before", "after", "environment"])
def test_debug_shows_the_traceback_of_any_error_wherever_it_is_typed(home: Home, place: str) -> None:
    arguments = {"before": ["--debug", "check"], "after": ["check", "--debug"], "environment": ["check"]}[place]

    plain = home.run("check")
    debug = home.run(*arguments, **({"QUARTILE_DEBUG": "1"} if place == "environment" else {}))

    assert (plain.returncode, debug.returncode) == (2, 2)
    assert "Traceback" not in plain.stderr
    assert "Traceback (most recent call last)" in debug.stderr
    assert debug.stderr.endswith(plain.stderr)


def test_debug_shows_no_secret(home: Home) -> None:
    home.emulator.add(Fault(on="login", status=401, body={"detail": f"no: {home.emulator.password}"}))

    done = home.run("login", "--debug", "--username", "me", "--password-stdin", stdin=f"{home.emulator.password}\n")

    assert done.returncode == 3
    assert "Traceback" in done.stderr
    assert home.emulator.password not in done.stderr
    assert home.emulator.subscription_key not in done.stderr


FAULTY = """
import os
import sys
import quartile_async.cli._commands as commands
import quartile_async.cli._take as take

async def broken(*_, **__):
    raise RuntimeError("not expected: " + os.environ["QUARTILE_SUBSCRIPTION_KEY"])

async def broken_on_the_way(self):
    async with self._upload:
        async for _ in self._blocks:
            await broken()

commands.check_credentials = broken
take._Run._take_results = broken_on_the_way
sys.argv = ["quartile-async", *sys.argv[1:]]
from quartile_async.__main__ import main
main()
"""


@pytest.mark.slow
@pytest.mark.parametrize("command", [["check"], ["upload", "c.csv"]])
def test_a_fault_of_the_program_ends_with_what_to_do_and_without_a_traceback(home: Home, command: list[str]) -> None:
    catalogue(home.path / "c.csv", 3)
    home.log_in()

    def faulty(*options: str) -> Any:
        return subprocess.run(
            [sys.executable, "-c", FAULTY, *command, *options],
            capture_output=True,
            text=True,
            timeout=60,
            cwd=home.path,
            env=home.environment,
            check=False,
        )

    plain, debug = faulty(), faulty("--debug")

    assert (plain.returncode, debug.returncode) == (3, 3)
    assert "Error: RuntimeError: not expected: " in plain.stderr
    assert "Traceback" not in plain.stderr
    assert len(plain.stderr.splitlines()) <= 12
    assert plain.stderr.endswith(
        "This is a fault of quartile-async. Run the same again with --debug, and report it with the traceback that is "
        "shown then.\n"
    )
    assert "Traceback" in debug.stderr
    assert "in broken" in debug.stderr
    if command == ["check"]:
        assert home.emulator.subscription_key not in plain.stderr + debug.stderr
