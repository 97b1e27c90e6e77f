"""`python -m benchmarks.workers`: do twice the workers take half the time? It needs redis-server and the extra `dask`.

An upload of one file by 1, 2, 4 and 8 workers of a local cluster, each with a few slots, on a server that takes its
time to accept a batch and has room for any number: its latency is the limit, and not the cores of this machine.
What is measured is all that a caller waits for: the division of the file, the survey of its keys, and the upload. What
the server counted must be what the caller was told.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from .honesty import DishonestRunError
from .options import at_least_one, seconds_of
from .questions import Verdict, spread
from .redis_server import running_redis
from .report import row
from .runner import BenchmarkError, Server, Setting, require_orjson, running_server

WORKERS = (1, 2, 4, 8)
GOAL = 0.9
"""Of the rate of one worker, times their number."""

PARTS_EACH = 2
"""For each of the most workers: so all of them have equal shares, and one that is late holds nobody up for long."""


@dataclass(slots=True, frozen=True)
class Load:
    """What is uploaded.

    Attributes:
        parts: how many parts.
        batches: of each part.
        slots: of each worker.
        latency: seconds that the server takes to accept a batch.
    """

    parts: int
    batches: int
    slots: int
    latency: float

    @property
    def items(self) -> int:
        return self.parts * self.batches * 100


def main(arguments: Sequence[str] | None = None) -> int:
    """The command. Returns 1 where an upload failed, or told what the server did not count."""
    options = _parser().parse_args(arguments)
    load = Load(PARTS_EACH * max(options.workers), options.batches, options.slots, options.latency)
    os.environ |= {"QUARTILE_SUBSCRIPTION_KEY": "key", "QUARTILE_ACCESS_TOKEN": "token"}
    try:
        require_orjson()
        runs = _measured(load, options.workers, options.runs)
    except (BenchmarkError, DishonestRunError) as error:
        print(f"FAILED: {error}", file=sys.stderr)
        return 1
    print(
        f"{load.items:,} items in {load.parts} parts; {load.slots} slots for each worker; accepting takes "
        f"{load.latency} s"
    )
    print(row("workers", "items a second", "of linear growth"))
    first = min(runs)
    for workers, of in runs.items():
        found, alone = [run.rate for run in of], [run.rate for run in runs[first]]
        shares = [rate / one * first / workers for rate, one in zip(found, alone, strict=True)]
        print(row(f"  {workers}", spread(found), spread(shares)))
        if workers > first:
            verdict = Verdict(f"{workers} workers, of linear growth", median(shares), GOAL, at_most=False)
            print(verdict, flush=True)
    print(row("Redis, for each item", "µs of CPU", "commands", "bytes that came and went", "bytes kept"))
    for workers, of in runs.items():
        figures = zip(*(astuple(run.redis) for run in of), strict=True)
        print(row(f"  {workers} workers", *map(spread, map(list, figures))))
    return 0


@dataclass(slots=True, frozen=True)
class RedisLoad:
    """What Redis had to do, for each item.

    Attributes:
        cpu: in microseconds; a Redis has one core.
        commands: scripts count once.
        bytes: that came and went.
        kept: bytes of memory that are taken afterwards, for the journals.
    """

    cpu: float
    commands: float
    bytes: float
    kept: float


@dataclass(slots=True, frozen=True)
class Run:
    """An upload: items a second, and what Redis had to do."""

    rate: float
    redis: RedisLoad


def _measured(load: Load, workers: Sequence[int], runs: int) -> dict[int, list[Run]]:
    """The runs, by the number of workers; they take turns."""
    found: dict[int, list[Run]] = {number: [] for number in workers}
    with TemporaryDirectory() as folder, running_redis(with_file=True) as redis:
        file = _catalogue(Path(folder), load.items)
        with running_server(Setting(load.items, 0, runs, submit_latency=load.latency)) as server:
            for _ in range(runs):
                for number in workers:
                    with _cluster(number) as client:
                        before = _figures_of(redis)
                        seconds = _seconds(client, file, redis, server, load)
                        spent = [after - then for then, after in zip(before, _figures_of(redis), strict=True)]
                        each = RedisLoad(*(figure / load.items for figure in spent))
                        found[number].append(Run(load.items / seconds, each))
    return found


def _figures_of(url: str) -> tuple[float, float, float, float]:
    """In the order of `RedisLoad`, since Redis was started."""
    from redis import Redis

    with Redis.from_url(url) as redis:
        told: Any = redis.info()
    cpu = 1e6 * (told["used_cpu_user"] + told["used_cpu_sys"])
    traffic = told["total_net_input_bytes"] + told["total_net_output_bytes"]
    return cpu, told["total_commands_processed"], traffic, told["used_memory"]


def _catalogue(folder: Path, items: int) -> Path:
    path = folder / "catalogue.csv"
    rows = (f"B0{number:08d},US,{number % 50 + 5}\n" for number in range(items))
    path.write_text("asin,countryCode,percACoS\n" + "".join(rows), encoding="utf-8")
    return path


@contextmanager
def _cluster(workers: int) -> Iterator[Any]:
    from distributed import Client, LocalCluster

    quiet: Any = {"dashboard_address": "127.0.0.1:0", "silence_logs": 50}
    with (
        LocalCluster(n_workers=workers, threads_per_worker=1, **quiet) as cluster,  # type: ignore[no-untyped-call]  # it has no types
        Client(cluster) as client,  # type: ignore[no-untyped-call]  # it has no types
    ):
        client.wait_for_workers(workers)
        client.run(_ready)
        yield client


def _ready() -> None:
    """Imports what a worker needs, which it does once in its life."""
    from quartile_async import dask  # noqa: F401  # that it is loaded is what counts


def _seconds(client: Any, file: Path, redis: str, server: Server, load: Load) -> float:
    """How long an upload took.

    Raises:
        DishonestRunError: what was told is not what the server counted.
    """
    from quartile_async import MASTERLIST
    from quartile_async import dask as quartile_dask

    server.reset()
    started = time.perf_counter()
    upload = quartile_dask.upload(
        file,
        MASTERLIST,
        journal=(redis, uuid.uuid4().hex),
        dask_client=client,
        part_items=load.batches * 100,
        rate="1000000/second",
        max_in_flight=1_000,
        max_in_flight_per_worker=load.slots,
        base_url=server.url,
    )
    told = {(result.part, result.index) for result in upload if result.ok}
    seconds = time.perf_counter() - started
    counts = server.counts()
    if {len(told), counts.received, counts.distinct, counts.handed_out} != {load.items}:
        raise DishonestRunError(f"{load.items} items, {len(told)} of which were told; the server: {counts}")
    return seconds


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.workers", description="How uploads grow with workers.")
    parser.add_argument("--workers", type=at_least_one, nargs="+", default=WORKERS, help="(default: 1 2 4 8)")
    parser.add_argument("--batches", type=at_least_one, default=40, help="of each part (default: 40)")
    parser.add_argument("--slots", type=at_least_one, default=4, help="of each worker (default: 4)")
    parser.add_argument("--latency", type=seconds_of, default=1.0, help="seconds (default: 1)")
    parser.add_argument("--runs", type=at_least_one, default=3, help="of each (default: 3)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
