"""`python -m tests.dask.kills`: an upload on a cluster in which everything is killed, but for the server.

python -m tests.dask.kills --kills 12 --items 50000

Workers die, or stand still for longer than their lease; the caller dies, and calls again; Redis dies and comes back
with its file, or does not answer for some seconds.
"""

from __future__ import annotations

import argparse
import itertools
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dask
import distributed
from pydantic_core import from_json

import quartile_async.dask  # noqa: F401  # the scheduler, which is in this process, imports it when it reads a task
from quartile_async.emulator import Fault, Lognormal, ThreadedEmulator

from ..journal.kills import REJECTED_EVERY, catalogue, sent_twice
from ..redis.server import RedisServer

WORKERS, PART_ITEMS, IN_FLIGHT, LEASE = 3, 5_000, 12, 2.0

SHARED_BY_PARTS = 7
"""So many keys of one part are written again in the next one."""

CALL = """
import sys
import distributed
from pydantic_core import to_json
from quartile_async import MASTERLIST, dask as quartile_dask
from tests.dask.kills import IN_FLIGHT, LEASE, PART_ITEMS

scheduler, file, redis, server, results = sys.argv[1:]
with distributed.Client(scheduler) as client, open(results, "ab", buffering=0) as out:
    upload = quartile_dask.upload(
        file, MASTERLIST, journal=(redis, "kills"), dask_client=client, part_items=PART_ITEMS, rate="100000/second",
        max_in_flight=IN_FLIGHT, lease=LEASE, base_url=server,
    )
    for r in upload:
        told = (r.item.line, r.outcome, r.message, r.process, r.id, r.batch_id, r.not_sent, r.resent, r.replayed)
        out.write(to_json(told) + b"\\n")
    ends = upload.summary.parts
    assert all(end.state == "finished" for end in ends), ends
"""


@dataclass
class Tale:
    """What came of it."""

    items: int
    done: Counter[str] = field(default_factory=Counter)
    sent_twice: int = 0
    replayed: int = 0
    calls: list[list[list[Any]]] = field(default_factory=list)

    @property
    def kills(self) -> int:
        return self.done.total()

    def __str__(self) -> str:
        kinds = ", ".join(f"{count} x {kind}" for kind, count in sorted(self.done.items()))
        return (
            f"{self.items} items, {len(self.calls)} calls; {kinds}: {self.sent_twice} batches sent twice, "
            f"{self.replayed} results replayed by the last call"
        )


def items_of(count: int) -> list[dict[str, Any]]:
    """A catalogue in which some keys of a part are written again in the next one."""
    items = catalogue(count)
    for start in range(PART_ITEMS, min(count, 3 * PART_ITEMS), PART_ITEMS):
        for place in range(1, SHARED_BY_PARTS + 1):
            items[start + place]["asin"] = items[start + place - 100]["asin"]
            items[start + place]["countryCode"] = items[start + place - 100]["countryCode"] = "US"
    return items


class Stage:
    """All that there is, and how each of it is killed."""

    def __init__(self, items: int, folder: Path, rng: random.Random) -> None:
        self.folder = folder
        self.rng = rng
        self.items = items_of(items)
        self.results: list[Path] = []
        self._stack = ExitStack()
        self._caller: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Stage:
        enter = self._stack.enter_context
        self.emulator = enter(
            ThreadedEmulator(
                processing=Lognormal(0.3, 0.6),
                submit_latency=0.1,
                fail=lambda item: "It is gone." if item["asin"].endswith("77") else None,
                faults=[Fault(on="poll", status=502, body="<html>a proxy</html>", share=0.02, times=None)],
            )
        )
        self.redis = enter(RedisServer())
        enter(_environment(self.emulator))
        # A worker that stands still counts as dead soon, and what dies often is not taken for what kills its workers.
        enter(dask.config.set({"distributed.scheduler.worker-ttl": "5s", "distributed.scheduler.allowed-failures": 2}))
        self.cluster = enter(
            distributed.LocalCluster(
                n_workers=WORKERS, threads_per_worker=1, processes=True, dashboard_address="127.0.0.1:0"
            )
        )
        self.client = enter(distributed.Client(self.cluster))
        self.file = self.folder / "catalogue.csv"
        lines = (f"{item['asin']},{item['countryCode']},{item['percACoS']}\n" for item in self.items)
        self.file.write_text("".join(("asin,countryCode,percACoS\n", *lines)))
        return self

    def __exit__(self, *error: object) -> None:
        if self._caller is not None and self._caller.poll() is None:
            self._caller.kill()
            self._caller.wait()
        self._stack.__exit__(*error)

    def call(self) -> None:
        self.results.append(self.folder / f"{len(self.results)}.jsonl")
        self.results[-1].touch()
        words = (self.cluster.scheduler_address, self.file, self.redis.url, self.emulator.url, self.results[-1])
        self._caller = subprocess.Popen([sys.executable, "-c", CALL, *map(str, words)])

    def wait(self, seconds: float) -> int | None:
        """How the call ended; None where it goes on."""
        assert self._caller is not None
        try:
            return self._caller.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def kill_a_worker(self) -> None:
        if (process := self._some_worker()) is not None:
            os.kill(process, signal.SIGKILL)

    def stop_a_worker(self) -> None:
        """For longer than its lease, and than the scheduler has patience."""
        if (process := self._some_worker()) is not None:
            os.kill(process, signal.SIGSTOP)
            threading.Timer(self.rng.uniform(LEASE, 8.0), _let_go_on, (process,)).start()

    def kill_the_caller(self) -> None:
        assert self._caller is not None
        self._caller.kill()
        self._caller.wait()
        self.call()

    def kill_redis(self) -> None:
        self.redis.restart(self.rng.uniform(0.0, 1.0))

    def pause_redis(self) -> None:
        self.redis.freeze()
        time.sleep(self.rng.uniform(1.0, 4.0))
        self.redis.thaw()

    def _some_worker(self) -> int | None:
        found = [worker.process.pid for worker in self.cluster.workers.values() if worker.process is not None]
        return self.rng.choice([pid for pid in found if pid]) if any(found) else None


