from __future__ import annotations

import asyncio

import pytest

from quartile_async._pacing import PAUSE_WITHOUT_A_NAME, SPREAD, Gate, Slots

in_virtual_time = pytest.mark.looptime


@in_virtual_time
async def test_an_open_gate_costs_no_time() -> None:
    await Gate().passed()

    assert asyncio.get_running_loop().time() == 0.0


@in_virtual_time
async def test_nobody_passes_before_the_time_and_all_start_spread_over_a_moment_after_it() -> None:
    gate, times = Gate(), []
    gate.close_for(10.0)

    async def passes() -> None:
        await gate.passed()
        times.append(asyncio.get_running_loop().time())

    await asyncio.gather(*(passes() for _ in range(50)))

    assert min(times) >= 10.0
    assert max(times) <= 10.0 + SPREAD + 0.01
    assert len({round(time, 6) for time in times}) > 40


@in_virtual_time
async def test_a_gate_that_is_closed_for_longer_meanwhile_holds_those_who_wait_already() -> None:
    gate = Gate()
    gate.close_for(10.0)
    waiting = asyncio.ensure_future(gate.passed())
    await asyncio.sleep(5.0)
    gate.close_for(20.0)
    gate.close_for(1.0)  # shorter: changes nothing

    await waiting

    assert asyncio.get_running_loop().time() >= 25.0


async def test_slots_are_bounded_and_given_in_the_order_of_asking() -> None:
    slots, order = Slots(2), []

    async def takes(name: str) -> None:
        borrower = object()
        await slots.take(borrower)
        order.append(name)
        assert slots.in_use <= 2
        await asyncio.sleep(0)
        slots.give_back(borrower)

    await asyncio.gather(*(takes(name) for name in "abcdef"))

    assert order == list("abcdef")
    assert slots.in_use == 0


async def test_a_slot_that_is_given_back_goes_to_who_waits_and_not_to_who_comes_at_that_moment() -> None:
    slots, holder, waits, comes = Slots(1), object(), object(), object()
    await slots.take(holder)
    waiting = asyncio.ensure_future(slots.take(waits))
    await asyncio.sleep(0)
    slots.give_back(holder)
    coming = asyncio.ensure_future(slots.take(comes))
    await waiting

    assert slots.in_use == 1
    assert not coming.done()

    slots.give_back(waits)
    await coming
    assert slots.in_use == 1


async def test_a_cancelled_wait_for_a_slot_loses_none() -> None:
    slots, holder = Slots(1), object()
    await slots.take(holder)
    waiting = [asyncio.ensure_future(slots.take(object())) for _ in range(3)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    slots.give_back(holder)
    waiting[1].cancel()  # at the very moment in which it may have been given the slot
    await asyncio.wait(waiting)

    assert slots.in_use == sum(not task.cancelled() for task in waiting) == 1


def congested(slots: Slots, *, sent_at: float, now: float) -> int:
    slots.congested(sent_at=sent_at, now=now)
    return slots.allowed


async def full(limit: int) -> Slots:
    slots = Slots(limit)
    for _ in range(limit):
        await slots.take(object())
    return slots


async def test_congestion_halves_the_slots_down_to_one_and_success_brings_them_back_one_by_one() -> None:
    slots = await full(16)

    assert [congested(slots, sent_at=now, now=now) for now in range(6)] == [8, 4, 2, 1, 1, 1]

    growth = []
    for _ in range(200):
        slots.succeeded()
        growth.append(slots.allowed)
    assert growth[0] == 2
    assert growth == sorted(growth)
    assert growth[-1] == 16, "never more than the limit"
    assert growth.index(16) > 60, "one more for as many successes as there are"


async def test_what_was_on_the_wire_together_lowers_the_slots_once() -> None:
    slots = await full(16)

    assert [congested(slots, sent_at=sent_at, now=10.0) for sent_at in (9.0, 9.1, 9.2, 9.9)] == [8, 8, 8, 8]
    assert congested(slots, sent_at=10.5, now=11.0) == 4


async def test_fewer_slots_hold_back_whoever_comes_and_take_none_away() -> None:
    slots, borrowers = Slots(4), [object() for _ in range(4)]
    for borrower in borrowers:
        await slots.take(borrower)
    slots.congested(sent_at=0.0, now=0.0)
    coming = asyncio.ensure_future(slots.take(object()))
    for borrower in borrowers[:2]:
        slots.give_back(borrower)
    await asyncio.sleep(0)

    assert slots.in_use == 2
    assert not coming.done()

    slots.give_back(borrowers[2])
    await asyncio.wait_for(coming, 1.0)


@in_virtual_time
async def test_refusals_that_name_no_or_too_short_a_pause_close_the_gate_for_longer_and_longer() -> None:
    gate, clock, pauses = Gate(), asyncio.get_running_loop().time, []
    for _ in range(6):
        before = clock()
        gate.refused(0.0, sent_at=before)
        await gate.passed()
        pauses.append(clock() - before)

    for pause, least in zip(pauses, [0.5, 1.0, 2.0, 4.0, 5.0, 5.0], strict=True):
        assert least <= pause <= least + SPREAD + 0.01

    gate.accepted()
    before = clock()
    gate.refused(None, sent_at=before)
    await gate.passed()
    assert clock() - before >= PAUSE_WITHOUT_A_NAME


@in_virtual_time
async def test_refusals_of_what_was_on_the_wire_together_count_as_one() -> None:
    gate, clock = Gate(), asyncio.get_running_loop().time
    await asyncio.sleep(1.0)
    for sent_at in (0.1, 0.2, 0.3):
        gate.refused(0.0, sent_at=sent_at)
    await gate.passed()

    assert clock() <= 1.0 + 0.5 + SPREAD + 0.01


@in_virtual_time
async def test_the_gate_tells_for_how_long_everything_was_refused() -> None:
    gate = Gate()
    assert gate.refused(10.0, sent_at=0.0) == 0.0
    await asyncio.sleep(30.0)
    assert gate.refused(10.0, sent_at=30.0) == 30.0
    gate.accepted()
    assert gate.refused(10.0, sent_at=31.0) == 0.0
