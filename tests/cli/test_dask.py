"""`upload --dask`: by processes of this machine, and by a cluster that is there; what goes together, and secrets."""

from __future__ import annotations

import asyncio
import json
import shlex
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pexpect
import pytest

from quartile_async import MASTERLIST, ConfigurationError, LoginAuth, Outcome, __version__
from quartile_async._dask.environment import Found, FromEnvironment, FromStoredLogin
from quartile_async._dask.parts import Part, Partition, Records, SourceFile
from quartile_async._dask.results import PartEnd, PartItemResult, PartState
from quartile_async._tables.places import Place
from quartile_async._tables.rows import Row
from quartile_async.cli._accounts import StoredLogin
from quartile_async.cli._inputs import Inputs
from quartile_async.cli._part_size import part_items_for
from quartile_async.cli._parts import MOST_AHEAD, PartsUpload
from quartile_async.cli._parts_told import told_of_parts
from quartile_async.cli._secrets import for_workers_here
from quartile_async.cli._spread import check_together, default_name, redis_url, spread_over
from quartile_async.cli._workers import check_workers
from quartile_async.emulator import ThreadedEmulator

from ..redis.server import RedisServer
from .test_accounts import Home
from .test_before_sending import plain
from .test_commands import COMMAND, HEADER, catalogue, environment, read_csv, run, started, until

PROCESSING = [0.02]
"""Seconds that the server takes for a batch."""


@pytest.fixture
def emulator() -> Iterator[ThreadedEmulator]:
    PROCESSING[0] = 0.02
    with ThreadedEmulator(processing=lambda rng, items: PROCESSING[0]) as emulator:
        yield emulator


def spread_run(*arguments: str | Path, emulator: ThreadedEmulator, redis: RedisServer, **changes: str) -> Any:
    changes = {"QUARTILE_REDIS_RATE": "none", "QUARTILE_REDIS_URL": redis.url} | changes
    return run("upload", *arguments, emulator=emulator, **changes)


HERE = ("--dask", "local", "--workers", "2")


@pytest.mark.slow
def test_ctrl_c_lets_what_is_in_flight_end_and_the_line_that_is_printed_sends_the_rest(
    tmp_path: Path, emulator: ThreadedEmulator, server: RedisServer
) -> None:
    PROCESSING[0] = 0.5
    path, results = catalogue(tmp_path / "c.csv", 2_000, "B0BADROW01,US,0.4\n"), tmp_path / "results.csv"
    child = pexpect.spawn(
        COMMAND[0],
        [
            *COMMAND[1:],
            "upload",
            str(path),
            *HERE,
            "--part-items",
            "1000",
            "--max-in-flight",
            "4",
            "--yes",
            "--results",
            str(results),
        ],
        env=environment(emulator, QUARTILE_REDIS_RATE="none", QUARTILE_REDIS_URL=server.url, TERM="dumb"),
        encoding="utf-8",
        timeout=30,
    )
    until(lambda: len(emulator.batches) >= 4)
    child.sendintr()
    child.expect(pexpect.EOF)
    child.wait()
    said = plain(child.before or "")

    assert child.exitstatus == 130, said
    batches, known = len(emulator.batches), read_csv(results)
    assert 4 <= batches <= 8
    assert Counter(row["outcome"] for row in known if row["batch_id"]) == {"succeeded": 100 * batches}
    assert "distributed" not in said
    assert "Traceback" not in said
    PROCESSING[0] = 0.02

    command = said.split("To go on where this has ended: ")[1].strip()
    done = subprocess.run(
        [*shlex.split(command), "--json"],
        capture_output=True,
        text=True,
        timeout=60,
        env=environment(emulator, QUARTILE_REDIS_RATE="none", QUARTILE_REDIS_URL=server.url),
        check=False,
    )

    assert done.returncode == 1, done.stderr
    counts = json.loads(done.stdout)
    assert (counts["items"], counts["succeeded"], counts["rejected"]) == (2_001, 2_000, 1)
    rows = read_csv(results)
    assert sorted((int(row["index"]), int(row["line"])) for row in rows) == [(n, n + 2) for n in range(2_001)]
    assert all(row["asin"] == f"B0{int(row['index']):08d}" for row in rows if row["outcome"] == "succeeded")
    (rejected,) = [row["message"] for row in rows if row["outcome"] == "rejected"]
    assert rejected.startswith("record 2001 (line 2002): percACoS: ")
    assert len(emulator.batches) == 20, "none was sent twice"
    assert emulator.violations == []
    for secret in (emulator.subscription_key, emulator.access_token):
        assert secret not in said + done.stderr + done.stdout
    assert "3 parts: 3 finished." in done.stderr
    assert f"{100 * batches} of these results had been learned by an earlier run" in done.stderr


