"""The best that can be done by whoever knows how long batches take, but not how long this one will.

The questions are planned by dynamic programming on 200 draws of the same distribution, and judged on other draws.
What a question is worth is varied: the result is a curve, of the mean delay over the number of questions.

Ages count from the moment in which the client learns a batch's id; a question that is asked at an age tells whether
the batch had ended half a round trip later. The id, too, was half a round trip on its way.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

from .worlds import ACCEPTING, ROUND_TRIP, World, total_time

DRAWS = 200

PRICES = tuple(0.02 * 1.25**power for power in range(-24, 28))
"""Of a question, as shares of the mean time that a batch takes."""

BEHIND_THE_PLAN = 0.15
"""A batch that takes longer than all that was planned with is asked for when it is older by this share."""


@dataclass(slots=True, frozen=True)
class Point:
    """What came of a policy: questions for each batch, mean seconds until an end was seen, and seconds in all."""

    polls: float
    delay: float
    total: float


def curve(world: World, seed: int, times: Sequence[float], slots: int) -> list[Point]:
    """The oracle's points, by ascending number of questions."""
    samples = world.sample(seed, DRAWS)
    mean = sum(times) / len(times)
    points = [_judged([plan(sample, price * mean) for sample in samples], world, times, slots) for price in PRICES]
    return sorted(points, key=lambda point: point.polls)


def at(points: Sequence[Point], polls: float) -> Point:
    """The point of the curve with so many questions, by interpolation; the nearest end where there is none."""
    place = bisect_left([point.polls for point in points], polls)
    if place in (0, len(points)):
        return points[min(place, len(points) - 1)]
    before, after = points[place - 1], points[place]
    share = (polls - before.polls) / (after.polls - before.polls)
    return Point(
        polls,
        before.delay + share * (after.delay - before.delay),
        before.total + share * (after.total - before.total),
    )


def plan(sample: Sequence[float], price: float) -> list[float]:
    """The ages at which to ask so that the seconds unseen, and `price` for each question, come to the least."""
    ends = sorted(max(0.0, time - ROUND_TRIP) for time in sample)
    ages = sorted({*ends, *(end + ROUND_TRIP for end in ends)})
    ended = [bisect_right(ends, age) for age in ages]
    moments = list(accumulate(ends, initial=0.0))
    last = len(ages)
    least, following = [0.0] * (last + 1), [0] * (last + 1)  # 0: no further question
    for asked in range(last - 1, -1, -1):  # index 0: nothing was asked; index n: ages[n - 1] was asked last
        done = ended[asked - 1] if asked else 0
        if done == len(ends):
            continue
        earliest = bisect_left(ages, ages[asked - 1] + ROUND_TRIP - 1e-9) if asked else 0
        best = math.inf
        for place in range(earliest, last):
            if ended[place] > done:
                unseen = ages[place] * (ended[place] - done) - (moments[ended[place]] - moments[done])
                if unseen + least[place + 1] < best:
                    best, following[asked] = unseen + least[place + 1], place + 1
        least[asked] = price * (len(ends) - done) + (0.0 if best == math.inf else best)
    return list(_followed(ages, following))


def _followed(ages: Sequence[float], following: Sequence[int]) -> Iterator[float]:
    place = 0
    while place := following[place]:
        yield ages[place - 1]


def _judged(plans: Sequence[Sequence[float]], world: World, times: Sequence[float], slots: int) -> Point:
    asked = [_asked(plans[world.phase(batch, len(times))], time - ROUND_TRIP) for batch, time in enumerate(times)]
    delays = [age + ROUND_TRIP - time for (_, age), time in zip(asked, times, strict=True)]
    held = [ACCEPTING + ROUND_TRIP + time + delay for time, delay in zip(times, delays, strict=True)]
    count = len(times)
    return Point(sum(polls for polls, _ in asked) / count, sum(delays) / count, total_time(held, slots))


def _asked(ages: Sequence[float], end: float) -> tuple[int, float]:
    """How often a batch is asked for, and at what age for the last time; from `end` on it is seen to have ended."""
    polls = 1 + bisect_left(ages, end)
    if polls <= len(ages):
        return polls, ages[polls - 1]
    age = ages[-1]
    while age < end:
        age += max(ROUND_TRIP, BEHIND_THE_PLAN * age)
        polls += 1
    return polls - 1, age
