"""Machines that go on with one another's upload, by one journal in Redis: they die, stand still and go on again.

Each has an event loop of its own, and stops between any two turns of it; what it has sent is on its way all the
same, and may come late. The journal, its scripts and the client are as they are; fakeredis and the emulator's logic
are below.

python -m tests.redis.journal_simulation --seeds 5000
python -m tests.redis.journal_simulation --seed 4711
"""

from __future__ import annotations

import asyncio
import math
import random
import signal
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

import fakeredis
import redis.asyncio
from multidict import CIMultiDict
from redis.exceptions import ConnectionError as RedisConnectionError

from quartile_async import MASTERLIST, ItemResult, JournalError, QuartileClient, TransportError
from quartile_async._answers import Answer
from quartile_async._http import TimedOutError
from quartile_async._shared.connection import WITHOUT_METADATA
from quartile_async._shared.scripts import journal_keys
from quartile_async.emulator import Emulator, Fault, Lognormal, Request
from quartile_async.redis import RedisJournal

from ..simulation.machines import Machine, Time, live
from ..simulation.seeds import run_seeds

NAME = "catalogue"
META, *PARTS = journal_keys(NAME)
INTENDED = PARTS[1]

LONGEST = 3 * 24 * 3600.0

PATIENT = 600.0
"""Seconds for which a machine waits for the journal; then it tries anew."""


@dataclass
class Redis:
    """What all machines talk to, and who may write there.

    Attributes:
        latency: seconds that a command takes, and its answer, at most.
        late_share: of the commands that come seconds late, wherever the sender is by then.
        lost_share: of the commands that are lost on their way, and of the answers.
        away: from when to when nobody reaches it.
        loses: when it goes back to how it stood some seconds before; and these.
        holder: who took hold last; everybody else is fenced.
        fences: how often somebody took hold.
        wrongs: what was written by somebody else.
    """

    clock: Time
    rng: random.Random
    latency: float
    late_share: float = 0.0
    lost_share: float = 0.0
    away: tuple[float, float] = (0.0, 0.0)
    loses: tuple[float, float] | None = None
    holder: str = ""
    fences: int = 0
    commands: int = 0
    wrongs: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.store = fakeredis.FakeRedis(server=fakeredis.FakeServer(version=(7,)))
        if self.loses is not None:
            at, back = self.loses
            self.clock.after(max(0.0, at - back), self._remember)
            self.clock.after(at, self._go_back)

    @property
    def is_away(self) -> bool:
        return self.away[0] <= self.clock.now < self.away[1]

    @property
    def is_reliable(self) -> bool:
        return not (self.late_share or self.lost_share or self.away[1] or self.loses)

    def delay(self) -> float:
        return self.rng.uniform(0.0, self.latency)

    def execute(self, words: tuple[Any, ...]) -> Any:
        """Does it, and looks at who has changed what."""
        self.commands += 1
        fence, before = self._fence(), self._content()
        try:
            answer: Any = self.store.execute_command(*words)
        except Exception as error:  # noqa: BLE001  # it is the answer
            return error
        if self._fence() != fence:
            self.holder, self.fences = _holder_in(words), self.fences + 1
        elif self._content() != before and _holder_in(words) != self.holder:
            self.wrongs.append(f"{_holder_in(words)} has written at {self.clock.now}, and {self.holder} had it")
        return answer

    def _fence(self) -> Any:
        return self.store.hget(META, "fence")

    def _content(self) -> tuple[Any, ...]:
        sizes = (self.store.zcard(part) if part == INTENDED else self.store.hlen(part) for part in PARTS)
        return self.store.hmget(META, "seq", "finished", "holder", "until"), *sizes

    def _remember(self) -> None:
        self._old = {key: self._dump(key) for key in (META, *PARTS)}

    def _go_back(self) -> None:
        self.store.flushall()
        for key, content in self._old.items():
            if isinstance(content, dict):
                self.store.hset(key, mapping=content)
            elif content:
                self.store.zadd(key, dict.fromkeys(content, 0))
        self.holder = (self.store.hget(META, "holder") or b"").decode()

    def _dump(self, key: str) -> Any:
        kind = self.store.type(key)
        return self.store.hgetall(key) if kind == b"hash" else self.store.zrange(key, 0, -1) if kind == b"zset" else []


