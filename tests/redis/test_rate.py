"""Rates as data: how they are written, and that the times of one process keep to them."""

from __future__ import annotations

import itertools
import random

import pytest

from quartile_async import ConfigurationError
from quartile_async._shared.rate import Rate, Schedule, parsed_rate


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("600/minute", Rate(600, 60.0)),
        ("10/second", Rate(10, 1.0)),
        (" 10 / seconds ", Rate(10, 1.0)),
        ("30/20 seconds", Rate(30, 20.0)),
        ("3/0.5 second", Rate(3, 0.5)),
        ("5000/hour", Rate(5_000, 3_600.0)),
        ("1/day", Rate(1, 86_400.0)),
    ],
)
def test_a_rate_is_read(text: str, rate: Rate) -> None:
    assert parsed_rate(text) == rate


@pytest.mark.parametrize("text", ["", "600", "600/", "0/second", "-1/second", "1/0 seconds", "many/second", "1/week"])
def test_what_is_no_rate_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ConfigurationError, match="'600/minute'"):
        parsed_rate(text)


@pytest.mark.parametrize(
    "rate", [Rate(1, 1.0), Rate(4, 1.0), Rate(7, 2.0), Rate(10, 1.0), Rate(25, 1.0), Rate(600, 60.0)]
)
def test_at_most_a_tenth_goes_at_once_and_no_more_than_the_rate_in_any_period(rate: Rate) -> None:
    rng, schedule, now, times = random.Random(1), Schedule(rate), 0.0, []
    while len(times) < 5 * rate.requests:
        waits = schedule.reserve(rng.randrange(1, 50), now)
        times += [now + wait for wait in waits]
        now += rng.choice([0.0, 0.0, waits[-1], 3 * rate.spread, rate.period * 2])
        now = max(now, times[-1] - rng.random())
    assert times == sorted(times)
    for most, seconds in ((rate.requests, rate.seconds), (rate.burst, rate.spread)):
        for first, last in zip(times, itertools.islice(times, most, None), strict=False):
            assert last - first >= seconds - 1e-9


def test_a_process_gets_few_times_that_are_still_to_come_and_all_that_may_go_now() -> None:
    schedule = Schedule(Rate(600, 60.0))
    assert schedule.reserve(100, 0.0) == [0.0] * 60 + [6.0], "a burst, and one ahead"
    assert len(Schedule(Rate(1000, 1.0)).reserve(1_000, 0.0)) == 100 + 32


def test_the_parts_of_a_rate_are_no_more_than_the_whole() -> None:
    part = Rate(600, 60.0).part(8)
    assert part.requests * 8 <= 600
    assert part.burst * 8 <= 60