@pytest.mark.slow
@pytest.mark.quartile_emulator(processing=3600.0)
def test_ctrl_c_twice_leaves_now_and_says_what_may_be_on_the_server(
    tmp_path: Path, quartile_emulator: ThreadedEmulator, server: RedisServer
) -> None:
    path = catalogue(tmp_path / "c.csv", 2_000)
    process = started(
        "upload",
        path,
        *HERE,
        "--part-items",
        "1000",
        "--max-in-flight",
        "4",
        "--redis",
        server.url,
        emulator=quartile_emulator,
    )
    until(lambda: len(quartile_emulator.batches) >= 4)
    process.send_signal(signal.SIGINT)
    assert process.stderr is not None
    until(lambda: "again leaves now" in process.stderr.readline())
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=15)

    assert process.returncode == 130, said
    assert "batches whose end was not awaited: the server may complete them." in said
    assert "Traceback" not in said


@pytest.mark.slow
def test_several_files_are_told_apart_and_an_upload_that_was_finished_is_not_sent_again(
    tmp_path: Path, emulator: ThreadedEmulator, server: RedisServer
) -> None:
    paths = [catalogue(tmp_path / "a.csv", 250, "B0BADROW01,US,0.4\n"), tmp_path / "b.csv"]
    paths[1].write_text(HEADER + "".join(f"B1{number:08d},US,27.5\n" for number in range(250)))
    results, retry, report = (tmp_path / name for name in ("results.jsonl", "retry.csv", "report.html"))
    files = (*paths, *HERE, "--part-items", "100", "--journal", "both", "--account", "acme")

    first = spread_run(
        *files, "--results", results, "--retry-file", retry, "--report", report, emulator=emulator, redis=server
    )
    again = spread_run(*files, "--json", emulator=emulator, redis=server)
    anew = spread_run(*files, "--json", "--restart", emulator=emulator, redis=server)

    assert first.returncode == 1, first.stderr
    rows = [json.loads(line) for line in results.read_text().splitlines()]
    assert sorted((row["file"], row["index"], row["line"]) for row in rows) == [
        *(("a.csv", number, number + 2) for number in range(251)),
        *(("b.csv", number, number + 2) for number in range(250)),
    ]
    assert retry.read_text() == HEADER + "B0BADROW01,US,0.4\n"
    assert "acme" in report.read_text()
    assert json.loads(again.stdout)["batches"] == 0
    assert "All of it was uploaded already: nothing was sent." in again.stderr
    assert "What stood under the name both was removed." in anew.stderr
    assert json.loads(anew.stdout)["batches"] == len(emulator.batches) // 2


@pytest.mark.slow
def test_a_nightly_job_under_one_name_uploads_each_new_content_in_parts_for_all_workers(
    tmp_path: Path, emulator: ThreadedEmulator, server: RedisServer
) -> None:
    path = catalogue(tmp_path / "c.csv", 2_500)

    first = spread_run(path, *HERE, emulator=emulator, redis=server)
    same = spread_run(path, *HERE, "--part-items", "700", "--json", emulator=emulator, redis=server)
    catalogue(path, 1_100)
    other = spread_run(path, *HERE, "--part-items", "600", "--json", emulator=emulator, redis=server)

    assert (first.returncode, same.returncode, other.returncode) == (0, 0, 0), first.stderr + same.stderr + other.stderr
    assert "3 parts: 3 finished." in first.stderr
    assert "It was divided into parts of at most 1,000 items when it was begun; --part-items" in same.stderr
    assert json.loads(same.stdout)["batches"] == 0
    assert "was uploaded completely on " in other.stderr
    assert "2 parts: 2 finished." in other.stderr
    assert json.loads(other.stdout)["batches"] == 11