def _holder_in(words: tuple[Any, ...]) -> str:
    """The first argument of a journal's script."""
    return str(words[3 + len(PARTS) + 1]) if str(words[0]).startswith("EVAL") else ""


class VirtualClient(redis.asyncio.Redis):
    """One machine's client of redis-py: a command arrives and comes back by itself."""

    def __init__(self, redis: Redis, rng: random.Random) -> None:
        super().__init__(**WITHOUT_METADATA)
        self._redis = redis
        self._rng = rng
        self.is_cut = False

    async def execute_command(self, *words: Any, **options: Any) -> Any:
        redis, clock = self._redis, self._redis.clock
        if self.is_cut or redis.is_away:
            await asyncio.sleep(self._rng.choice([0.0, 0.01, 5.0]))
            raise RedisConnectionError("nobody listens")
        answer = _Answer()
        is_lost = self._rng.random() < redis.lost_share
        late = self._rng.uniform(0.5, 8.0) if self._rng.random() < redis.late_share else 0.0

        def arrives() -> None:
            said: Any = RedisConnectionError("the connection was lost")
            if not is_lost and not redis.is_away:
                done = redis.execute(words)
                said = said if self._rng.random() < redis.lost_share else done
            clock.after(redis.delay(), lambda: answer.comes(said))

        clock.after(redis.delay() + late, arrives)
        said = await answer.future
        if isinstance(said, Exception):
            raise said
        return said


class Wires:
    """How one machine reaches the server; stands in for `quartile_async._http.Http`."""

    base_url = "http://127.0.0.1:1"

    def __init__(self, world: World, rng: random.Random) -> None:
        self.world = world
        self.rng = rng
        self.client = VirtualClient(world.redis, rng)
        self.journal: RedisJournal | None = None

    async def aclose(self) -> None: ...

    async def exchange(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str],
        body: bytes | None = None,
        goes_out: Callable[[], object] = lambda: None,
    ) -> Answer:
        world = self.world
        if self.client.is_cut:
            raise TransportError("nobody listens")
        if self.rng.random() < world.slow_connects:
            await asyncio.sleep(self.rng.uniform(0.0, 2.0 * world.lease))
        goes_out()
        if body is not None:
            world.note_submit(self)
        answer = _Answer()
        request = Request(method, path, CIMultiDict({**world.headers, **headers}), body or b"")
        world.clock.after(self.rng.uniform(0.001, 0.02), lambda: world.serve(request, answer))
        try:
            async with asyncio.timeout(30.0):
                said: Answer = await answer.future
        except TimeoutError:
            raise TimedOutError("the time ran out", may_have_been_sent=body is not None) from None
        return said