def _let_go_on(process: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(process, signal.SIGCONT)


@contextmanager
def _environment(emulator: ThreadedEmulator) -> Iterator[None]:
    """What workers are started with."""
    said = {
        "QUARTILE_SUBSCRIPTION_KEY": emulator.subscription_key,
        "QUARTILE_ACCESS_TOKEN": emulator.access_token,
    }
    before = {name: os.environ.get(name) for name in said}
    os.environ.update(said)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def killed_again_and_again(*, items: int, kills: int, seed: int, folder: Path) -> Tale:
    """Uploads while something is killed at random moments, until a call comes to its end; then checks what was told.

    Raises:
        AssertionError: a promise was broken.
    """
    rng, tale = random.Random(seed), Tale(items)
    with Stage(items, folder, rng) as stage:
        ways: list[Callable[[], None]] = [
            stage.kill_a_worker,
            stage.kill_the_caller,
            stage.stop_a_worker,
            stage.kill_redis,
            stage.pause_redis,
        ]
        stage.call()
        _wait_for_results(stage)
        for way in itertools.islice(itertools.cycle(rng.sample(ways, len(ways))), kills):
            if (code := stage.wait(rng.uniform(0.1, 2.5))) is not None:
                assert code == 0, f"a call that nobody killed ended with {code}"
                break
            way()
            tale.done[way.__name__] += 1
        code = stage.wait(240.0)
        assert code == 0, f"the last call ended with {code}"
        time.sleep(3.0)  # what was sent twice ends, too
        tale.calls = [_told(path) for path in stage.results]
        _check(tale, stage)
    return tale


def _wait_for_results(stage: Stage) -> None:
    gives_up_at = time.monotonic() + 60
    while not stage.results[0].stat().st_size:
        assert time.monotonic() < gives_up_at, "no result within a minute"
        assert stage.wait(0.05) is None, "the call ended before it told anything"


def _told(path: Path) -> list[list[Any]]:
    return [from_json(line) for line in path.read_bytes().splitlines(keepends=True) if line[-1:] == b"\n"]


def _check(tale: Tale, stage: Stage) -> None:
    *earlier, last = tale.calls
    lines = [told[0] for told in last]
    assert sorted(lines) == list(range(2, len(stage.items) + 2)), "not one result for each item"
    by_line = {told[0]: told for told in last}
    for told in itertools.chain.from_iterable(earlier):
        assert by_line[told[0]][:8] == told[:8], f"told otherwise: {told}, {by_line[told[0]]}"
    assert not any(told[1] == "unknown" for told in last), [told for told in last if told[1] == "unknown"][:3]
    tale.replayed = sum(told[8] for told in last)
    rejected = sum(item["countryCode"] == "XX" for item in stage.items)
    assert Counter(told[1] for told in last)["rejected"] == rejected
    assert rejected >= len(range(0, len(stage.items), REJECTED_EVERY)) - 2 * SHARED_BY_PARTS
    tale.sent_twice = sent_twice(stage.emulator, {line - 2: told for line, told in by_line.items()}, stage.items)
    assert tale.sent_twice <= IN_FLIGHT * tale.kills


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.dask.kills", description=__doc__)
    parser.add_argument("--kills", type=int, default=12)
    parser.add_argument("--items", type=int, default=50_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        tale = killed_again_and_again(items=options.items, kills=options.kills, seed=options.seed, folder=Path(folder))
    print(tale)
    return 0


if __name__ == "__main__":
    sys.exit(main())