@pytest.mark.slow
def test_a_file_that_has_changed_while_its_upload_was_unfinished_is_an_error_and_nothing_is_sent(
    tmp_path: Path, emulator: ThreadedEmulator, server: RedisServer
) -> None:
    path = catalogue(tmp_path / "c.csv", 100)
    spread_run(path, *HERE, emulator=emulator, redis=server, QUARTILE_ACCESS_TOKEN="not.valid")
    catalogue(path, 101)

    changed = spread_run(path, *HERE, emulator=emulator, redis=server)

    assert changed.returncode == 2, changed.stderr
    assert "The former upload had not finished." in changed.stderr
    assert "--journal NAME begins another upload; --restart removes" in changed.stderr
    assert not emulator.batches


@pytest.mark.slow
def test_what_redis_may_lose_is_said_once_and_one_that_keeps_nothing_is_refused_with_what_to_do(
    tmp_path: Path, emulator: ThreadedEmulator, server: RedisServer
) -> None:
    path = catalogue(tmp_path / "c.csv", 100)
    with RedisServer("--appendfsync", "everysec") as a_second_late:
        warned = spread_run(path, *HERE, emulator=emulator, redis=a_second_late)
    sent = len(emulator.batches)
    safe = spread_run(path, *HERE, emulator=emulator, redis=server)
    with RedisServer(keeps=False) as forgetful:
        forgotten = spread_run(path, *HERE, emulator=emulator, redis=forgetful)
    gone = spread_run(path, *HERE, emulator=emulator, redis=forgetful)

    assert (warned.returncode, safe.returncode, forgotten.returncode, gone.returncode) == (0, 0, 2, 2), gone.stderr
    assert warned.stderr.count("Warning: ") == warned.stderr.count("(appendfsync everysec)") == 1
    assert "Warning: " not in safe.stderr
    assert "redis-cli CONFIG SET appendonly yes" in forgotten.stderr
    assert f"Redis at {forgetful.url} cannot be used" in gone.stderr
    assert len(emulator.batches) == 2 * sent


@pytest.mark.slow
def test_workers_of_this_machine_share_one_login_and_go_on_from_a_stored_one(
    tmp_path: Path, emulator: ThreadedEmulator, server: RedisServer
) -> None:
    home = Home(tmp_path, emulator)
    home.environment |= {"QUARTILE_REDIS_URL": server.url, "QUARTILE_REDIS_RATE": "none"}
    upload = ("upload", catalogue(tmp_path / "c.csv", 1_000), *HERE, "--part-items", "100", "--restart")

    by_password = home.run(*upload, QUARTILE_USERNAME=emulator.username, QUARTILE_PASSWORD=emulator.password)
    logins = [each.kind for each in emulator.requests].count("login")
    home.log_in()
    home.expire()
    by_store = home.run(*upload)
    refreshes = [each.kind for each in emulator.requests].count("refresh")
    emulator.expire_token(home.tokens()["refresh_token"])
    home.expire()
    ended = home.run(*upload)

    assert by_password.returncode == by_store.returncode == 0, by_password.stderr + by_store.stderr
    assert logins == 1
    assert refreshes == 1
    assert ended.returncode == 3
    assert "The stored login does not work any more. Run: quartile-async login" in ended.stderr
    for secret in (emulator.password, home.tokens()["refresh_token"], home.tokens()["access_token"]):
        assert secret not in by_password.stderr + by_store.stderr


@pytest.mark.slow
def test_an_error_that_ends_parts_names_them_and_exits_3(
    tmp_path: Path, emulator: ThreadedEmulator, server: RedisServer
) -> None:
    done = spread_run(
        catalogue(tmp_path / "c.csv", 200),
        *HERE,
        "--part-items",
        "100",
        "--json",
        emulator=emulator,
        redis=server,
        QUARTILE_ACCESS_TOKEN="not.valid",
    )

    assert done.returncode == 3
    assert "(c.csv, records " in done.stderr
    assert "AuthenticationError" in done.stderr
    assert "To go on where this has ended:" in done.stderr
    assert "not.valid" not in done.stderr
    assert json.loads(done.stdout)["succeeded"] == 0


