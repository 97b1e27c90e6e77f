from __future__ import annotations

import asyncio

import pytest

from quartile_async._pacing import SPREAD, Gate, Slots
from quartile_async._polling import FIRST_WAIT, LONGEST_WAIT, SAMPLES, ProcessingTimes

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


def test_before_anything_is_learned_the_wait_is_a_share_of_the_age() -> None:
    times = ProcessingTimes()

    assert times.wait(0.0) == FIRST_WAIT
    assert times.wait(10.0) == pytest.approx(1.5)
    assert times.wait(10_000.0) == LONGEST_WAIT


def test_after_learning_the_first_question_comes_when_a_quarter_had_ended() -> None:
    times = ProcessingTimes()
    for seconds in range(1, 101):
        times.learn(float(seconds), float(seconds))

    assert times.wait(0.0) == pytest.approx(26.0)
    assert times.wait(26.0) == pytest.approx(45 - 26, abs=1.0)


def test_a_batch_that_outlives_all_that_was_learned_is_still_asked_for() -> None:
    times = ProcessingTimes()
    for _ in range(SAMPLES):
        times.learn(1.0, 1.0)

    assert times.wait(20.0) == pytest.approx(3.0)


def test_old_times_are_forgotten_when_the_server_changes() -> None:
    times = ProcessingTimes()
    for seconds in [100.0] * SAMPLES + [1.0] * SAMPLES:
        times.learn(seconds, seconds)

    assert times.wait(0.0) == pytest.approx(1.0)


def test_a_server_that_answers_at_once_is_asked_at_once_but_not_in_a_busy_loop() -> None:
    times = ProcessingTimes()
    for _ in range(SAMPLES):
        times.learn(0.0, 0.001)

    assert times.wait(0.0) == 0.0
    assert all(times.wait(age) > 0.0 for age in (0.0001, 0.01, 1.0, 1000.0))
