from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from statistics import mean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quartile_async._durations import BINS, EDGES, LONGEST, Durations, Seen, bin_of, estimated, seen_between
from quartile_async._polling import ENOUGH, FIRST_WAIT, LONGEST_WAIT, OTHERS, SCOUT, Poller, Watch, planned

ages = st.floats(0.0, LONGEST * 2, allow_nan=False)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Server:
    """Batches one after the other, each asked for as the poller says, with answers that take a while."""

    poller: Poller
    clock: Clock
    round_trip: float = 0.02

    def process(self, seconds: float, price: float = 1.0) -> tuple[int, float]:
        """Questions, and seconds from its end until it was seen."""
        watch, questions = self.poller.watch(self.clock.now), 0
        while True:
            self.clock.now += watch.wait(price)
            asked_at = watch.age
            questions += 1
            self.clock.now += self.round_trip
            if asked_at >= seconds:
                watch.finished(asked_at)
                return questions, asked_at - seconds
            watch.unfinished(asked_at)

    def process_all(self, seconds: list[float]) -> tuple[float, float]:
        told = [self.process(each) for each in seconds]
        return mean(questions for questions, _ in told), mean(unseen for _, unseen in told)


@pytest.fixture
def server() -> Server:
    clock = Clock()
    return Server(Poller(clock), clock)


def drawn(count: int, draw: Callable[[random.Random], float]) -> list[float]:
    rng = random.Random(7)
    return [draw(rng) for _ in range(count)]


def about(seconds: float, spread: float = 0.2) -> Callable[[random.Random], float]:
    return lambda rng: seconds * rng.lognormvariate(0.0, spread)


# ---- before anything is learned


def first_waits(poller: Poller, clock: Clock, watch: Watch, count: int) -> list[float]:
    waits = []
    for _ in range(count):
        waits.append(watch.wait())
        clock.now += waits[-1]
        watch.unfinished(watch.age)
    return waits


def test_before_anything_is_learned_the_oldest_batch_is_asked_for_more_often_than_the_others() -> None:
    for place, share in ((0, SCOUT), (1, OTHERS)):
        clock = Clock()
        poller = Poller(clock)
        watches = [poller.watch(clock.now), poller.watch(clock.now)]

        waits = first_waits(poller, clock, watches[place], 200)

        assert waits[0] == FIRST_WAIT
        assert waits[-1] == LONGEST_WAIT
        age = 0.0
        for wait in waits:
            assert wait == pytest.approx(min(LONGEST_WAIT, max(FIRST_WAIT, share * age)))
            age += wait


def test_when_the_oldest_batch_leaves_the_next_one_is_asked_for_more_often() -> None:
    clock = Clock()
    poller = Poller(clock)
    first, second = poller.watch(clock.now), poller.watch(clock.now)
    clock.now += 10.0
    second.unfinished(10.0)
    assert second.wait() == pytest.approx(10.0 * OTHERS)

    first.leave()

    assert second.wait() == pytest.approx(10.0 * SCOUT)


# ---- what is learned


def test_questions_come_close_together_where_batches_end_and_not_before(server: Server) -> None:
    server.process_all(drawn(100, about(20.0)))
    watch = server.poller.watch(server.clock.now)

    waits = first_waits(server.poller, server.clock, watch, 4)

    assert 10.0 < waits[0] < 20.0
    assert all(0.2 < wait < 6.0 for wait in waits[1:]), waits


def test_a_server_with_two_kinds_of_batches_is_not_asked_in_between(server: Server) -> None:
    kinds = lambda rng: about(1.0, 0.1)(rng) if rng.random() < 0.7 else about(30.0, 0.1)(rng)  # noqa: E731  # short
    server.process_all(drawn(150, kinds))
    watch = server.poller.watch(server.clock.now)

    asked, age = [], 0.0
    for wait in first_waits(server.poller, server.clock, watch, 8):
        age += wait
        asked.append(age)

    assert not any(2.0 < each < 20.0 for each in asked)


@pytest.mark.parametrize("seconds", [0.05, 2.0, 60.0, 1800.0])
def test_what_is_lost_and_asked_stays_small_whatever_the_server_takes(server: Server, seconds: float) -> None:
    server.process_all(drawn(60, about(seconds)))

    questions, unseen = server.process_all(drawn(200, about(seconds)))

    assert questions <= 8
    assert unseen <= 0.08 * seconds + server.round_trip


@pytest.mark.parametrize(("before", "after"), [(2.0, 12.0), (12.0, 2.0), (60.0, 1.0), (0.05, 60.0)])
def test_a_server_that_changes_is_learned_anew(server: Server, before: float, after: float) -> None:
    server.process_all(drawn(150, about(before)))
    server.process_all(drawn(40, about(after)))

    questions, unseen = server.process_all(drawn(100, about(after)))

    assert questions <= 9
    assert unseen <= 0.12 * after + server.round_trip


def test_a_batch_that_outlives_all_that_was_learned_is_still_asked_for_and_ever_more_seldom(server: Server) -> None:
    server.process_all(drawn(100, about(1.0)))

    questions, unseen = server.process(3000.0)

    assert 20 < questions < 120
    assert unseen <= LONGEST_WAIT


def test_a_server_that_answers_at_once_is_asked_at_once_but_not_in_a_busy_loop(server: Server) -> None:
    server.process_all([0.0] * 60)
    assert server.process_all([0.0] * 20) == (1, pytest.approx(0.0, abs=2e-3))

    watch = server.poller.watch(server.clock.now)
    waits = first_waits(server.poller, server.clock, watch, 30)
    assert sum(waits) > 1.0