@pytest.mark.slow
def test_a_cluster_that_is_there_uploads_with_what_its_workers_have(
    tmp_path: Path, emulator: ThreadedEmulator, server: RedisServer, cluster: Any
) -> None:
    path = catalogue(tmp_path / "c.csv", 500)
    nothing = {"QUARTILE_SUBSCRIPTION_KEY": "", "QUARTILE_ACCESS_TOKEN": ""}

    there = ("--dask", cluster.scheduler_address, "--part-items", "100")
    done = spread_run(path, *there, emulator=emulator, redis=server, **nothing)
    nobody = spread_run(path, "--dask", "tcp://127.0.0.1:9", emulator=emulator, redis=server, **nothing)

    assert done.returncode == 0, done.stderr
    assert len(emulator.applied) == 500
    assert nobody.returncode == 2
    assert "The scheduler of Dask at tcp://127.0.0.1:9 cannot be reached" in nobody.stderr
    assert len(nobody.stderr.splitlines()) <= 12


# --------------------------------------------------------------------------------------------------------------------
# What goes together


@pytest.mark.parametrize(
    ("dask", "given", "words"),
    [
        (None, {"--workers"}, "--workers goes only with --dask"),
        (None, {"--part-items", "--first"}, "--part-items goes only with --dask"),
        (None, {"--redis"}, "--redis goes only with --dask"),
        ("local", {"--first"}, "--first does not go with --dask: its parts are uploaded beside each other"),
        ("local", {"--no-journal"}, "--no-journal does not go with --dask"),
        ("local", {"--again"}, "say --restart"),
        ("tcp://there:8786", {"--again"}, "say --restart"),
        ("tcp://there:8786", {"--workers"}, "--workers does not go with the address of a cluster (--dask)"),
        ("tcp://there:8786", {"--profile"}, "the workers use what stands in their environment"),
    ],
)
def test_what_makes_no_sense_together_is_refused_with_the_reason(dask: str | None, given: set[str], words: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        check_together(dask, given)

    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("dask", "given"),
    [
        (None, {"--first", "--again", "--no-journal", "--profile"}),
        ("local", {"--workers", "--part-items", "--redis", "--profile"}),
        ("tcp://there:8786", {"--part-items", "--redis"}),
    ],
)
def test_all_else_goes_together(dask: str | None, given: set[str]) -> None:
    check_together(dask, given)


def test_the_address_of_redis_is_that_of_the_line_or_of_the_environment_and_never_has_a_password_on_the_line() -> None:
    there = {"QUARTILE_REDIS_URL": "redis://:hunter-2@there/0"}

    assert redis_url("redis://here/0", there) == "redis://here/0"
    assert redis_url(None, there) == "redis://:hunter-2@there/0"
    with pytest.raises(ConfigurationError, match="--redis, such as redis://localhost:6379/0, or by QUARTILE_REDIS_URL"):
        redis_url(None, {"QUARTILE_REDIS_URL": ""})
    with pytest.raises(ConfigurationError, match="Set QUARTILE_REDIS_URL") as caught:
        redis_url("redis://:hunter-2@here/0", {})
    assert "hunter-2" not in str(caught.value)


def test_the_journals_name_says_which_files_and_is_another_for_other_files_servers_and_accounts(tmp_path: Path) -> None:
    def name(*names: str, account: str | None = None, server: str = "https://a", resource: str = "x") -> str:
        paths = tuple(tmp_path / each for each in names)
        return default_name(Inputs(paths, names[0]), account, server, resource)

    names = [
        name("c.csv"),
        name("d.csv"),
        name("other/c.csv"),
        name("c.csv", "d.csv"),
        name("c.csv", account="acme {de}"),
        name("c.csv", server="https://b"),
        name("c.csv", resource="y"),
    ]

    assert names[0].startswith("c.csv.")
    assert names[3].startswith("c.csv.and-1-more.")
    assert names[4].startswith("c.csv.acme__de_.")
    assert len(set(names)) == len(names)
    assert name("c.csv") == names[0]


@pytest.mark.parametrize(
    ("records", "threads", "items"),
    [
        (0, 2, 1_000),
        (3_000, 2, 1_000),
        (8_001, 2, 1_100),
        (30_000, 2, 3_800),
        (30_000, 100, 1_000),
        (400_000, 2, 50_000),
        (10_000_000, 2, 50_000),
        (10_000_000, 1_000, 2_500),
    ],
)
def test_each_worker_has_about_four_parts_and_none_is_tiny_or_huge(records: int, threads: int, items: int) -> None:
    assert part_items_for(records, threads) == items


def test_a_pipe_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="A pipe does not go with --dask"):
        spread_over(
            "local",
            redis="redis://here",
            journal=None,
            inputs=Inputs((Path("x"),), "-", is_pipe=True),
            account=None,
            server="https://a",
            resource=MASTERLIST,
            workers=None,
            part_items=None,
            restart=False,
        )


