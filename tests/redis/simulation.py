"""Many clients and one Redis in virtual time: their shares as they are, the scripts as they are, fakeredis below.

python -m tests.redis.simulation --seeds 5000
python -m tests.redis.simulation --seed 4711
"""

from __future__ import annotations

import asyncio
import itertools
import random
import signal
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

import fakeredis

from quartile_async._shared.connection import COMMAND_SECONDS, Link, UnreachableError, text_of
from quartile_async._shared.rate import Rate
from quartile_async._shared.scripts import RESERVE, Keys
from quartile_async._shared.share import RedisShare
from quartile_async._shared.terms import Membership, Terms

from ..simulation.seeds import run_seeds
from ..simulation.virtual import EPOCH, run_virtually

KEYS = Keys("a subscription key")


def now() -> float:
    return asyncio.get_running_loop().time()


@dataclass
class Redis:
    """What all clients talk to.

    Attributes:
        dead: from when to when nobody reaches it.
        loses: when it loses all that it holds; None: never.
        lost_share: of the commands that are lost on their way, and of the answers.
        booked: the times that were given out, in the order of giving.
        most_leases: that were there at once.
    """

    rng: random.Random
    latency: float
    lost_share: float = 0.0
    dead: tuple[float, float] = (0.0, 0.0)
    loses: float | None = None
    booked: list[float] = field(default_factory=list)
    most_leases: int = 0
    commands: int = 0
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.client = fakeredis.FakeRedis(server=fakeredis.FakeServer(version=(7,)))
        self.has_lost = False

    @property
    def is_dead(self) -> bool:
        return self.dead[0] <= now() < self.dead[1]

    def execute(self, words: tuple[Any, ...]) -> Any:
        self.commands += 1
        answer = self.client.execute_command(*words)
        self.most_leases = max(self.most_leases, int(self.client.zcard(KEYS.all[2])))
        if words[0] in ("EVALSHA", "EVAL") and words[1] in (RESERVE.digest, RESERVE.text):
            self.booked += [now() + int(wait) / 1e6 for wait in answer[2:]]
        self.tell()
        return answer

    def tell(self) -> None:
        """Wakes those who read."""
        self.changed.set()
        self.changed = asyncio.Event()


