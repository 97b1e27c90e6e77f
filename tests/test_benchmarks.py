"""The benchmarks' honesty: that they run, and catch whoever loses items. Never their figures."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from textwrap import dedent, indent

import orjson
import pytest

from benchmarks.clients.harness import Claim, Figures
from benchmarks.clients.journaled import Told
from benchmarks.honesty import Counts, DishonestRunError, discrepancies
from benchmarks.journal import main as measure_journal
from benchmarks.ratios import CPU, MEMORY, THROUGHPUT, Ratio, ratio
from benchmarks.report import table
from benchmarks.runner import (
    LIBRARY,
    ROOT,
    Client,
    Comparison,
    Run,
    Setting,
    client,
    in_turn,
    run_client,
    running_server,
)
from benchmarks.server import Connection, Service, cut_request
from benchmarks.speed import main
from benchmarks.work import BATCH_PATH, PATH, chunks, items

from .redis.server import REDIS

ITEMS = 2_050  # the last batch is not a full one

SUBMIT = f"PATCH {PATH} HTTP/1.1".encode()


def ask(batch_id: str) -> bytes:
    return f"GET {BATCH_PATH}{batch_id} HTTP/1.1".encode()


# ---- the command


@pytest.mark.slow
def test_a_small_run_counts_every_item_of_every_client_on_the_server(tmp_path: Path) -> None:
    report = tmp_path / "figures.json"
    options = ["--items", str(ITEMS), "--runs", "1", "--json", str(report)]
    command = [sys.executable, "-m", "benchmarks.speed", *options]

    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)

    assert done.returncode == 0, done.stderr
    (round_,) = json.loads(report.read_text(encoding="utf-8"))["rounds"]
    assert list(round_) == ["raw", "raw-again", "naive", "naive-httpx", "library", "library-models"]
    for name, run in round_.items():
        counts = run["counts"]
        assert (counts["received"], counts["distinct"], counts["handed_out"]) == (ITEMS,) * 3, name
        assert name in done.stdout
    assert "control" in done.stdout


@pytest.mark.slow
def test_the_journals_command_shows_ratios_memory_and_bytes_of_runs_that_the_server_counted() -> None:
    command = [sys.executable, "-m", "benchmarks.journal", "--items", str(ITEMS), "--runs", "1"]

    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)

    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    assert sum(line[:1] == ["library-journal"] for line in lines) == 8  # medians and three ratios, on two servers
    for name in ("first run", "replay", "stopped halfway", "resumed"):
        (figures,) = ([float(word) for word in line[-2:]] for line in lines if line[:-2] == name.split())
        assert min(figures) > 1
    (journal,) = (float(line[-1]) for line in lines if line[:2] == ["file", "of"])
    (rows,) = (float(line[-1]) for line in lines if line[:3] == ["the", "server's", "rows,"])
    assert 0 < journal < 2 * rows


@pytest.mark.slow
@pytest.mark.skipif(REDIS is None, reason="redis-server is not installed (Debian: apt-get install redis-server)")
def test_the_redis_command_shows_ratios_and_admissions_of_runs_that_the_server_counted() -> None:
    command = [sys.executable, "-m", "benchmarks.redis", "--items", str(ITEMS), "--runs", "1", "--seconds", "0.1"]

    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)

    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    assert sum(line[:1] == ["library-redis"] for line in lines) == 4  # medians and three ratios
    admissions = [float(line[5].replace(",", "")) for line in lines if line[1:2] == ["processes,"]]
    assert len(admissions) == 4
    assert min(admissions) > 0


def test_a_journal_that_loses_items_fails_the_journals_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    told = Told(results=400, replayed=0, succeeded=400, peak_mb=1.0)
    monkeypatch.setattr("benchmarks.journal_runs.run_python", lambda *args, **kwargs: json.dumps(asdict(told)))
    monkeypatch.setattr("benchmarks.journal.LATENCIES", ())

    assert measure_journal(["--items", "500", "--runs", "1"]) == 1

    assert "first run is not to be trusted, of 500 items" in capsys.readouterr().err


HONEST = "return await raw.upload(url, items, in_flight)"

CHEATS = {
    "drops a batch, and claims it": (
        """
        claim = await raw.upload(url, islice(items, 100, None), in_flight)
        return Claim(claim.sent + 100, claim.succeeded + 100)
        """,
        "100 never reached the server",
    ),
    "drops a batch, and says so": (
        "return await raw.upload(url, islice(items, 100, None), in_flight)",
        "it claims to have sent 400",
    ),
    "sends a batch twice": (
        """
        first = list(islice(items, 100))
        claim = await raw.upload(url, chain(first, first, items), in_flight)
        return Claim(claim.sent - 100, claim.succeeded - 100)
        """,
        "100 were sent more than once",
    ),
    "sends a batch twice instead of another": (
        """
        first = list(islice(items, 100))
        return await raw.upload(url, chain(first, first, islice(items, 100, None)), in_flight)
        """,
        "100 never reached the server",
    ),
    "fetches no results": (
        """
        async def made_up(session, url):
            return [{"status": {"success": True}}] * 100
        raw.final_rows = made_up
        return await raw.upload(url, items, in_flight)
        """,
        "the results of 0 were fetched",
    ),
    "loses what was fetched": (
        """
        claim = await raw.upload(url, items, in_flight)
        return Claim(claim.sent, claim.succeeded - 1)
        """,
        "it claims that 499 succeeded",
    ),
}


def client_that(does: str, folder: Path) -> Client:
    """A client like the raw one, but for the body of its `upload`."""
    body = indent(dedent(does), "    ")
    script = folder / "cheat.py"
    script.write_text(
        f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
from itertools import chain, islice
from benchmarks.clients import raw
from benchmarks.clients.harness import Claim, main

async def upload(url, items, in_flight):
{body}

main(upload)
""",
        encoding="utf-8",
    )
    return Client("cheat", (str(script),))