@pytest.mark.parametrize("library", ["distributed", "redis"])
def test_without_the_extra_it_says_what_to_install(tmp_path: Path, library: str) -> None:
    code = f"import sys; sys.modules[{library!r}] = None; from quartile_async.__main__ import main; main()"
    path = catalogue(tmp_path / "c.csv", 3)

    done = subprocess.run(
        [sys.executable, "-c", code, "upload", str(path), "--dask", "local"],
        capture_output=True,
        text=True,
        env=environment(None, QUARTILE_SUBSCRIPTION_KEY="k" * 32, QUARTILE_ACCESS_TOKEN="a.b.c"),
        check=False,
    )

    assert done.returncode == 2
    assert f"--dask needs the package {library}" in " ".join(done.stderr.split())
    assert "pip install 'quartile-async[dask]'" in done.stderr


@pytest.mark.slow
def test_help_and_an_upload_without_dask_load_neither_dask_nor_redis(
    tmp_path: Path, emulator: ThreadedEmulator
) -> None:
    code = (
        "import sys, atexit; sys.argv[0] = 'quartile-async';"
        "atexit.register(lambda: print({'dask', 'distributed', 'redis'} & {*sys.modules}));"
        "from quartile_async.__main__ import main; main()"
    )
    path = catalogue(tmp_path / "c.csv", 3)
    for arguments in (
        ["upload", "--help"],
        ["upload", str(path)],
        ["upload", str(path), "--dask", "local", "--dry-run"],
    ):
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments],
            capture_output=True,
            text=True,
            env=environment(emulator),
            check=False,
        )

        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines()[-1] == "set()"


# --------------------------------------------------------------------------------------------------------------------
# Secrets


def test_workers_here_get_one_way_to_log_in_and_nothing_of_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QUARTILE_SUBSCRIPTION_KEY", "of the environment")

    token = for_workers_here({"auth": "the.token"}, "redis://:hunter-2@here", tmp_path)
    login = for_workers_here({"auth": LoginAuth("me", "hunter-3"), "subscription_key": "typed"}, "redis://", tmp_path)
    stored = StoredLogin("hunter-4", path=tmp_path / "store.json", user="digest", again="")
    store = for_workers_here({"auth": stored}, "redis://", tmp_path)

    assert token.environment == {
        "QUARTILE_SUBSCRIPTION_KEY": "of the environment",
        "QUARTILE_REDIS_URL": "redis://:hunter-2@here",
        "QUARTILE_ACCESS_TOKEN": "the.token",
        "QUARTILE_USERNAME": "",
        "QUARTILE_PASSWORD": "",
    }
    assert token.credentials == FromEnvironment()
    assert login.environment["QUARTILE_SUBSCRIPTION_KEY"] == "typed"
    assert (login.environment["QUARTILE_USERNAME"], login.environment["QUARTILE_PASSWORD"]) == ("me", "hunter-3")
    assert login.environment["QUARTILE_ACCESS_TOKEN"] == ""
    assert login.credentials == FromEnvironment(str(tmp_path / "tokens.json"))
    assert store.credentials == FromStoredLogin(str(tmp_path / "store.json"), "digest")
    assert not any("hunter-4" in value for value in store.environment.values())
    assert "hunter" not in repr((token, login, store))


def test_workers_that_lack_something_are_named_with_what_it_is() -> None:
    whole = Found(__version__, ())
    lacks = Found(__version__, ("QUARTILE_SUBSCRIPTION_KEY", "QUARTILE_ACCESS_TOKEN (or ...)"))

    check_workers({})
    check_workers({"tcp://a": whole})
    with pytest.raises(ConfigurationError, match=r"1 of 2 workers \(tcp://b\) lack in their environment: QUARTILE_SUB"):
        check_workers({"tcp://a": whole, "tcp://b": lacks})
    with pytest.raises(ConfigurationError, match=r"1 of 2 workers have another version .* tcp://b: 0\.0\.0"):
        check_workers({"tcp://a": whole, "tcp://b": Found("0.0.0", ())})


# --------------------------------------------------------------------------------------------------------------------
# Results, from a thread


def part(number: int, first: int = 0) -> Part:
    form: Any = None  # nothing is read here
    return Part(number, None, Records(SourceFile("/there/c.csv", 1, 1, form), Place(first)))


