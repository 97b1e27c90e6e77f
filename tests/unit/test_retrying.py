from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from quartile_async import APIError, AuthenticationError, ProtocolError, QuartileError, ServerError, TransportError
from quartile_async._retrying import (
    BASE,
    LONGEST,
    Attempt,
    RetryBudget,
    RetryLimits,
    is_worth_another_try,
    retried,
    waits,
)

in_virtual_time = pytest.mark.looptime

LIMITS = RetryLimits(tries=5, seconds=60.0, longest_pause=300.0)


async def in_series(once: Callable[[], Awaitable[Attempt[str]]], **settings: Any) -> Attempt[str]:
    """A first try, and those after it."""
    begun = asyncio.get_running_loop().time()
    return await retried(once, await once(), begun=begun, **settings)


@pytest.mark.parametrize(
    ("error", "worth_it", "worth_it_when_sent_once"),
    [
        (None, False, False),
        (TransportError("refused"), True, True),
        (TransportError("lost", may_have_been_sent=True), True, False),
        (ProtocolError("no id", may_have_been_sent=True), True, False),
        (ServerError("502", status=502, may_have_been_sent=True), True, False),
        (ServerError("500", status=500), True, True),
        (ServerError("501", status=501), False, False),
        (APIError("408", status=408, may_have_been_sent=True), True, False),
        (APIError("425", status=425), True, True),
        (APIError("400", status=400), False, False),
        (APIError("422", status=422), False, False),
        (AuthenticationError("401", status=401), False, False),
        (QuartileError("else"), False, False),
    ],
)
def test_only_what_may_pass_is_tried_again_and_what_may_have_arrived_only_where_that_is_harmless(
    error: QuartileError | None, worth_it: bool, worth_it_when_sent_once: bool
) -> None:
    assert is_worth_another_try(error, may_send_again=True) is worth_it
    assert is_worth_another_try(error, may_send_again=False) is worth_it_when_sent_once


async def test_waits_have_full_jitter_up_to_a_cap(monkeypatch) -> None:
    monkeypatch.setattr("backoff.full_jitter", lambda longest: longest)
    generator = waits(RetryBudget())
    next(generator)

    longest = [generator.send(Attempt()) for _ in range(7)]

    assert longest == [BASE, BASE * 2, BASE * 4, BASE * 8, LONGEST, LONGEST, LONGEST]


async def test_a_pause_that_the_server_named_is_a_lower_bound_of_the_wait() -> None:
    for _ in range(100):
        generator = waits(RetryBudget())
        next(generator)
        assert 12.0 <= generator.send(Attempt(pause=12.0)) <= 12.0 + BASE


class Failing:
    """Fails so many times, then succeeds; keeps the times of its calls."""

    def __init__(self, failures: int, *, pause: float | None = None, lasts: float = 0.0) -> None:
        self.failures, self.pause, self.lasts, self.times = failures, pause, lasts, []

    async def __call__(self) -> Attempt[str]:
        self.times.append(asyncio.get_running_loop().time())
        await asyncio.sleep(self.lasts)
        if len(self.times) > self.failures:
            return Attempt("value")
        return Attempt(error=TransportError(f"failure {len(self.times)}"), pause=self.pause)


@in_virtual_time
async def test_a_first_try_that_succeeds_is_the_only_one() -> None:
    once = Failing(0)

    assert (await in_series(once, limits=LIMITS, budget=RetryBudget(), may_send_again=True)).value == "value"
    assert len(once.times) == 1


@in_virtual_time
async def test_failures_are_tried_again_until_one_succeeds() -> None:
    once = Failing(3)

    assert (await in_series(once, limits=LIMITS, budget=RetryBudget(), may_send_again=True)).value == "value"
    assert len(once.times) == 4


@in_virtual_time
async def test_tries_are_capped_in_number_and_the_last_failure_is_given() -> None:
    once = Failing(100)

    attempt = await in_series(once, limits=LIMITS, budget=RetryBudget(), may_send_again=True)

    assert len(once.times) == 5
    assert str(attempt.error) == "failure 5"


@in_virtual_time
async def test_tries_are_capped_in_time() -> None:
    once = Failing(100, lasts=25.0)

    await in_series(once, limits=LIMITS, budget=RetryBudget(), may_send_again=True)

    assert len(once.times) == 3


@in_virtual_time
async def test_a_named_pause_is_waited_for() -> None:
    once = Failing(1, pause=40.0)

    await in_series(once, limits=LIMITS, budget=RetryBudget(), may_send_again=True)

    first, second = once.times
    assert second - first >= 40.0


@in_virtual_time
async def test_a_pause_beyond_the_limit_is_not_waited_for() -> None:
    once = Failing(1, pause=301.0)

    attempt = await in_series(once, limits=LIMITS, budget=RetryBudget(), may_send_again=True)

    assert attempt.error is not None
    assert len(once.times) == 1


@in_virtual_time
async def test_the_time_that_a_request_was_held_back_is_not_its_own() -> None:
    times = []

    async def once() -> Attempt[str]:
        times.append(asyncio.get_running_loop().time())
        await asyncio.sleep(100.0)  # at a gate
        return Attempt(error=TransportError("lost"), held=100.0)

    await in_series(once, limits=LIMITS, budget=RetryBudget(), may_send_again=True)

    assert len(times) == LIMITS.tries


@in_virtual_time
async def test_there_is_no_further_try_where_something_else_makes_it_hopeless() -> None:
    once = Failing(100)

    await in_series(once, limits=LIMITS, budget=RetryBudget(), may_send_again=True, is_hopeless=lambda: True)

    assert len(once.times) == 1


@in_virtual_time
async def test_the_budget_keeps_retries_from_multiplying_the_load() -> None:
    budget = RetryBudget(capacity=20.0, per_second=0.5)
    requests = [Failing(1_000) for _ in range(200)]
    limits = RetryLimits(tries=5, seconds=60.0, longest_pause=300.0)

    await asyncio.gather(*(in_series(once, limits=limits, budget=budget, may_send_again=True) for once in requests))

    retries = sum(len(once.times) - 1 for once in requests)
    assert retries <= 20 + 0.5 * 60 + 1, "without a budget there would be 800"
    assert retries >= 20


@in_virtual_time
async def test_successes_fill_the_budget_and_never_over_its_capacity() -> None:
    budget = RetryBudget(capacity=10.0, per_success=0.5, per_second=0.1)
    for _ in range(10):
        assert budget.spend() == 0.0
    assert budget.delay() == pytest.approx(10.0)
    budget.earn()
    budget.earn()
    assert budget.delay() == 0.0
    for _ in range(1_000):
        budget.earn()
    assert [budget.spend() for _ in range(10)] == [0.0] * 10
    assert budget.delay() > 0.0


@in_virtual_time
async def test_who_comes_to_an_empty_budget_waits_in_line() -> None:
    budget = RetryBudget(capacity=1.0, per_second=0.5)

    assert [budget.spend() for _ in range(4)] == pytest.approx([0.0, 2.0, 4.0, 6.0])


@in_virtual_time
async def test_retries_that_succeed_are_paid_back() -> None:
    budget = RetryBudget(capacity=5.0, per_second=1e-9)

    for _ in range(50):
        await in_series(Failing(1), limits=LIMITS, budget=budget, may_send_again=True)

    assert budget.delay() == 0.0