def test_fewer_questions_are_asked_when_they_are_dear(server: Server) -> None:
    times = drawn(150, about(20.0, 0.5))
    server.process_all(times)

    usual = mean(server.process(each)[0] for each in times)
    dear = mean(server.process(each, price=64.0)[0] for each in times)
    usual_again = mean(server.process(each)[0] for each in times)

    assert dear < 0.5 * usual
    assert usual_again == pytest.approx(usual, rel=0.2)


def test_nothing_is_learned_from_a_batch_that_was_taken_at_an_unknown_time() -> None:
    clock = Clock()
    poller = Poller(clock)
    for _ in range(10 * ENOUGH):
        watch = poller.watch(None)
        clock.now += watch.wait()
        watch.finished(watch.age)

    assert first_waits(poller, clock, poller.watch(clock.now), 3) == pytest.approx([FIRST_WAIT] * 3)


def test_the_shortest_of_many_that_are_alive_are_not_taken_for_all() -> None:
    few, alive = [seen_between(0.9, 1.0)] * 5, [5.0] * 20

    assert estimated(few, [], None).between(Seen(bin_of(5.0), BINS)) < 0.05
    assert estimated(few, alive, None).between(Seen(bin_of(5.0), BINS)) > 0.7


def test_planning_takes_no_time_worth_mentioning_on_a_fast_server() -> None:
    clock = Clock()
    poller, plans = Poller(clock), set()
    for _ in range(1000):
        watch = poller.watch(clock.now)
        watch.wait()
        plans.add(id(poller._plan))
        clock.now += 0.001
        watch.finished(0.0)

    assert len(plans) <= 1.0 / 0.05 + 2


def test_a_question_without_an_answer_is_not_repeated_at_once(server: Server) -> None:
    server.process_all(drawn(100, about(0.5)))
    watch = server.poller.watch(server.clock.now)

    asked = []
    while watch.age < 10.0:
        server.clock.now += watch.wait()
        asked.append(watch.age)
        server.clock.now += server.round_trip
        watch.unanswered(asked[-1])

    assert len(asked) < 80


def test_a_question_that_was_held_back_for_long_is_not_taken_for_a_round_trip_nor_its_batch_for_a_quick_one(
    server: Server,
) -> None:
    server.process_all(drawn(100, about(20.0)))
    waits = first_waits(server.poller, server.clock, server.poller.watch(server.clock.now), 3)
    for _ in range(3):
        watch = server.poller.watch(server.clock.now)
        server.clock.now += 300.0  # a gate was closed
        watch.finished(1.0)

    again = first_waits(server.poller, server.clock, server.poller.watch(server.clock.now), 3)

    assert again == pytest.approx(waits, rel=0.3)


# ---- distributions and plans


@given(ages)
def test_a_duration_lies_within_its_bin(seconds: float) -> None:
    number = bin_of(seconds)

    assert 0 <= number < BINS
    assert seconds <= EDGES[number] * (1 + 1e-9) or number in (0, BINS - 1)
    assert number == 0 or seconds >= EDGES[number - 1] * (1 - 1e-9)


@given(st.lists(st.tuples(ages, ages).map(sorted), min_size=1, max_size=30), st.lists(ages, max_size=5))
def test_an_estimate_is_a_distribution_that_holds_possible_what_was_seen(
    seen: list[list[float]], alive: list[float]
) -> None:
    intervals = [seen_between(*each) for each in seen]
    first = estimated(intervals, alive, None)
    for durations in (first, estimated(intervals, alive, first)):
        assert sum(durations.weights) == pytest.approx(1.0)
        assert min(durations.weights) >= 0.0
        assert all(durations.between(each) > 0.0 for each in intervals)


weights = st.lists(st.floats(0.0, 1.0), min_size=1, max_size=60).filter(lambda given: sum(given) > 0.01)


@given(st.integers(0, BINS - 61), weights, st.floats(0.0, 1.0), st.floats(0.1, 64.0))
def test_a_plans_questions_are_in_order_and_a_round_trip_apart(
    first: int, given: list[float], round_trip: float, price: float
) -> None:
    durations = Durations(first, [weight / sum(given) for weight in given])

    plan = planned(durations, round_trip=round_trip, price=price)

    assert plan.ages
    gaps = [after - before for before, after in pairwise(plan.ages)]
    assert all(gap > 0.0 and gap >= round_trip - 1e-9 for gap in gaps[:-1])
    assert plan.deviation > 0.0


def cost(ages: list[float], times: list[float], price: float) -> float:
    unseen = sum(next((age - seconds for age in ages if age >= seconds), ages[-1]) for seconds in times)
    asked = sum(1 + sum(age < seconds for age in ages) for seconds in times)
    return (unseen + price * asked) / len(times)


@pytest.mark.parametrize("price", [1.0, 9.0])
def test_no_even_spacing_beats_a_plan(price: float) -> None:
    rng = random.Random(3)
    times = [about(10.0, 0.4)(rng) for _ in range(4000)]
    counts = [0.0] * BINS
    for seconds in times:
        counts[bin_of(seconds)] += 1 / len(times)
    one = price * 0.01 * mean(times)

    plan = planned(Durations(0, counts), round_trip=0.0, price=price)

    theirs = min(
        cost([begin + step * number for number in range(200)], times, one)
        for step in (0.5, 1.0, 1.5, 2.0, 3.0, 5.0)
        for begin in (2.0, 4.0, 6.0, 8.0)
    )
    assert cost([*plan.ages, *(plan.ages[-1] * 1.15**number for number in range(1, 9))], times, one) < theirs
