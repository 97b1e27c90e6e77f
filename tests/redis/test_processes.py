"""Eight processes that share a quota: killed, stopped and continued, started late, and with a Redis that restarts."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import sys
from asyncio.subprocess import Process
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from pydantic_core import from_json
from redis.exceptions import RedisError

from quartile_async._shared.connection import client_of
from quartile_async._shared.rate import Rate
from quartile_async._shared.scripts import Keys
from quartile_async.emulator import ThreadedEmulator

from .server import RedisServer

RATE = Rate(120, 2.0)
LIMIT = 12
LEASE = 1.0
BATCHES = 12

WORKER = f"""
import asyncio, sys
from pydantic_core import to_json
from quartile_async import MASTERLIST, QuartileClient
from quartile_async.redis import RedisQuota

async def main(url, key, token, redis, name, results, batches) -> None:
    quota = RedisQuota(redis, rate="{RATE.requests}/{RATE.seconds:g} seconds", max_in_flight={LIMIT}, lease={LEASE})
    items = [
        {{"asin": f"B{{name}}{{n:08d}}", "countryCode": "US", "percACoS": 1.0 + n}} for n in range(int(batches) * 100)
    ]
    settings = {{"subscription_key": key, "auth": token, "base_url": url, "max_in_flight": 6, "quota": quota}}
    async with QuartileClient(**settings) as client:
        with open(results, "wb", buffering=0) as file:
            async for result in client.upload(MASTERLIST, items, journal=results + ".journal"):
                file.write(to_json((result.index, result.outcome)) + b"\\n")

print("ready", flush=True)
sys.stdin.readline()
asyncio.run(main(*sys.argv[1:]))
"""

pytestmark = pytest.mark.slow


class Crowd:
    """Processes that upload, each its own items with its own journal."""

    def __init__(self, emulator: ThreadedEmulator, redis: RedisServer, folder: Path) -> None:
        self.emulator = emulator
        self.redis = redis
        self._folder = folder

    async def start(self, *names: int, batches: int = BATCHES) -> list[Process]:
        """They begin together, once all are ready."""
        processes = await asyncio.gather(*(self.made_ready(name, batches) for name in names))
        self.go(*processes)
        return processes

    def go(self, *processes: Process) -> None:
        for process in processes:
            assert process.stdin is not None
            process.stdin.write(b"go\n")

    async def made_ready(self, name: int, batches: int) -> Process:
        """One that waits for `go`: importing takes longer than some of them live."""
        emulator = self.emulator
        secrets = (emulator.url, emulator.subscription_key, emulator.access_token, self.redis.url)
        arguments = (*secrets, str(name), str(self._folder / f"{name}.jsonl"), str(batches))
        pipes = {"stdin": asyncio.subprocess.PIPE, "stdout": asyncio.subprocess.PIPE}
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", WORKER, *arguments, **pipes)
        assert process.stdout is not None
        assert await process.stdout.readline() == b"ready\n"
        return process

    def check(self, name: int, batches: int = BATCHES) -> None:
        """Its last run has given each item one result."""
        told = [from_json(line) for line in (self._folder / f"{name}.jsonl").read_bytes().splitlines()]
        assert sorted(index for index, _ in told) == list(range(batches * 100))
        assert Counter(outcome for _, outcome in told) == {"succeeded": batches * 100}

    def check_the_server(self, rate: Rate = RATE) -> None:
        """Never more than 1.2 times the rate arrives in any period."""
        arrived = sorted(each.time for each in self.emulator.requests)
        for first, last in zip(arrived, itertools.islice(arrived, int(rate.requests * 1.2), None), strict=False):
            assert last - first >= rate.seconds
        assert self.emulator.violations == []


class Watch:
    """Looks into Redis all the time: the times that were given out, and the leases that are there."""

    def __init__(self, url: str, subscription_key: str) -> None:
        self._url = url
        self._state, self._times, self._leases, *_ = Keys(subscription_key).all
        self.given: dict[int, int] = {}
        self.most_leases = 0

    async def run(self) -> None:
        client = client_of(self._url)
        try:
            while True:
                await self._look(client)
                await asyncio.sleep(0.1)
        finally:
            await client.aclose()

    async def _look(self, client: Any) -> None:
        try:
            async with client.pipeline(transaction=True) as together:
                together.hget(self._state, "admitted").lrange(self._times, 0, -1).zcard(self._leases)
                total, times, leases = await together.execute()
        except (OSError, RedisError):
            return
        for place, each in enumerate(times):
            self.given[int(total) - len(times) + place] = int(each)
        self.most_leases = max(self.most_leases, int(leases))

    def check(self, rate: Rate = RATE) -> None:
        """By Redis's own clock, never more than the rate is given out in any period; and all that was, was seen."""
        assert sorted(self.given) == list(range(len(self.given)))
        given = [self.given[number] for number in sorted(self.given)]
        assert given == sorted(given)
        for first, last in zip(given, itertools.islice(given, rate.requests, None), strict=False):
            assert last - first >= rate.seconds * 1e6 - 1


