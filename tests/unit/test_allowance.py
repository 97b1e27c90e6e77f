"""What a client under a rate may ask, and what its first second looks like."""

from __future__ import annotations

import heapq
from collections.abc import Sequence

import pytest

from quartile_async._allowance import Allowance, gap_between
from quartile_async._polling import FIRST_WAIT, Poller
from quartile_async._shared.rate import Rate

from .test_polling import Clock

RATE = Rate(600, 60.0)


@pytest.mark.parametrize(
    ("level", "batches", "gap"),
    [
        (30.0, 1, 0.0),
        (30.0, 100, 0.0),
        (15.0, 1, 0.05),
        (15.0, 20, 1.0),
        (0.0, 1, 0.2),
        (0.0, 5, 1.0),
        (0.0, 16, 3.2),
    ],
)
def test_a_full_purse_holds_nothing_back_and_an_empty_one_gives_each_batch_what_comes_in(
    level: float, batches: int, gap: float
) -> None:
    assert gap_between(level, 30.0, 5.0, batches) == pytest.approx(gap)


@pytest.mark.parametrize("rate", [Rate(600, 60.0), Rate(10, 1.0), Rate(5_000, 3_600.0), Rate(1, 60.0)])
def test_a_purse_holds_half_of_the_burst_and_is_full_again_when_that_much_of_half_the_rate_has_come_in(
    rate: Rate,
) -> None:
    clock = Clock()
    allowance = Allowance(rate.per_second, rate.burst, clock)
    allowance.batches = 1
    holds = max(1, rate.burst // 2)
    longest = 2.0 / rate.per_second

    gaps = [allowance.spend() for _ in range(holds + 1)]

    assert gaps[0] == 0.0
    assert gaps == sorted(gaps)
    assert gaps[-1] == pytest.approx(longest)
    clock.now += (holds + 1) * longest
    assert allowance.spend() == pytest.approx(0.0, abs=1e-9)


def test_debts_are_a_question_for_each_batch_at_most() -> None:
    clock = Clock()
    allowance = Allowance(RATE.per_second, RATE.burst, clock)
    allowance.batches = 100
    for _ in range(10_000):
        allowance.spend()
    allowance.batches = 1
    allowance.spend()

    clock.now += (1 + 30) / 5.0
    assert allowance.spend() == pytest.approx(0.0, abs=1e-9)


def test_a_batch_that_is_asked_for_no_more_leaves_its_part_to_the_others_once() -> None:
    clock = Clock()
    allowance = Allowance(RATE.per_second, RATE.burst, clock)
    one, other = Poller(clock, allowance), Poller(clock, allowance)
    first, second = one.watch(clock.now), other.watch(None)
    assert allowance.batches == 2

    first.leave()
    first.leave()
    assert allowance.batches == 1
    second.leave()
    assert allowance.batches == 0


def asked(
    allowance: Allowance | None, clock: Clock, ends: Sequence[float], seconds: float
) -> tuple[list[float], float]:
    """When so many batches, taken at once, are asked for in so many seconds; and when the last end was seen."""
    poller, begun, times, seen = Poller(clock, allowance), clock.now, list[float](), 0.0
    watches = [poller.watch(begun) for _ in ends]
    due = [(watch.wait(), number) for number, watch in enumerate(watches)]
    heapq.heapify(due)
    while due and due[0][0] <= seconds:
        now, number = heapq.heappop(due)
        clock.now = begun + now
        times.append(now)
        if now >= ends[number]:
            watches[number].finished(now)
            seen = now
        else:
            watches[number].unfinished(now)
            heapq.heappush(due, (now + max(1e-3, watches[number].wait()), number))
    return times, seen


@pytest.mark.parametrize("batches", [1, 5, 16, 64])
def test_questions_about_batches_that_never_end_take_half_of_the_requests_at_most(batches: int) -> None:
    clock = Clock()
    times, _ = asked(Allowance(RATE.per_second, RATE.burst, clock), clock, [1e9] * batches, 120.0)

    for start in range(110):
        assert sum(start <= time < start + RATE.spread for time in times) <= RATE.burst
    for start in range(60):
        assert sum(start <= time < start + RATE.seconds for time in times) <= (RATE.requests + RATE.burst) / 2


def test_in_the_first_second_a_small_upload_keeps_half_of_what_may_go_out_at_once_and_sees_its_ends_soon() -> None:
    ends = [1.0 + 0.01 * number for number in range(5)]
    free, seen_freely = asked(None, Clock(), ends, 10.0)
    clock = Clock()
    times, seen = asked(Allowance(RATE.per_second, RATE.burst, clock), clock, ends, 10.0)

    assert sum(time < 1.0 for time in free) > RATE.burst, "else there would be nothing to hold back"
    assert sum(time < 1.0 for time in times) <= RATE.burst / 2
    assert seen <= seen_freely + 1.0


def test_a_lone_batch_is_asked_for_at_once_also_under_a_rate() -> None:
    clock = Clock()
    poller = Poller(clock, Allowance(RATE.per_second, RATE.burst, clock))

    assert poller.watch(clock.now).wait() == FIRST_WAIT


def test_what_was_learned_is_asked_no_closer_together_than_there_are_requests_for() -> None:
    clock = Clock()
    allowance = Allowance(RATE.per_second, RATE.burst, clock)
    poller = Poller(clock, allowance)
    for number in range(40):
        watch = poller.watch(clock.now)
        watch.unfinished(0.9 + 0.005 * number)
        watch.finished(0.91 + 0.005 * number)
    many = [poller.watch(clock.now) for _ in range(16)]
    while many[1].wait() < 3.19:
        pass

    assert many[0].wait() == pytest.approx(3.2)
