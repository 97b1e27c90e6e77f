from __future__ import annotations

import asyncio
import itertools

import pytest

from quartile_async import TransportError
from quartile_async._outage import FIRST_PROBE, LONGEST_BETWEEN_PROBES, Outage, OutageError

in_virtual_time = pytest.mark.looptime


def now() -> float:
    return asyncio.get_running_loop().time()


class Requests:
    """Requests that wait for their turn; keeps when each had it."""

    def __init__(self, outage: Outage) -> None:
        self.outage = outage
        self.turns: list[tuple[str, float]] = []
        self.tasks: dict[str, asyncio.Task[None]] = {}

    async def ask(self, name: str, *, rank: int = 1) -> None:
        self.tasks[name] = asyncio.ensure_future(self._turn(name, rank))
        await asyncio.sleep(0)

    async def _turn(self, name: str, rank: int) -> None:
        await self.outage.turn(name, rank=rank)
        self.turns.append((name, now()))


@in_virtual_time
async def test_while_requests_get_through_nobody_waits() -> None:
    outage = Outage(300.0)
    await outage.turn("a", rank=1)
    outage.got_through()
    await outage.turn("b", rank=1)
    await outage.over()

    assert now() == 0.0
    assert not outage.is_on


@in_virtual_time
async def test_in_an_outage_one_probe_at_a_time_goes_out_at_growing_intervals() -> None:
    outage = Outage(1e6)
    requests = Requests(outage)
    outage.begin("lost", since=0.0)
    for name in "abcdefgh":
        await requests.ask(name)
    for number, name in enumerate("abcdefgh"):
        await requests.tasks[name]
        assert len(requests.turns) == number + 1, "one at a time"
        await asyncio.sleep(0.5)  # the probe fails
        outage.done(name)

    times = [at for _, at in requests.turns]
    assert times[0] == FIRST_PROBE
    gaps = [round(later - earlier - 0.5, 3) for earlier, later in itertools.pairwise(times)]
    assert gaps == [2.0, 4.0, *[LONGEST_BETWEEN_PROBES] * 5]
    outage.close()


@in_virtual_time
async def test_when_a_probe_gets_through_all_go_on_at_once() -> None:
    outage = Outage(300.0)
    requests = Requests(outage)
    outage.begin("lost", since=0.0)
    for name in "abc":
        await requests.ask(name)
    await requests.tasks["a"]
    outage.got_through()
    await asyncio.gather(*requests.tasks.values(), outage.over())

    assert {at for _, at in requests.turns} == {FIRST_PROBE}
    assert not outage.is_on
    assert outage.last_ended == FIRST_PROBE


@in_virtual_time
async def test_the_probe_is_the_request_that_does_the_least_harm() -> None:
    outage = Outage(300.0)
    requests = Requests(outage)
    outage.begin("lost", since=0.0)
    await requests.ask("a submit that may not be sent again", rank=2)
    await requests.ask("a submit", rank=1)
    await requests.ask("a poll", rank=0)
    for _ in range(3):
        await asyncio.sleep(60.0)
        outage.done(requests.turns[-1][0])

    assert [name for name, _ in requests.turns] == ["a poll", "a submit", "a submit that may not be sent again"]
    outage.close()


@in_virtual_time
async def test_a_probe_that_is_left_makes_way_for_another() -> None:
    outage = Outage(300.0)
    requests = Requests(outage)
    outage.begin("lost", since=0.0)
    await requests.ask("a")
    await requests.ask("b")
    requests.tasks["a"].cancel()  # while it waits
    await asyncio.wait(list(requests.tasks.values()))

    assert requests.turns == [("b", FIRST_PROBE)]
    outage.close()


@in_virtual_time
async def test_after_the_limit_each_is_told_by_an_error_of_its_own() -> None:
    outage = Outage(60.0)
    requests = Requests(outage)
    outage.begin("the connection was lost.", since=0.0)
    for name in "abc":
        await requests.ask(name)
    errors = await asyncio.gather(*requests.tasks.values(), return_exceptions=True)

    assert requests.turns == [("a", FIRST_PROBE)]  # it was never answered
    assert [type(error) for error in errors] == [type(None), OutageError, OutageError]
    assert errors[1] is not errors[2]
    assert isinstance(errors[1], TransportError)
    assert "60 s" in str(errors[1])
    assert "the connection was lost." in str(errors[1])
    assert now() == 60.0
    assert not outage.is_on, "whoever comes later may try again"


@in_virtual_time
async def test_the_probe_that_was_on_the_wire_at_the_limit_is_told_when_it_fails() -> None:
    outage = Outage(60.0)
    outage.begin("lost", since=0.0)
    await outage.turn("a", rank=1)
    await asyncio.sleep(100.0)

    with pytest.raises(OutageError):
        outage.begin("lost", since=FIRST_PROBE)


@in_virtual_time
@pytest.mark.parametrize(
    ("through_at", "started", "explained"),
    [
        (5.0, 4.0, False),  # something got through after it had started: it is the request's own failure
        (5.0, 6.0, True),
    ],
)
async def test_a_failure_is_the_requests_own_where_others_got_through_meanwhile(
    through_at: float, started: float, explained: bool
) -> None:
    outage = Outage(60.0)
    await asyncio.sleep(through_at)
    outage.got_through()
    await asyncio.sleep(10.0)

    assert outage.explains(started) is explained


@in_virtual_time
async def test_an_outage_that_ended_meanwhile_explains_a_failure_too() -> None:
    outage = Outage(60.0)
    outage.begin("lost", since=0.0)
    await asyncio.sleep(20.0)
    outage.got_through()
    await asyncio.sleep(1.0)
    outage.got_through()

    assert outage.explains(10.0)
    assert not outage.explains(20.5)


@in_virtual_time
async def test_one_who_comes_when_nobody_has_probed_for_long_need_not_wait_long() -> None:
    outage = Outage(300.0)
    outage.begin("lost", since=0.0)
    await outage.turn("a", rank=1)
    outage.done("a")
    await asyncio.sleep(100.0)
    before = now()
    await outage.turn("b", rank=1)

    assert now() - before <= FIRST_PROBE
    outage.close()
