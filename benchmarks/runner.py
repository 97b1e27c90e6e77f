"""Starts the server and the clients, each in a process of its own, and hears what came of it."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from .clients.harness import Claim, Figures
from .honesty import Counts, check
from .pinning import cores

ROOT = Path(__file__).resolve().parent.parent
"""Where processes are started, so that they import this package and the library that lies beside it."""


class BenchmarkError(Exception):
    """A process failed; nothing was measured."""


@dataclass(slots=True, frozen=True)
class Client:
    """A name for the table, and what to give Python to run it."""

    name: str
    arguments: tuple[str, ...]


def client(name: str, module: str | None = None) -> Client:
    """One of the clients in `benchmarks.clients`."""
    return Client(name, ("-m", f"benchmarks.clients.{module or name}"))


@dataclass(slots=True, frozen=True)
class Comparison:
    """Who is compared with whom.

    Attributes:
        clients: each runs once in each round.
        references: the names of those that the others are compared with.
        control: the name of one that is the first reference once more: what its ratio to that spans is noise.
    """

    clients: Sequence[Client]
    references: Sequence[str]
    control: str


LIBRARY = Comparison(
    clients=(
        client("raw"),
        client("raw-again", "raw"),
        client("naive"),
        client("naive-httpx", "naive_httpx"),
        client("library"),
        client("library-models", "library_models"),
    ),
    references=("raw", "naive", "naive-httpx"),
    control="raw-again",
)


@dataclass(slots=True, frozen=True)
class Setting:
    """What is asked of each client, and of the server.

    Attributes:
        items: how many.
        in_flight: batches that a client may have in flight at once.
        runs: rounds; each client runs once in each.
        processing: seconds that a batch takes.
        submit_latency: seconds that the answer to a submit takes.
        limit: seconds after which a client that has not ended is given up.
    """

    items: int
    in_flight: int
    runs: int
    processing: float = 0.0
    submit_latency: float = 0.0
    limit: float = 600.0


@dataclass(slots=True, frozen=True)
class Run:
    """One run of one client that was found honest."""

    client: str
    items: int
    figures: Figures
    counts: Counts


class Server:
    """The running server, as the runner speaks to it."""

    def __init__(self, url: str) -> None:
        self.url = url

    def counts(self) -> Counts:
        return Counts(**self._request("GET", "/counts"))

    def reset(self) -> None:
        self._request("POST", "/reset")

    def _request(self, method: str, path: str) -> dict[str, Any]:
        address = urlsplit(self.url)
        connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=30)
        try:
            connection.request(method, path)
            content: dict[str, Any] = json.loads(connection.getresponse().read())
        except (OSError, http.client.HTTPException) as error:
            raise BenchmarkError(f"The server at {self.url} does not answer: {error!r}") from error
        finally:
            connection.close()
        return content


def require_orjson() -> None:
    """Raises BenchmarkError where it is missing: the server and the raw client need it."""
    if find_spec("orjson") is None:
        raise BenchmarkError("The benchmarks need orjson: pip install 'quartile-async[bench]'")


def client_core() -> int | None:
    """The first core where there are two."""
    available = cores()
    return available[0] if len(available) > 1 else None


def server_core() -> int | None:
    """The second core where there are two."""
    available = cores()
    return available[1] if len(available) > 1 else None


@contextmanager
def running_server(setting: Setting) -> Iterator[Server]:
    """The server for as long as the block lasts.

    Raises:
        BenchmarkError: it did not start.
    """
    command = [
        *("-m", "benchmarks.server"),
        *("--processing", str(setting.processing), "--submit-latency", str(setting.submit_latency)),
        *_on_core(server_core()),
    ]
    with subprocess.Popen(
        [sys.executable, *command], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            url = process.stdout.readline().strip()
            if not url:
                raise BenchmarkError("The server did not start; its own words stand above.")
            yield Server(url)
        finally:
            process.stdin.close()  # which ends it


def in_turn(clients: Sequence[Client], round_number: int) -> list[Client]:
    """The order of a round: each begins with another client, so that no place in it is always the same's."""
    first = round_number % len(clients)
    return [*clients[first:], *clients[:first]]


def run_rounds(clients: Sequence[Client], setting: Setting) -> list[dict[str, Run]]:
    """All rounds, on a server of their own; raises as `run_round` does."""
    rounds = []
    with running_server(setting) as server:
        for number in range(setting.runs):
            print(f"round {number + 1} of {setting.runs}", file=sys.stderr, flush=True)
            rounds.append(run_round(server, clients, number, setting))
    return rounds


def run_round(server: Server, clients: Sequence[Client], number: int, setting: Setting) -> dict[str, Run]:
    """Each client once, by name.

    Raises:
        BenchmarkError: a client failed.
        DishonestRunError: a client's claims are not what the server counted.
    """
    return {each.name: run_client(server, each, setting) for each in in_turn(clients, number)}


def run_client(server: Server, each: Client, setting: Setting) -> Run:
    """Raises as `run_round` does."""
    server.reset()
    claim, figures = _told_by(server, each, setting)
    counts = server.counts()
    check(each.name, claim, counts, setting.items)
    return Run(each.name, setting.items, figures, counts)


def _told_by(server: Server, each: Client, setting: Setting) -> tuple[Claim, Figures]:
    command = [
        *each.arguments,
        *("--url", server.url, "--items", str(setting.items), "--in-flight", str(setting.in_flight)),
        *_on_core(client_core()),
    ]
    return _read(each.name, run_python(each.name, command, limit=setting.limit))


def told_by(module: str, server: Server, *options: object) -> dict[str, Any]:
    """What a client that prints a line of JSON says, given the server and further options.

    Raises:
        BenchmarkError: it failed, or printed something else.
    """
    arguments = ["-m", f"benchmarks.clients.{module}", "--url", server.url, *map(str, options)]
    line = run_python(module, [*arguments, *_on_core(client_core())], limit=600.0)
    try:
        told: dict[str, Any] = json.loads(line)
    except ValueError as error:
        raise BenchmarkError(f"{module} printed no line of figures ({error!r}): {line[:200]!r}") from None
    return told


def run_python(
    name: str, arguments: Sequence[str], *, limit: float, environment: Mapping[str, str] | None = None
) -> str:
    """What Python prints, given these arguments, and these variables beside those that are set.

    Raises:
        BenchmarkError: it failed, or has not ended after so many seconds.
    """
    try:
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=ROOT,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=limit,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise BenchmarkError(f"{name} had not ended after {limit:g} s") from None
    if done.returncode != 0:
        raise BenchmarkError(f"{name} failed with exit code {done.returncode}:\n{done.stderr.strip()}")
    return done.stdout


def _read(name: str, line: str) -> tuple[Claim, Figures]:
    try:
        told = json.loads(line)
        claim = Claim(sent=told["sent"], succeeded=told["succeeded"])
        return claim, Figures(wall=told["wall"], cpu=told["cpu"], peak_mb=told["peak_mb"])
    except (ValueError, KeyError, TypeError) as error:
        raise BenchmarkError(f"{name} printed no line of figures ({error!r}): {line[:200]!r}") from None


def _on_core(core: int | None) -> list[str]:
    return [] if core is None else ["--core", str(core)]
