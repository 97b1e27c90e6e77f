"""An upload whose process is killed, or stopped for longer than its lease, and another process that takes over."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from asyncio.subprocess import Process
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic_core import from_json

from quartile_async.emulator import Fault, Request, ThreadedEmulator

from .server import RedisServer

LEASE, ITEMS = 1.0, 6_000

WORKER = """
import asyncio, sys
from pydantic_core import to_json
from quartile_async import MASTERLIST, JournalError, QuartileClient
from quartile_async.redis import RedisJournal

items = [{"asin": f"B0{n:08d}", "countryCode": "US", "percACoS": 1.0 + n} for n in range(int(sys.argv[5]))]

async def main(url, key, token, redis, count, lease, wait, results):
    journal = RedisJournal(redis, "catalogue", lease=float(lease), wait=float(wait))
    async with QuartileClient(subscription_key=key, auth=token, base_url=url, max_in_flight=8) as client:
        upload = client.upload(MASTERLIST, items, journal=journal)
        with open(results, "wb", buffering=0) as file:
            try:
                async for r in upload:
                    file.write(to_json((r.index, r.outcome, r.id, r.batch_id, r.resent, r.replayed)) + b"\\n")
            except JournalError as error:
                left = [(r.index, r.batch_id, r.not_sent) for r in error.unaccounted]
                file.write(to_json({"error": str(error), "read": upload.progress.read, "left": left}) + b"\\n")
                sys.exit(3)

asyncio.run(main(*sys.argv[1:]))
"""


class Stage:
    """A server that lives on, one Redis, and the processes of one upload, each known by the token that it sends."""

    def __init__(self, emulator: ThreadedEmulator, redis: RedisServer, folder: Path) -> None:
        self.emulator = emulator
        self.redis = redis
        self._folder = folder
        self.processes: list[Process] = []

    async def start(self, name: str, *, wait: float = 0.0) -> Process:
        self.emulator.add_user(name, "password")
        token = self.emulator.issue_token(user=name)
        secrets = (self.emulator.url, self.emulator.subscription_key, token, self.redis.url)
        arguments = (*secrets, str(ITEMS), str(LEASE), str(wait), str(self._folder / name))
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", WORKER, *arguments)
        self.processes.append(process)
        return process

    def submits(self, name: str) -> int:
        return sum(each.kind == "submit" and each.user == name for each in self.emulator.requests)

    def told(self, name: str) -> list[Any]:
        return [from_json(line) for line in (self._folder / name).read_bytes().splitlines()]

    def check_whole(self, name: str) -> None:
        """It has told a success for each item."""
        told = self.told(name)
        assert sorted(each[0] for each in told) == list(range(ITEMS))
        assert Counter(each[1] for each in told) == {"succeeded": ITEMS}
        batches = {batch.id: batch for batch in self.emulator.batches}
        for index, _, _, batch_id, *_ in told:
            assert any(item["percACoS"] == 1.0 + index for item in batches[batch_id].items)

    def journal(self) -> bytes:
        """How it stands in Redis: who has it, until when, how many records it has, when it was last written."""
        return self.redis.say("HGETALL", "quartile:journal:{catalogue}")


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.005)


@pytest.fixture
def threaded() -> Iterator[ThreadedEmulator]:
    with ThreadedEmulator(processing=0.2, submit_latency=0.02) as emulator:
        yield emulator
        assert emulator.violations == []


@pytest.fixture
async def stage(server: RedisServer, threaded: ThreadedEmulator, tmp_path: Path) -> AsyncIterator[Stage]:
    stage = Stage(threaded, server, tmp_path)
    yield stage
    for process in stage.processes:
        if process.returncode is None:
            process.kill()
            await process.wait()


@pytest.mark.slow
async def test_what_a_killed_process_had_begun_another_one_goes_on_with(stage: Stage) -> None:
    first = await stage.start("first")
    await until(lambda: stage.submits("first") > 20)
    first.kill()
    second = await stage.start("second", wait=10.0)
    assert await second.wait() == 0

    stage.check_whole("second")
    twice = stage.emulator.items_received - ITEMS
    told = stage.told("second")
    assert 0 <= twice <= 8 * 100
    assert sum(resent for *_, resent, _ in told) >= twice, "what was sent twice says so"
    assert any(replayed for *_, replayed in told)


@pytest.mark.parametrize("tries", [pytest.param("first", marks=pytest.mark.slow), "further"])
async def test_a_process_that_was_stopped_for_longer_than_its_lease_writes_and_submits_nothing_once_it_goes_on(
    stage: Stage, tries: str
) -> None:
    """`further`: of those it was about to make, all are overdue when it goes on."""

    def is_of_the_first(request: Request) -> bool:
        return request.headers["Authorization"] == tokens[0]

    tokens: list[str] = []

    def remember(request: Request) -> Fault | None:
        tokens.append(request.headers["Authorization"])
        return None

    stage.emulator.add(remember)
    if tries == "further":
        stage.emulator.add(
            Fault(on="submit", when=is_of_the_first, after=20, times=None, status=503, headers={"Retry-After": "1"})
        )
    first = await stage.start("first")
    await until(lambda: stage.submits("first") > 25)
    os.kill(first.pid, signal.SIGSTOP)
    second = await stage.start("second", wait=30.0)
    await until(lambda: stage.submits("second") > 3)
    os.kill(second.pid, signal.SIGSTOP)
    await asyncio.sleep(0.1)  # what is on its way arrives
    submits, before = stage.submits("first"), stage.journal()

    os.kill(first.pid, signal.SIGCONT)
    async with asyncio.timeout(30):
        assert await first.wait() == 3
    # One may have passed its last check at the moment at which it was stopped.
    assert stage.submits("first") <= submits + 1
    assert stage.journal() == before
    os.kill(second.pid, signal.SIGCONT)  # its lease may have run out, too; but nobody has come
    (end,) = [each for each in stage.told("first") if isinstance(each, dict)]
    assert "taken over by another upload" in end["error"]
    told = [*(each[0] for each in stage.told("first") if isinstance(each, list)), *(each[0] for each in end["left"])]
    assert sorted(told) == list(range(end["read"])), "every item that it had read is accounted for"

    assert await second.wait() == 0
    stage.check_whole("second")


@pytest.mark.slow
async def test_only_one_of_many_that_come_at_once_takes_over(stage: Stage) -> None:
    first = await stage.start("first")
    await until(lambda: stage.submits("first") > 20)
    first.kill()
    names = ["a", "b", "c", "d"]
    others = [await stage.start(name, wait=60.0) for name in names]
    assert [await each.wait() for each in others] == [0] * 4

    for name in names:
        stage.check_whole(name)
    assert stage.emulator.items_received <= ITEMS + 8 * 100
    assert sum(stage.submits(name) > 0 for name in names) == 1, "the others have replayed it"
    assert b"fence\r\n$1\r\n5\r\n" in stage.journal()
