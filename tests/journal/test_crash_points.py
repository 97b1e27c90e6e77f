"""A crash after every single journal write and every single request of small uploads, and what a rerun makes of it."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from quartile_async import MASTERLIST, ItemResult, Outcome, Resource
from quartile_async.emulator import Emulator, Fault

from ..simulation.virtual import EPOCH, run_virtually
from . import machine
from .checks import check_ordeal, check_whole, seen
from .machine import Ordeal, Run

pytestmark = [pytest.mark.usefixtures("disk_on_the_loop"), pytest.mark.slow]

A_WHILE = 40.0
"""Seconds in which the server ends all that it has taken."""

ONCE = Resource[dict[str, Any]]("unmanaged/asins", key="asin", idempotent=False)


def catalogue(count: int, *, keys: int = 1_000_000) -> list[Any]:
    """Items that differ in their target; where there are fewer keys than items, keys repeat."""
    return [{"asin": f"B0{n % keys:08d}", "countryCode": "US", "percACoS": 1.0 + n} for n in range(count)]


def with_flaws() -> list[Any]:
    items = catalogue(150)
    items[3] = {"asin": "B0XXXXXXXX"}
    items[77] = ValueError("a torn record")
    items[120] = None
    return items


@dataclass
class Story:
    """One small upload and its server.

    Attributes:
        leaves_unknown: whether there are items of which nobody can ever learn what became of them.
    """

    items: Callable[[], list[Any]]
    resource: Resource[Any] = MASTERLIST
    server: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    faults: Callable[[], list[Fault]] = list
    pace: float | None = None
    leaves_unknown: bool = False
    retry: Callable[[ItemResult[Any]], bool | float | None] | None = None

    def ordeal(self, folder: Path) -> Ordeal:
        folder.mkdir()
        now = asyncio.get_running_loop().time
        server = {"processing": 0.2, "seed": 1, **self.server}
        if self.retry is not None:
            server["fail"] = _fails_at_first()
        emulator = Emulator(clock=now, wall_clock=lambda: EPOCH + now(), **server)
        for fault in self.faults():
            emulator.add(fault)
        settings = {"max_in_flight": 2, **self.settings}
        faulty = bool(self.faults()) or self.retry is not None
        return Ordeal(emulator, self.resource, self.items(), folder, settings, self.pace, faulty, self.retry)


def _points_at(*places: int) -> dict[str, Any]:
    return {"detail": [{"loc": ["body", place, "asin"], "msg": "no"} for place in places]}


def _fails_at_first() -> Callable[[dict[str, Any]], str | None]:
    """Every fifth item fails once, every seventh always."""
    tries: Counter[float] = Counter()

    def fail(item: dict[str, Any]) -> str | None:
        mark = item["percACoS"]
        tries[mark] += 1
        return "It is busy." if mark % 7 == 0 or (mark % 5 == 0 and tries[mark] == 1) else None

    return fail


STORIES = {
    "plain": Story(lambda: catalogue(250)),
    "one at a time": Story(lambda: catalogue(250), settings={"max_in_flight": 1}),
    "repeated keys": Story(lambda: catalogue(120, keys=45)),
    "one key": Story(lambda: catalogue(9, keys=1)),
    "flaws": Story(with_flaws, server={"fail": lambda item: "It is gone." if item["asin"].endswith("5") else None}),
    "an input that comes slowly": Story(lambda: catalogue(130), pace=0.01),
    "refused items": Story(
        lambda: catalogue(120),
        faults=lambda: [Fault(on="submit", status=422, body=_points_at(0, 7), times=2)],
        leaves_unknown=True,
    ),
    "halved": Story(lambda: catalogue(100), faults=lambda: [Fault(on="submit", status=413, times=3)]),
    "lost answers": Story(
        lambda: catalogue(150), faults=lambda: [Fault(on="submit", drop="after", times=2)], server={"processing": 0.0}
    ),
    "lost answers, then refused": Story(
        lambda: catalogue(100),
        faults=lambda: [
            Fault(on="submit", drop="after", times=1),
            Fault(on="submit", status=422, body=_points_at(5), times=1),
        ],
        leaves_unknown=True,
        server={"processing": 0.0},
    ),
    "not to be sent again": Story(
        lambda: catalogue(150),
        resource=ONCE,
        leaves_unknown=True,
        faults=lambda: [Fault(on="submit", drop="after", after=1, times=1)],
    ),
    "refused for a reason that nobody knows": Story(
        leaves_unknown=True,
        items=lambda: catalogue(150, keys=60),
        faults=lambda: [Fault(on="submit", status=400, body={"detail": "no"}, times=1)],
    ),
    "ends that cannot be used": Story(
        lambda: catalogue(120),
        faults=lambda: [Fault(on="poll", rewrite=lambda told: {**told, "batchId": "f" * 24}, times=8)],
        leaves_unknown=True,
    ),
    "sent again": Story(lambda: catalogue(250), retry=lambda result: True),
    "sent again a little later": Story(lambda: catalogue(220, keys=150), retry=lambda result: 0.5),
    "given up": Story(lambda: catalogue(120, keys=80), server={"processing": 30.0}, settings={"batch_deadline": 3.0}),
}


async def _goes_on_to_its_end(ordeal: Ordeal) -> Run:
    """Runs until nothing more can be learned: what was not sent is sent, and what was given up is asked for."""
    run = await ordeal.run()
    for _ in range(3):
        if not any(map(_is_unknown, run.results)):
            break
        await asyncio.sleep(A_WHILE)
        run = await ordeal.run()
    await asyncio.sleep(A_WHILE)
    check_whole(run, ordeal.items)
    check_ordeal(ordeal)
    return run


@pytest.mark.parametrize("name", STORIES)
def test_after_a_crash_at_any_point_a_rerun_gives_each_item_its_one_result(name: str, tmp_path: Path) -> None:
    story = STORIES[name]

    async def main() -> None:
        undisturbed = story.ordeal(tmp_path / "undisturbed")
        run = await undisturbed.run()
        check_whole(run, undisturbed.items)
        await asyncio.sleep(A_WHILE)
        check_ordeal(undisturbed)
        points = len(run.history)
        assert points > 10
        for point in range(1, points + 1):
            ordeal = story.ordeal(tmp_path / f"{point}")
            first = await ordeal.run(dies_after=point)
            assert first.died
            whole = await _goes_on_to_its_end(ordeal)
            _check_sent_twice(ordeal, first)
            await _check_replay(ordeal, whole)
            assert story.leaves_unknown or not any(map(_is_unknown, whole.results))
            assert not any(result.not_sent and _is_unknown(result) for result in whole.results)

    run_virtually(main)


def _is_unknown(result: ItemResult[Any]) -> bool:
    """Not what a newer write of its key has made needless."""
    return result.outcome is Outcome.UNKNOWN and "has taken its place" not in result.message


def _check_sent_twice(ordeal: Ordeal, died: Run) -> None:
    """At most what was on the wire at the moment of death."""
    if ordeal.faulty:
        return  # there, answers are lost without a death as well
    begun = sum(request.method == "PATCH" for request in died.requests)
    known = sum(what.count("Taken") for what in died.history)
    twice = len(ordeal.emulator.batches) - len({batch.items[0]["percACoS"] for batch in ordeal.emulator.batches})
    assert twice <= begun - known <= ordeal.settings["max_in_flight"]


async def _check_replay(ordeal: Ordeal, whole: Run) -> None:
    """Once all is known, the next run sends nothing and tells the same."""
    if any(result.outcome is Outcome.UNKNOWN for result in whole.results):
        return
    again = await ordeal.run()
    assert not again.requests
    assert sorted(map(seen, again.results)) == sorted(map(seen, whole.results))
    assert all(result.replayed for result in again.results)


@pytest.mark.parametrize(
    "name", ["plain", "repeated keys", "lost answers, then refused", "given up", "sent again a little later"]
)
def test_machines_that_die_one_after_the_other_lose_nothing(name: str, tmp_path: Path) -> None:
    story = STORIES[name]

    async def main() -> None:
        rng = random.Random(name)
        for number in range(40):
            ordeal = story.ordeal(tmp_path / f"{number}")
            for _ in range(rng.randrange(2, 7)):
                if not (await ordeal.run(dies_after=rng.randrange(1, 30))).died:
                    break
            await _goes_on_to_its_end(ordeal)

    run_virtually(main)


def test_the_deadline_of_a_batch_counts_from_when_it_was_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not from when its id is durable, which may take its time."""
    monkeypatch.setattr(machine, "COMMIT", 1.0)
    story = Story(lambda: catalogue(50), server={"processing": 1_000.0}, settings={"batch_deadline": 3.0})

    async def main() -> None:
        ordeal, began = story.ordeal(tmp_path / "one"), asyncio.get_running_loop().time()
        run = await ordeal.run()
        assert all(map(_is_unknown, run.results))
        # A second to write that it is about to go, three from then on, and one to write the results.
        assert 5.0 <= asyncio.get_running_loop().time() - began < 5.5

    run_virtually(main)