class _Answer:
    """Comes to a machine from outside; whoever waited may be gone."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.future: asyncio.Future[Any] = self._loop.create_future()

    def comes(self, said: Any) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon(lambda: None if self.future.done() else self.future.set_result(said))


@dataclass
class Told:
    """What one machine has told: by its run that came to the end, and of how its others ended."""

    results: list[ItemResult[Any]] | None = None
    ends: Counter[str] = field(default_factory=Counter)


@dataclass
class World:
    """Everything that a seed decides, and what came of it.

    Attributes:
        slow_connects: the share of requests that take long to connect.
        wrongs: what went out after somebody else had taken over.
    """

    seed: int
    rng: random.Random
    clock: Time
    redis: Redis
    emulator: Emulator
    items: list[dict[str, Any]]
    lease: float
    max_in_flight: int
    slow_connects: float
    machines: list[Machine] = field(default_factory=list)
    wires: list[Wires] = field(default_factory=list)
    told: dict[str, Told] = field(default_factory=dict)
    submits: int = 0
    wrongs: list[str] = field(default_factory=list)

    @property
    def headers(self) -> dict[str, str]:
        return {"Subscription-Key": self.emulator.subscription_key, "Content-Type": "application/json"}

    def add(self, name: str, stops: dict[int, float], starts: float) -> None:
        wires = Wires(self, random.Random(f"{self.seed}/{name}"))
        self.wires.append(wires)
        self.told[name] = Told()
        self.machines.append(Machine(name, self.clock, lambda: self._work(name, wires, starts), stops))

    def serve(self, request: Request, answer: _Answer) -> None:
        exchange = self.emulator.receive(request)
        reply = exchange.reply

        def told() -> None:
            self.emulator.finish(exchange, delivered=True)
            answer.comes(
                Answer(f"{request.method} {request.path}", reply.status, CIMultiDict(reply.all_headers), reply.body)
            )

        self.clock.after(reply.delay + self.rng.uniform(0.001, 0.02), told)

    def note_submit(self, wires: Wires) -> None:
        """A submit has passed its last check."""
        self.submits += 1
        assert wires.journal is not None
        holder = wires.journal._running.hold._holder
        if holder != self.redis.holder:
            self.wrongs.append(f"{holder} has submitted at {self.clock.now}, and {self.redis.holder} had the journal")

    async def _work(self, name: str, wires: Wires, starts: float) -> None:
        await asyncio.sleep(starts)
        told = self.told[name]
        while told.results is None:
            try:
                told.results = await self._upload(wires)
            except JournalError as error:
                told.ends[_kind_of(error)] += 1
                await asyncio.sleep(wires.rng.uniform(0.0, 2.0 * self.lease))

    async def _upload(self, wires: Wires) -> list[ItemResult[Any]]:
        patience = wires.rng.choice([0.0, self.lease, PATIENT])
        settings: dict[str, Any] = {"lease": self.lease, "wait": PATIENT, "outage_limit": patience}
        journal = wires.journal = RedisJournal(wires.client, NAME, durability="none", **settings)
        client = QuartileClient(
            subscription_key=self.emulator.subscription_key,
            auth=self.emulator.access_token,
            base_url=wires.base_url,
            max_in_flight=self.max_in_flight,
            max_tries=1_000,
            max_retry_time=LONGEST,
        )
        client._transport._http = client._http = wires  # type: ignore[assignment]  # a stand-in
        async with client:
            return await client.upload(MASTERLIST, self.items, journal=journal).collect()


def _kind_of(error: JournalError) -> str:
    words = ("taken over", "in use", "has lost records", "not in Redis any more", "has not done its part", "is damaged")
    return next((each for each in words if each in str(error)), str(error))


def drawn(seed: int) -> World:
    rng, clock = random.Random(seed), Time()
    lease = rng.choice([1.0, 3.0, 15.0])
    redis = Redis(
        clock,
        random.Random(f"{seed}/redis"),
        latency=rng.choice([0.001, 0.02, 0.2]),
        late_share=rng.choice([0.0, 0.0, 0.02]),
        lost_share=rng.choice([0.0, 0.0, 0.03]),
        away=(start := rng.uniform(0.0, 20.0), start + rng.uniform(0.0, 2.0 * lease))
        if rng.random() < 0.2
        else (0.0, 0.0),
        loses=(rng.uniform(1.0, 20.0), rng.choice([0.5, 2.0, 30.0])) if rng.random() < 0.1 else None,
    )
    emulator = Emulator(
        seed=seed,
        processing=rng.choice([0.0, 0.3, Lognormal(1.0, 1.0)]),
        submit_latency=rng.choice([0.0, 0.1]),
        faults=[Fault(on="submit", status=503, share=rng.choice([0.0, 0.2, 0.5]), times=None)],
        clock=lambda: clock.now,
        wall_clock=clock.wall,
    )
    items = [
        {"asin": f"B0{number:08d}", "countryCode": "US", "percACoS": 1.0 + number}
        for number in range(rng.choice([0, 150, 1_000, 3_000, 3_000]))
    ]
    slow = rng.choice([0.0, 0.0, 0.05])
    world = World(seed, rng, clock, redis, emulator, items, lease, rng.choice([1, 3, 8]), slow)
    for number in range(rng.choice([1, 2, 3, 5])):
        stops = {_turn(rng): rng.uniform(0.0, 3.0 * lease) for _ in range(rng.choice([0, 1, 3]))}
        if number and rng.random() < 0.5:
            stops[_turn(rng)] = math.inf
        world.add(f"machine {number}", stops, rng.choice([0.0, rng.uniform(0.0, 10.0)]))
    return world


def _turn(rng: random.Random) -> int:
    """Soon as often as late."""
    return round(10 ** rng.uniform(0.0, 3.3))


def check(world: World) -> None:
    """Raises AssertionError where a promise is broken."""
    assert not world.emulator.violations, world.emulator.violations[:3]
    assert not world.redis.wrongs, world.redis.wrongs[:3]
    if world.redis.loses is None:  # else, that somebody has taken over may be lost
        assert not world.wrongs, world.wrongs[:3]
    survivors = [machine for machine in world.machines if not machine.is_killed]
    for machine in survivors:
        assert not machine.noise, machine.noise
        assert not asyncio.all_tasks(machine.loop)
        _check_results(world, machine)
    _check_what_was_sent_twice(world)
    if world.redis.is_reliable and not any(machine.is_killed or machine.stood_still for machine in world.machines):
        assert world.redis.store.hget(META, "holder") == b"", "it was given back"
        assert world.redis.store.hget(META, "finished")


def _check_results(world: World, machine: Machine) -> None:
    """Each item has one result, which the server bears out, whoever has sent it."""
    assert machine.task.done()
    machine.task.result()
    results = world.told[machine.name].results
    assert results is not None
    assert [result.index for result in results] == list(range(len(world.items)))
    batches = {batch.id: {item["percACoS"] for item in batch.items} for batch in world.emulator.batches}
    for result, item in zip(results, world.items, strict=True):
        assert result.ok, result
        assert result.item is item
        assert item["percACoS"] in batches[result.batch_id or ""], "its batch has another item"


def _check_what_was_sent_twice(world: World) -> None:
    """Only what was under way on a machine that died, stood still or lost the journal; and then the results say so."""
    sent = Counter(item["percACoS"] for batch in world.emulator.batches for item in batch.items)
    assert set(sent) == {item["percACoS"] for item in world.items}
    if world.redis.loses is not None:  # the records of what was sent may be lost
        return
    ends = sum(sum(told.ends.values()) for told in world.told.values())
    stood_still = sum(machine.stood_still for machine in world.machines)
    twice = sum(count - 1 for count in sent.values())
    assert twice <= (ends + stood_still) * world.max_in_flight * 100
    for told in world.told.values():
        for result in told.results or ():
            assert result.resent or sent[1.0 + result.index] == 1, (
                f"item {result.index} was sent twice, and nobody says so"
            )


def simulated(seed: int) -> World:
    """Lives through the world of a seed and checks it."""

    def too_long(*_: object) -> None:
        raise AssertionError("virtual time stands still")

    random.seed(seed)
    signal.signal(signal.SIGALRM, too_long)
    signal.alarm(120)
    world = drawn(seed)
    with warnings.catch_warnings(), mock.patch("time.time", world.clock.wall):
        warnings.simplefilter("error")
        try:
            live(world.clock, world.machines, world.rng, longest=LONGEST)
            check(world)
        finally:
            for machine, wires in zip(world.machines, world.wires, strict=True):
                wires.client.is_cut = True
                machine.bury()
    signal.alarm(0)
    return world


def _told(world: World) -> str:
    ends = sum((told.ends for told in world.told.values()), Counter[str]())
    what = f"{world.redis.commands} commands, {world.submits} submits, taken hold of {world.redis.fences} times"
    return f"{what}, runs that ended otherwise: {dict(ends)}"


if __name__ == "__main__":
    sys.exit(run_seeds("tests.redis.journal_simulation", __doc__, simulated, _told))