def only(one: Client) -> Comparison:
    return Comparison(clients=[one], references=[one.name], control=one.name)


@pytest.mark.parametrize("name", CHEATS)
def test_a_client_that_cheats_fails_the_whole_command(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    does, finding = CHEATS[name]

    exit_code = main(["--items", "500", "--runs", "1"], comparison=only(client_that(does, tmp_path)))

    printed = capsys.readouterr()
    assert exit_code == 1
    assert "FAILED: cheat is not to be trusted" in printed.err
    assert finding in printed.err
    assert printed.out == "", "no figures of a client that cheats"


def test_the_client_that_the_cheats_are_made_of_is_honest(tmp_path: Path) -> None:
    setting = Setting(items=500, in_flight=4, runs=1)
    with running_server(setting) as server:
        run = run_client(server, client_that(HONEST, tmp_path), setting)
    assert run.counts.handed_out == 500


def test_a_run_is_not_credited_with_what_the_one_before_it_sent(tmp_path: Path) -> None:
    setting = Setting(items=500, in_flight=4, runs=1)
    with running_server(setting) as server:
        run_client(server, client("raw"), setting)
        with pytest.raises(DishonestRunError, match="500 never reached the server"):
            run_client(server, client_that("return Claim(500, 500)", tmp_path), setting)


def test_slow_batches_are_waited_for() -> None:
    setting = Setting(items=500, in_flight=4, runs=1, processing=0.02, submit_latency=0.01)
    with running_server(setting) as server:
        run = run_client(server, client("raw"), setting)
    assert run.counts.handed_out == 500
    assert run.counts.asked > run.counts.batches


@pytest.mark.parametrize(
    ("does", "said"),
    [
        ("raise RuntimeError('out of paper')", "out of paper"),
        ("sys.stdout.write('hello'); sys.stdout.flush(); import os; os._exit(0)", "no line of figures"),
    ],
)
def test_a_client_that_fails_fails_the_command(
    does: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--items", "100", "--runs", "1"], comparison=only(client_that(does, tmp_path))) == 1
    assert said in capsys.readouterr().err


def test_it_says_clearly_that_orjson_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("benchmarks.runner.find_spec", lambda name: None)
    assert main(["--quick"]) == 1
    assert "The benchmarks need orjson: pip install" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--items", "--runs", "--in-flight"])
def test_no_work_is_not_a_benchmark(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([option, "0"])
    assert "0 is less than 1" in capsys.readouterr().err


# ---- honesty


def counts(received: int = 100, distinct: int = 100, handed_out: int = 100) -> Counts:
    return Counts(received=received, distinct=distinct, handed_out=handed_out, batches=1, asked=1, cpu=0.1)


def test_nothing_is_found_where_everything_adds_up() -> None:
    assert discrepancies(Claim(sent=100, succeeded=100), counts(), 100) == []


@pytest.mark.parametrize(
    ("claim", "counted"),
    [
        (Claim(100, 100), counts(received=99, distinct=99)),
        (Claim(100, 100), counts(received=101, distinct=101)),
        (Claim(100, 100), counts(received=101)),
        (Claim(100, 100), counts(handed_out=99)),
        (Claim(100, 100), counts(handed_out=101)),
        (Claim(99, 100), counts()),
        (Claim(101, 100), counts()),
        (Claim(100, 99), counts()),
        (Claim(100, 101), counts()),
    ],
)
def test_one_item_too_few_or_too_many_anywhere_is_found(claim: Claim, counted: Counts) -> None:
    assert discrepancies(claim, counted, 100)


# ---- ratios


def run(name: str, *, wall: float = 1.0, cpu: float = 1.0, peak_mb: float = 1.0) -> Run:
    return Run(name, 100, Figures(wall=wall, cpu=cpu, peak_mb=peak_mb), counts())


def test_ratios_are_taken_within_a_round_and_then_their_median() -> None:
    # The machine is ten times as slow in the second round: medians of figures would compare across rounds.
    rounds = [
        {"a": run("a", cpu=2.0), "b": run("b", cpu=1.0)},
        {"a": run("a", cpu=30.0), "b": run("b", cpu=10.0)},
        {"a": run("a", cpu=8.0), "b": run("b", cpu=2.0)},
    ]
    assert ratio(rounds, CPU, "a", "b") == Ratio(median=3.0, least=2.0, greatest=4.0)


def test_twice_the_time_is_half_the_throughput() -> None:
    rounds = [{"a": run("a", wall=2.0, peak_mb=3.0), "b": run("b", wall=1.0, peak_mb=1.0)}]
    assert ratio(rounds, THROUGHPUT, "a", "b").median == 0.5
    assert ratio(rounds, MEMORY, "a", "b").median == 3.0


def test_a_ratio_within_the_spread_of_the_control_says_nothing() -> None:
    control = Ratio(median=1.0, least=0.9, greatest=1.2)
    assert Ratio(median=1.2, least=1.0, greatest=2.0).is_within(control)
    assert not Ratio(median=1.21, least=1.0, greatest=2.0).is_within(control)
    assert not Ratio(median=0.89, least=0.5, greatest=1.0).is_within(control)


def figures(slow: float) -> dict[str, float]:
    return {"raw": 1.0, "raw-again": slow, "naive": 1.1}


def test_the_table_shows_the_control_and_marks_what_says_nothing() -> None:
    rounds = [{name: run(name, cpu=cpu) for name, cpu in figures(slow).items()} for slow in (0.9, 1.0, 1.2)]
    comparison = Comparison(LIBRARY.clients[:3], references=("raw", "naive"), control="raw-again")
    lines = table(rounds, Setting(items=100, in_flight=1, runs=3), comparison).splitlines()
    of_cpu = lines[lines.index(next(line for line in lines if line.startswith("CPU per item"))) :]
    assert of_cpu[1].split() == ["control:", "raw", "again", "1.00", "(0.90", "to", "1.20)"]
    assert of_cpu[2].split() == ["naive", "1.10", "(1.10", "to", "1.10)", "~", "-"]


def test_each_round_begins_with_another_client() -> None:
    clients = [client("raw"), client("naive"), client("library")]
    orders = [[each.name for each in in_turn(clients, number)] for number in range(4)]
    assert orders == [
        ["raw", "naive", "library"],
        ["naive", "library", "raw"],
        ["library", "raw", "naive"],
        ["raw", "naive", "library"],
    ]


# ---- the work


def test_the_items_are_distinct_and_come_in_chunks_of_at_most_100() -> None:
    made = list(chunks(items(250)))
    assert [len(chunk) for chunk in made] == [100, 100, 50]
    assert len({(item["asin"], item["countryCode"]) for chunk in made for item in chunk}) == 250
    assert all(len(item["asin"]) == 10 and item["percACoS"] >= 1.0 for chunk in made for item in chunk)


# ---- the server


def test_the_server_answers_with_a_row_for_each_item_once() -> None:
    service = Service()
    work = list(items(3))
    batch_id = orjson.loads(service.reply(SUBMIT, orjson.dumps(work)).body)["batchId"]

    answer = service.reply(ask(batch_id), b"")

    assert answer.status == 200
    content = orjson.loads(answer.body)
    assert (content["batchId"], content["status"]) == (batch_id, "SUCCESS")
    assert [{name: row[name] for name in work[0]} for row in content["data"]] == work
    assert all(row["status"]["success"] is True for row in content["data"])
    assert len({row["id"] for row in content["data"]}) == 3
    assert service.reply(ask(batch_id), b"").status == 404
    assert service.counts()["handed_out"] == 3


def test_the_server_tells_distinct_items_from_repeated_ones() -> None:
    service = Service()
    for chunk in (list(items(3)), list(items(5))):
        service.reply(SUBMIT, orjson.dumps(chunk))
    assert (service.counts()["received"], service.counts()["distinct"]) == (8, 5)


@pytest.mark.parametrize("body", [b"", b"[]", b"[{}]", b"{}", b"[1]", orjson.dumps(list(items(101)))])
def test_the_server_refuses_what_is_no_batch_and_counts_nothing(body: bytes) -> None:
    service = Service()
    assert service.reply(SUBMIT, body).status == 422
    assert service.counts()["received"] == 0


def test_the_server_refuses_items_without_their_value() -> None:
    key = {"asin": "B000000001", "countryCode": "US"}
    assert Service().reply(SUBMIT, orjson.dumps([key])).status == 422


def test_a_batch_that_takes_its_time_is_answered_206() -> None:
    service = Service(processing=60.0)
    batch_id = orjson.loads(service.reply(SUBMIT, orjson.dumps(list(items(1)))).body)["batchId"]
    answer = service.reply(ask(batch_id), b"")
    assert (answer.status, orjson.loads(answer.body)["status"]) == (206, "RUNNING")
    assert service.counts()["handed_out"] == 0


def test_a_reset_forgets_the_counts_and_the_batches_but_gives_no_id_twice() -> None:
    service = Service()
    first = orjson.loads(service.reply(SUBMIT, orjson.dumps(list(items(1)))).body)["batchId"]
    service.reply(b"POST /reset HTTP/1.1", b"")
    assert service.counts()["received"] == service.counts()["distinct"] == 0
    assert service.reply(ask(first), b"").status == 404
    assert orjson.loads(service.reply(SUBMIT, orjson.dumps(list(items(1)))).body)["batchId"] != first


@pytest.mark.parametrize("length", ["Content-Length: 5", "content-length:5"])
def test_a_request_is_cut_out_when_it_is_complete_and_not_before(length: str) -> None:
    whole = f"PATCH /x HTTP/1.1\r\nHost: y\r\n{length}\r\n\r\nhello".encode()
    assert not any(cut_request(whole[:end]) for end in range(len(whole)))
    request = cut_request(whole + b"GET")
    assert request is not None
    assert (request.line, request.body, request.rest) == (b"PATCH /x HTTP/1.1", b"hello", b"GET")


class Written(asyncio.Transport):
    """A transport that keeps what is written to it."""

    def __init__(self) -> None:
        super().__init__()
        self.data = b""
        self.changed = asyncio.Event()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.data += data
        self.changed.set()

    def is_closing(self) -> bool:
        return False


@pytest.mark.parametrize("piece", [1, 7, 10_000])
def test_requests_are_answered_in_whatever_pieces_they_come(piece: int) -> None:
    connection, transport = Connection(Service()), Written()
    connection.connection_made(transport)
    sent = b"GET /counts HTTP/1.1\r\nHost: x\r\n\r\n" * 3
    for start in range(0, len(sent), piece):
        connection.data_received(sent[start : start + piece])
    assert transport.data.count(b"HTTP/1.1 200 OK\r\n") == 3


def test_a_held_back_answer_still_comes_before_the_next_one() -> None:
    transport = Written()

    async def two_requests() -> None:
        connection = Connection(Service(submit_latency=0.01))
        connection.connection_made(transport)
        body = orjson.dumps(list(items(1)))
        connection.data_received(SUBMIT + b"\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        connection.data_received(b"GET /counts HTTP/1.1\r\n\r\n")
        assert transport.data == b""
        while b"received" not in transport.data:
            transport.changed.clear()
            await transport.changed.wait()

    asyncio.run(two_requests())
    assert transport.data.index(b'"batchId"') < transport.data.index(b'"received"')
