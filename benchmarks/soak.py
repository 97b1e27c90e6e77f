"""One client for a long time, while everything fails now and then: does anything grow, is anything lost?

    python -m benchmarks.soak --minutes 10

Uploads run in waves against an emulator in a process of its own: memory, tasks and descriptors that are printed are the
client's alone. Each wave ends in its own way; after each upload every item must have exactly one result. Ends with 1
where an item has none or two, or where a request broke the API's contract.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Any

import psutil

from quartile_async import MASTERLIST, Account, ItemResult, LoginAuth, Outcome, QuartileClient, QuartileError, Upload

from .soak_server import Server, running_server

USERS = 3
WAYS = ("read", "read", "read", "collect", "slowly", "break", "stop", "cancel")


class LostItemError(Exception):
    """An item has no result, or more than one."""


@dataclass(slots=True)
class Figures:
    """What a process holds at one moment."""

    memory_mb: float
    tasks: int
    threads: int
    descriptors: int
    connections: int
    objects: int

    @classmethod
    def now(cls) -> Figures:
        gc.collect()
        process = psutil.Process()
        return cls(
            memory_mb=process.memory_info().rss / 1e6,
            tasks=len(asyncio.all_tasks()),
            threads=threading.active_count(),
            descriptors=process.num_fds(),
            connections=len(process.net_connections("tcp")),
            objects=len(gc.get_objects()),
        )

    def __str__(self) -> str:
        return (
            f"{self.memory_mb:7.1f} MB {self.tasks:3} tasks {self.threads:3} threads {self.descriptors:4} descriptors "
            f"{self.connections:3} connections {self.objects:8} objects"
        )


@dataclass(slots=True)
class Run:
    """What has happened so far."""

    rng: random.Random
    items_per_upload: int
    uploads: int = 0
    items: int = 0
    outcomes: Counter[Outcome] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        outcomes = ", ".join(f"{self.outcomes[each]} {each}" for each in Outcome)
        return f"{self.uploads} uploads, {self.items} items: {outcomes}"


def main() -> int:
    options = _parser().parse_args()
    try:
        asyncio.run(_soak(options))
    except LostItemError as error:
        print(f"FAILED: {error}", file=sys.stderr)
        return 1
    return 0


async def _soak(options: argparse.Namespace) -> None:
    run = Run(random.Random(options.seed), options.items_per_upload)
    with running_server(options.seed, USERS) as server:
        async with QuartileClient(
            subscription_key=server.subscription_key,
            auth=LoginAuth(*server.users[0]),
            base_url=server.url,
            max_tries=8,
            outage_limit=60.0,
        ) as client:
            accounts = [client, *(client.for_account(user[0], auth=LoginAuth(*user)) for user in server.users[1:])]
            await _wave(run, accounts, server)  # warms up
            first = last = Figures.now()
            print_at = time.monotonic()
            ends_at = print_at + options.minutes * 60  # the time before is not the client's
            while time.monotonic() < ends_at:
                await _wave(run, accounts, server)
                if time.monotonic() >= print_at:
                    last = Figures.now()
                    _say(f"{(time.monotonic() - ends_at) / 60 + options.minutes:6.2f} min {last}  {run}")
                    print_at = time.monotonic() + options.every
            last = Figures.now()
    _say(f"first {first}")
    _say(f"last  {last}")
    _say(f"{run}; errors: {dict(run.errors)}")


async def _wave(run: Run, accounts: list[Account], server: Server) -> None:
    """Some uploads at once; then the server forgets them, so that its process does not grow."""
    await asyncio.gather(*(_one(run, run.rng.choice(accounts)) for _ in range(run.rng.choice([1, 2, 5]))))
    if violations := server.forget():
        raise LostItemError(f"the contract was broken: {violations}")


async def _one(run: Run, account: Account) -> None:
    way, count = run.rng.choice(WAYS), run.rng.randrange(1, run.items_per_upload)
    first = run.rng.randrange(10**7)
    upload: Upload[Any] = account.upload(MASTERLIST, items(first, count, slow=run.rng.random() < 0.2))
    got: list[ItemResult[Any]] = []
    try:
        await _taken(upload, way, run.rng.randrange(count), got)
    except QuartileError as error:
        run.errors[type(error).__name__] += 1
        got = error.results or got
    complete = way in ("read", "collect", "slowly") and not upload.unaccounted
    _check(upload, got, count if complete else upload.progress.read)
    run.uploads += 1
    run.items += len(got)
    run.outcomes.update(result.outcome for result in got)


async def _taken(upload: Upload[Any], way: str, at: int, got: list[ItemResult[Any]]) -> None:
    if way == "collect":
        got += await upload.collect()
    elif way == "cancel":
        reading = asyncio.ensure_future(_read(upload, way, at, got))
        await asyncio.wait([reading], timeout=at / 2_000)
        reading.cancel()
        await asyncio.wait([reading])
        if not reading.cancelled():
            reading.result()
    else:
        await _read(upload, way, at, got)


async def _read(upload: Upload[Any], way: str, at: int, got: list[ItemResult[Any]]) -> None:
    async with upload:
        async for result in upload:
            got.append(result)
            if way == "slowly" and len(got) % 100 == 0:
                await asyncio.sleep(0.02)
            if len(got) == at and way == "break":
                break
            if len(got) == at and way == "stop":
                upload.stop()


def _check(upload: Upload[Any], got: list[ItemResult[Any]], expected: int) -> None:
    indexes = sorted(result.index for result in (*got, *upload.unaccounted))
    if indexes != list(range(expected)):
        raise LostItemError(f"{expected} items were read, and {len(set(indexes))} of them have {len(indexes)} results")


def items(first: int, count: int, *, slow: bool) -> Any:
    """Items to upload; now and then an invalid one, or one that the server refuses."""
    return _slowly(first, count) if slow else _at_once(first, count)


def _at_once(first: int, count: int) -> Iterator[Any]:
    for number in range(first, first + count):
        yield {"asin": f"B0{number:08d}", "countryCode": "US", "percACoS": 0.5 if number % 997 == 0 else 25.0}


async def _slowly(first: int, count: int) -> AsyncIterator[Any]:
    for number, item in enumerate(_at_once(first, count)):
        if number % 500 == 0:
            await asyncio.sleep(0.05)
        yield item


def _say(line: str) -> None:
    print(line, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--every", type=float, default=10.0, help="seconds between two lines (default: 10)")
    parser.add_argument("--items-per-upload", type=int, default=5_000, help="at most (default: 5000)")
    parser.add_argument("--seed", type=int, default=0)
    return parser


if __name__ == "__main__":
    sys.exit(main())
