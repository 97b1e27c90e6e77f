"""Is a web application's loop free while uploads run in it?

How long a trivial handler takes, by itself and beside two hundred small uploads at once through the router; on a real
uvicorn, one request after the other. The uploads are begun again and again for as long as it is measured.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory
from time import perf_counter

import httpx

from .questions import Answer, Verdict, spread
from .report import row
from .runner import ROOT, BenchmarkError, Server, Setting, running_server
from .work import HEADERS

UPLOADS = 200
RUNS, QUICK_RUNS = 9, 1
REQUESTS, QUICK_REQUESTS = 1_000, 100


def answer(quick: bool) -> Answer:
    runs, requests = (QUICK_RUNS, QUICK_REQUESTS) if quick else (RUNS, REQUESTS)
    with (
        running_server(Setting(UPLOADS, 32, runs, processing=0.2, submit_latency=0.05)) as server,
        TemporaryDirectory() as folder,
        application(server, Path(folder)) as url,
    ):
        rounds = [_measured(url, requests, number) for number in range(runs)]
    return Answer("\n".join(_lines(rounds)), {"rounds": rounds}, _verdicts(rounds))


def _lines(rounds: list[dict[str, float]]) -> list[str]:
    lines = [row("a trivial handler, ms", "median", "99th percentile")]
    for name in ("alone", "beside"):
        figures = (spread([each[f"{name}, {what}"] * 1e3 for each in rounds]) for what in ("median", "99th"))
        lines.append(row(f"  {name}", *figures))
    lines.append(row("  uploads ended meanwhile", spread([each["uploads"] for each in rounds]), "-"))
    return lines


def _verdicts(rounds: list[dict[str, float]]) -> list[Verdict]:
    return [
        Verdict(
            f"a handler beside {UPLOADS} uploads, {what}",
            median([each[f"beside, {what}"] / each[f"alone, {what}"] for each in rounds]),
            goal,
        )
        for what, goal in (("median", 2.0), ("99th", 5.0))
    ]


def _measured(url: str, requests: int, number: int) -> dict[str, float]:
    with httpx.Client(base_url=url, timeout=60) as http:
        _pinged(http, 20)
        alone = _pinged(http, requests)
        with _load(url, number) as process:
            beside = _pinged(http, requests)
            ended, _ = process.communicate("", timeout=60)
    if process.returncode or not ended.strip().isdecimal():
        raise BenchmarkError(f"the uploads have failed: {ended!r}")
    return {
        "alone, median": median(alone),
        "alone, 99th": quantiles(alone, n=100)[98],
        "beside, median": median(beside),
        "beside, 99th": quantiles(beside, n=100)[98],
        "uploads": float(ended),
    }


@contextmanager
def _load(url: str, number: int) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "benchmarks.clients.web_load", url, str(UPLOADS), str(number)]
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        if process.stdout.readline() != "begun\n":
            raise BenchmarkError("the uploads have not begun")
        yield process
    finally:
        process.kill()
        process.wait(30)


def _pinged(http: httpx.Client, count: int) -> list[float]:
    seconds = []
    for _ in range(count):
        begun = perf_counter()
        http.get("/ping").raise_for_status()
        seconds.append(perf_counter() - begun)
    return seconds


@contextmanager
def application(server: Server, folder: Path) -> Iterator[str]:
    """An application with a trivial handler and the router, on a uvicorn of its own."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = {
        **os.environ,
        "QUARTILE_BASE_URL": server.url,
        "QUARTILE_SUBSCRIPTION_KEY": HEADERS["Subscription-Key"],
        "QUARTILE_ACCESS_TOKEN": HEADERS["Authorization"].removeprefix("Bearer "),
        "UPLOADS_FOLDER": str(folder),
    }
    command = ["-m", "uvicorn", "benchmarks.clients.web_app:app", "--port", str(port), "--log-level", "warning"]
    process = subprocess.Popen([sys.executable, *command], cwd=ROOT, env=environment)
    url = f"http://127.0.0.1:{port}"
    try:
        _await(url, process)
        yield url
    finally:
        process.terminate()
        process.wait(30)


def _await(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = perf_counter() + 30
    while perf_counter() < deadline and process.poll() is None:
        try:
            httpx.get(f"{url}/ping").raise_for_status()
        except httpx.TransportError:
            continue
        return
    raise BenchmarkError("the application has not started")