def result_of(part: int, index: int) -> PartItemResult:
    result = PartItemResult(index, Row({"asin": "B0"}, index + 2), Outcome.SUCCEEDED)
    result.part = part
    return result


@dataclass
class Scripted:
    """In place of a `DaskUpload`."""

    results: list[PartItemResult]
    error: Exception | None = None
    hangs: bool = False
    parts: tuple[Part, ...] = (part(0), part(1, 1_000))
    unaccounted: list[PartItemResult] = field(default_factory=list)
    given: int = 0
    left: threading.Event = field(default_factory=threading.Event)

    def __iter__(self) -> Iterator[PartItemResult]:
        for result in self.results:
            self.given += 1
            yield result
        if self.hangs:
            self.left.wait()
        if self.error is not None:
            raise self.error

    def leave(self) -> None:
        self.left.set()


async def test_results_have_their_index_in_their_file_and_its_name() -> None:
    scripted: Any = Scripted([result_of(0, 3), result_of(1, 4)], unaccounted=[result_of(1, 5)])
    parts = PartsUpload(scripted, {"/there/c.csv": "c.csv"})

    async with parts:
        results = [result async for block in parts for result in block]

    assert [(result.index, result.item.file) for result in results] == [(3, "c.csv"), (1_004, "c.csv")]
    assert [result.index for result in parts.unaccounted] == [1_005]
    assert [result.index for result in parts.unaccounted] == [1_005], "each time"


async def test_an_error_comes_after_all_results_that_were_there() -> None:
    scripted: Any = Scripted([result_of(0, index) for index in range(3)], ConfigurationError("no"))
    results: list[Any] = []

    with pytest.raises(ConfigurationError, match="no"):
        async with PartsUpload(scripted, {}) as parts:
            async for block in parts:
                results += block

    assert len(results) == 3


async def test_whoever_takes_no_results_holds_the_thread_back_and_leaving_lets_it_go() -> None:
    scripted: Any = Scripted([result_of(0, index) for index in range(3 * MOST_AHEAD)])

    async with PartsUpload(scripted, {}) as parts:
        while scripted.given < MOST_AHEAD:
            await asyncio.sleep(0.001)
        await asyncio.sleep(0.05)
        assert scripted.given == MOST_AHEAD
    assert not parts._thread.is_alive()
    assert len(parts.waiting) == MOST_AHEAD


async def test_leaving_an_upload_that_tells_nothing_ends_its_thread() -> None:
    scripted: Any = Scripted([], hangs=True)

    async with PartsUpload(scripted, {}) as parts:
        pass

    assert not parts._thread.is_alive()


def test_what_became_of_the_parts_is_told_in_a_few_lines() -> None:
    parts = [part(0), part(1, 1_000), Part(2, None, Partition(2))]
    ends = [
        PartEnd(0, PartState.FINISHED, read=1_000),
        PartEnd(1, PartState.FAILED, read=300, in_batches={"a": 100, "b": 50}, error="AuthenticationError: no"),
        PartEnd(2, PartState.NOT_BEGUN),
    ]

    assert list(told_of_parts(parts, ends, items=1_300, replayed=7)) == [
        "7 of these results had been learned by an earlier run, and were not sent again.",
        "3 parts: 1 not begun, 1 finished, 1 failed.",
        "Part 1 (c.csv, records from 1,001 on) ended by an error: AuthenticationError: no",
        "150 items are in 2 batches whose end was not awaited: the server may complete them.",
        "Of parts that have not finished, what was not read has no result.",
    ]
    failed = [PartEnd(number, PartState.FAILED, error=f"error {number // 2}") for number in range(14)]
    assert list(told_of_parts([part(number) for number in range(14)], failed, items=0, replayed=0))[1:7] == [
        *(f"Part {2 * number} (c.csv) and 1 more ended by an error: error {number}" for number in range(5)),
        "and 2 other errors.",
    ]
    assert "1 item is in 1 batch whose end was not awaited: the server may complete them." in told_of_parts(
        parts, [PartEnd(0, PartState.STOPPED, read=1, in_batches={"a": 1})], items=0, replayed=0
    )
    assert list(told_of_parts(parts[:1], ends[:1], items=1_000, replayed=1_000)) == [
        "All of it was uploaded already: nothing was sent. To send it once more: --restart",
        "1 part: 1 finished.",
    ]
