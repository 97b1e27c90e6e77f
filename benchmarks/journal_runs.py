"""Uploads with a journal that take several runs, each in a process of its own: how much memory, how many bytes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import orjson

from .clients.journaled import Told
from .honesty import DishonestRunError
from .runner import BenchmarkError, Server, client_core, run_python
from .server import Service
from .work import BATCH_PATH, CHUNK_SIZE, PATH, items


@dataclass(slots=True, frozen=True)
class Story:
    """Runs on one journal.

    Attributes:
        peak_mb: of each run, by its name.
        journal_bytes, item_bytes, row_bytes: for each item; of the finished journal, and as JSON.
    """

    peak_mb: dict[str, float]
    journal_bytes: float
    item_bytes: float
    row_bytes: float


def story(server: Server, folder: Path, count: int, in_flight: int) -> Story:
    """A first run and its replay; and one that is stopped halfway, and what resumes it.

    Raises:
        BenchmarkError: a run failed.
        DishonestRunError: a run's claims are not what the server counted.
    """
    whole, halves = folder / "whole.journal", folder / "halves.journal"
    runs = {}
    for name, journal, stop_after in (
        ("first run", whole, None),
        ("replay", whole, None),
        ("stopped halfway", halves, count // 2),
        ("resumed", halves, None),
    ):
        if not journal.exists():
            server.reset()
        runs[name] = _run(server, count, in_flight, journal, stop_after)
        _check(name, runs[name], server, count, whole=stop_after is None)
    if runs["replay"].replayed != count or not runs["resumed"].replayed:
        raise DishonestRunError(f"The journal was not replayed: {runs}.")
    item_bytes, row_bytes = _as_json(count)
    return Story(
        {name: told.peak_mb for name, told in runs.items()}, whole.stat().st_size / count, item_bytes, row_bytes
    )


def _run(server: Server, count: int, in_flight: int, journal: Path, stop_after: int | None) -> Told:
    command = ["-m", "benchmarks.clients.journaled", "--url", server.url, "--journal", str(journal)]
    command += ["--items", str(count), "--in-flight", str(in_flight)]
    command += [] if stop_after is None else ["--stop-after", str(stop_after)]
    command += [] if (core := client_core()) is None else ["--core", str(core)]
    line = run_python("a run with a journal", command, limit=600.0)
    try:
        return Told(**json.loads(line))
    except (ValueError, TypeError) as error:
        raise BenchmarkError(f"A run with a journal printed no line of figures ({error!r}): {line[:200]!r}") from None


def _check(name: str, told: Told, server: Server, count: int, *, whole: bool) -> None:
    """What was counted since this journal was begun must be what the run claims, earlier runs included."""
    counts = server.counts()
    wanted = count if whole else told.results
    if not counts.received == counts.distinct == counts.handed_out == told.results == told.succeeded == wanted:
        raise DishonestRunError(f"{name} is not to be trusted, of {count} items: {told}, and the server has {counts}.")


def _as_json(count: int) -> tuple[float, float]:
    """Bytes of an item that is sent, and of the row that answers it; of the first items."""
    service, sample = Service(), list(islice(items(count), CHUNK_SIZE))
    sent = orjson.dumps(sample)
    batch_id = orjson.loads(service.reply(f"PATCH {PATH} ".encode(), sent).body)["batchId"]
    answer = orjson.loads(service.reply(f"GET {BATCH_PATH}{batch_id} ".encode(), b"").body)
    return len(sent) / len(sample), len(orjson.dumps(answer["data"])) / len(sample)