@asynccontextmanager
async def watched(crowd: Crowd) -> AsyncIterator[Watch]:
    watch = Watch(crowd.redis.url, crowd.emulator.subscription_key)
    looking = asyncio.ensure_future(watch.run())
    try:
        yield watch
        await asyncio.sleep(0.15)
    finally:
        looking.cancel()
        await asyncio.wait([looking])


@pytest.fixture
def crowd(own_server: RedisServer, tmp_path: Path) -> Iterator[Crowd]:
    with ThreadedEmulator(processing=0.2) as emulator:
        yield Crowd(emulator, own_server, tmp_path)


async def ended(processes: Sequence[Process]) -> list[int]:
    async with asyncio.timeout(90):
        return [await process.wait() for process in processes]


async def test_eight_processes_stay_within_rate_and_limit_and_one_that_comes_late_is_not_starved(crowd: Crowd) -> None:
    async with watched(crowd) as watch:
        late = await crowd.made_ready(7, batches=1)
        processes = await crowd.start(*range(7))
        await until_requests(crowd, 60)
        crowd.go(late)
        assert await late.wait() == 0
        assert any(process.returncode is None for process in processes), "a small upload is through before huge ones"
        assert await ended(processes) == [0] * 7
    for name in range(7):
        crowd.check(name)
    crowd.check(7, batches=1)
    watch.check()
    crowd.check_the_server()
    assert watch.most_leases <= LIMIT
    assert crowd.emulator.max_in_flight <= LIMIT


async def until_requests(crowd: Crowd, count: int) -> None:
    async with asyncio.timeout(60):
        while len(crowd.emulator.requests) < count:
            await asyncio.sleep(0.02)


async def test_processes_that_are_killed_or_stopped_for_longer_than_their_leases_harm_nobody(crowd: Crowd) -> None:
    async with watched(crowd) as watch:
        processes = await crowd.start(*range(8))
        await until_requests(crowd, 80)
        for process in processes[:3]:
            process.kill()
        for process in processes[3:5]:
            os.kill(process.pid, signal.SIGSTOP)
        await ended(processes[:3])
        await asyncio.sleep(2.5 * LEASE)
        for process in processes[3:5]:
            os.kill(process.pid, signal.SIGCONT)
        again = await crowd.start(*range(3))
        assert await ended([*processes[3:], *again]) == [0] * 8
    for name in range(8):
        crowd.check(name)
    watch.check()
    crowd.check_the_server()


async def test_a_redis_that_restarts_and_stands_still_loses_nothing(crowd: Crowd) -> None:
    async with watched(crowd) as watch:
        processes = await crowd.start(*range(4))
        await until_requests(crowd, 40)
        await asyncio.to_thread(crowd.redis.restart, 0.3)
        await asyncio.sleep(0.5)
        crowd.redis.say("CLIENT", "PAUSE", "700")
        await asyncio.sleep(1.0)
        crowd.redis.freeze()
        await asyncio.sleep(0.6)
        crowd.redis.thaw()
        assert await ended(processes) == [0] * 4
    for name in range(4):
        crowd.check(name)
    watch.check()
    crowd.check_the_server()
    assert crowd.emulator.max_in_flight <= LIMIT