class VirtualLink(Link):
    """A connection that takes its time, and may lose what it carries."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._now = now  # type: ignore[assignment]  # the same
        self._failed_at = None
        self.lost_for = 0.0
        self.name = "redis://virtual"
        self.is_cut = False

    async def command(self, *words: Any, seconds: float = COMMAND_SECONDS) -> Any:
        rng = self._redis.rng
        await asyncio.sleep(rng.uniform(0.0, self._redis.latency))
        is_lost = self._redis.is_dead or rng.random() < self._redis.lost_share
        answer = None if is_lost else self._redis.execute(words)
        await asyncio.sleep(rng.uniform(0.0, self._redis.latency))
        if is_lost or rng.random() < self._redis.lost_share:
            await asyncio.sleep(rng.choice([0.0, seconds]))
            self._has_failed()
            raise UnreachableError("lost")
        self._has_worked()
        return answer

    async def read(self, streams: Mapping[str, str], seconds: float) -> list[tuple[str, str, dict[str, str]]]:
        give_up_at = now() + seconds
        had_lost = self._redis.has_lost
        while True:
            changed = self._redis.changed
            if self._redis.is_dead or self._redis.has_lost != had_lost:  # a restart breaks connections
                await asyncio.sleep(self._redis.latency)
                self._has_failed()
                raise UnreachableError("lost")
            found = [
                (stream, text_of(name), {text_of(k): text_of(v) for k, v in fields.items()})
                for stream, after in streams.items()
                for name, fields in self._redis.client.xrange(stream, min=f"({after}", max="+")
            ]
            if found or now() >= give_up_at - 1e-4:  # the virtual clock counts in small steps
                await asyncio.sleep(self._redis.rng.uniform(0.0, self._redis.latency))
                return found
            try:
                async with asyncio.timeout_at(give_up_at):
                    await changed.wait()
            except TimeoutError:
                continue

    async def aclose(self) -> None:
        pass


@dataclass
class Client:
    """One process: batches that each take a lease and some requests."""

    share: RedisShare
    starts: float
    dies: float | None
    batches: int
    at_once: int
    requests: int
    seconds: float
    used: list[float] = field(default_factory=list)
    closed_until: float = 0.0
    in_flight: int = 0
    done: int = 0
    ended: float | None = None

    async def run(self, world: World) -> None:
        await asyncio.sleep(self.starts)
        try:
            async with asyncio.timeout_at(None if self.dies is None else max(self.dies, self.starts)):
                left = iter(range(self.batches))
                await asyncio.gather(*(self._batches(left, world) for _ in range(self.at_once)))
                await self.share.aclose()
                self.ended = now()
        except TimeoutError:
            await self.share._work.aclose()  # killed: it says nothing to anybody
            self.ended = now()
            world.in_flight -= self.in_flight
            self.in_flight = 0

    async def _batches(self, left: Iterator[int], world: World) -> None:
        for _ in left:
            borrower = object()
            await self.share.take(borrower)
            self._count(world, 1)
            try:
                for _ in range(self.requests):
                    await self._request(world)
                    await asyncio.sleep(world.rng.uniform(0.0, self.seconds))
                self.done += 1
                self.share.give_back(borrower)
            finally:
                if not self.share._work.is_over and asyncio.current_task().cancelling() == 0:
                    self._count(world, -1)

    def _count(self, world: World, change: int) -> None:
        self.in_flight += change
        world.in_flight += change
        world.most_in_flight = max(world.most_in_flight, world.in_flight)

    async def _request(self, world: World) -> None:
        until = -1.0
        while now() > until or now() < self.closed_until:
            if now() < self.closed_until:
                await asyncio.sleep(self.closed_until - now() + world.rng.uniform(0.0, 0.5))
            until = await self.share.admission()
        self.used.append(now())


@dataclass
class World:
    """Everything that a seed decides, and what came of it."""

    seed: int
    rng: random.Random
    terms: Terms
    redis: Redis
    clients: list[Client] = field(default_factory=list)
    closings: list[tuple[float, float]] = field(default_factory=list)
    told: list[tuple[Client, float, float]] = field(default_factory=list)
    in_flight: int = 0
    most_in_flight: int = 0

    @property
    def is_troubled(self) -> bool:
        """Whether leases may run out, or are lost, while their holders live."""
        return self.redis.loses is not None or self.redis.dead[1] > 0.0 or self.redis.lost_share > 0.0

    async def live(self) -> None:
        beside = [asyncio.ensure_future(each) for each in (self._close_gates(), self._lose())]
        await asyncio.gather(*(client.run(self) for client in self.clients))
        for each in beside:
            each.cancel()
        await asyncio.wait(beside)

    async def _lose(self) -> None:
        if self.redis.loses is not None:
            await asyncio.sleep(self.redis.loses)
            self.redis.client.flushall()
            self.redis.has_lost = True
            self.redis.tell()

    async def _close_gates(self) -> None:
        for at, seconds in self.closings:
            await asyncio.sleep(max(0.0, at - now()))
            client = self.rng.choice(self.clients)
            if not client.share._work.is_over:
                client.closed_until = max(client.closed_until, now() + seconds)
                client.share.gate_closed(seconds)
                self.told.append((client, now(), seconds))


def drawn(seed: int) -> World:
    rng = random.Random(seed)
    rate = Rate(rng.choice([1, 2, 3, 7, 10, 25, 60, 200]), rng.choice([0.5, 1.0, 5.0, 10.0]))
    redis = Redis(rng, rng.choice([0.0, 0.001, 0.02]), rng.choice([0.0, 0.0, 0.0, 0.03]))
    terms = Terms(rate, rng.choice([1, 2, 5, 8]), rng.choice([2.0, 5.0, 30.0]))
    if rng.random() < 0.2:
        start = rng.uniform(0.0, 20.0)
        redis.dead = (start, start + rng.uniform(0.1, terms.lease * 0.4))
    if rng.random() < 0.2:
        redis.loses = rng.uniform(0.0, 20.0)
    world = World(seed, rng, terms, redis)
    for _ in range(rng.choice([1, 2, 3, 6])):
        world.clients.append(_client(rng, terms, redis))
    if rng.random() < 0.3:
        world.closings = sorted(
            (rng.uniform(0.0, 30.0), rng.choice([0.5, 3.0, 20.0])) for _ in range(rng.choice([1, 3]))
        )
    return world


def _client(rng: random.Random, terms: Terms, redis: Redis) -> Client:
    client: Client

    def closed_elsewhere(seconds: float) -> None:
        client.closed_until = max(client.closed_until, now() + seconds)

    assert terms.rate is not None
    is_slow = terms.rate.requests < terms.rate.seconds  # else it would take hours
    share = RedisShare(Membership(VirtualLink(redis), KEYS, terms, closed_elsewhere))
    client = Client(
        share,
        starts=rng.choice([0.0, 0.0, rng.uniform(0.0, 10.0)]),
        dies=rng.uniform(0.0, 20.0) if rng.random() < 0.2 else None,
        batches=1 if is_slow else rng.choice([1, 2, 8]),
        at_once=rng.choice([1, 3, 8]),
        requests=rng.choice([1, 2, 4]),
        seconds=rng.choice([0.0, 0.05, 2.0]),
    )
    return client


def check(world: World) -> None:
    """Raises AssertionError where a promise is broken."""
    rate, loses = world.terms.rate, world.redis.loses is not None
    assert rate is not None
    for client in world.clients:
        assert client.dies is not None or client.done == client.batches, "work is left undone"
    booked = world.redis.booked
    used = sorted(at for client in world.clients for at in client.used)
    assert len(used) <= len(booked)
    if not loses:
        assert all(first <= second + 1e-5 for first, second in itertools.pairwise(booked)), "times are ascending"
        _check_windows(booked, rate.requests, rate.seconds)
        _check_windows(booked, rate.burst, rate.spread)
    near = 4 * world.redis.latency <= rate.seconds * 0.05
    if near:
        # Whoever comes new to a Redis that has lost all, before those who know it, brings a burst of its own; and what
        # was given before, and not used yet, may be another one.
        _check_windows(used, int(rate.requests * 1.2) + (2 * rate.burst if loses else 0), rate.seconds)
    if not world.is_troubled:
        assert world.most_in_flight <= world.terms.max_in_flight
        assert world.redis.most_leases <= world.terms.max_in_flight
    _check_gates(world)
    _check_what_is_left(world)


def _check_windows(times: list[float], most: int, seconds: float) -> None:
    for first, last in zip(times, itertools.islice(times, most, None), strict=False):
        assert last - first >= seconds - 1e-5, f"more than {most} in {seconds} s, from {first} on"


def _check_gates(world: World) -> None:
    """Those who are there hear of a closed gate at once, and nobody is given a time before it opens."""
    if world.is_troubled:
        return
    for teller, at, seconds in world.told:
        known = at + 6 * world.redis.latency + 0.001
        early = [used for client in world.clients for used in client.used if known < used < at + seconds - 0.001]
        survived = teller.ended is None or teller.ended > known
        assert not early or not survived, f"closed from {at} for {seconds} s: {early[:3]}"


def _check_what_is_left(world: World) -> None:
    died = {client.share._membership.process for client in world.clients if client.dies is not None}
    left = [
        text_of(each)
        for key in (KEYS.all[2], KEYS.all[3], KEYS.all[4])
        for each in world.redis.client.zrange(key, 0, -1)
    ]
    if not world.is_troubled:
        assert {each.partition(":")[0] for each in left} <= died, left


def simulated(seed: int) -> World:
    """Lives through the world of a seed and checks it."""

    async def lived() -> World:
        world = drawn(seed)
        await world.live()
        return world

    def wall_clock() -> float:
        try:
            return EPOCH + now()
        except RuntimeError:  # where no loop runs
            return EPOCH

    def too_long(*_: object) -> None:
        raise AssertionError("virtual time stands still")

    random.seed(seed)
    signal.signal(signal.SIGALRM, too_long)
    signal.alarm(60)
    with mock.patch("time.time", wall_clock):
        world = run_virtually(lived)
    signal.alarm(0)
    check(world)
    return world


def _told(world: World) -> str:
    return f"{world.redis.commands} commands"


if __name__ == "__main__":
    sys.exit(run_seeds("tests.redis.simulation", __doc__, simulated, _told))
