"""Servers that take their time in different ways: what the waiting is judged on. All times in seconds."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

ROUND_TRIP = 0.05
ACCEPTING = 0.05
"""For which the server holds the answer to a submit back; the processing begins then."""

BATCHES, SLOTS = 600, 20

Draw: TypeAlias = Callable[[random.Random], float]


@dataclass(slots=True, frozen=True)
class World:
    """How long batches take.

    Attributes:
        name: for the table.
        phases: of the upload, of equal length.
        most_time: the goal for the total time: of the ideal, or of the oracle's where the ideal is out of reach.
        of_the_oracle: whether it is the latter.
    """

    name: str
    phases: tuple[Draw, ...]
    most_time: float = 1.08
    of_the_oracle: bool = False

    def phase(self, batch: int, batches: int) -> int:
        return batch * len(self.phases) // batches

    def times(self, seed: int, batches: int) -> list[float]:
        """What the batches take, in the order in which they are accepted."""
        rng = random.Random(f"{self.name} {seed}")
        return [self.phases[self.phase(batch, batches)](rng) for batch in range(batches)]

    def sample(self, seed: int, count: int) -> list[list[float]]:
        """Other draws, of each phase."""
        rng = random.Random(f"{self.name} {seed} to plan with")
        return [[draw(rng) for _ in range(count)] for draw in self.phases]


def lognormal(median: float, sigma: float) -> Draw:
    return lambda rng: median * rng.lognormvariate(0.0, sigma)


def _two_modes(rng: random.Random) -> float:
    return lognormal(1.0 if rng.random() < 0.7 else 12.0, 0.1)(rng)


WORLDS = (
    World("2 s", (lognormal(2.0, 0.5),)),
    World("60 s", (lognormal(60.0, 0.3),)),
    World("0.05 s", (lognormal(0.05, 0.5),), most_time=1.02, of_the_oracle=True),
    World("two modes: 1 s, 12 s", (_two_modes,)),
    World("2 s, then 12 s", (lognormal(2.0, 0.5), lognormal(12.0, 0.5))),
)


def total_time(held: Iterable[float], slots: int) -> float:
    """Of batches that hold a slot for so long each, one after the other as slots become free."""
    free = [0.0] * slots
    for seconds in held:
        heapq.heapreplace(free, free[0] + seconds)
    return max(free)


def ideal_time(times: Sequence[float], slots: int) -> float:
    """Each slot is free the moment its batch ends: own time is accepting, processing and one round trip."""
    return total_time((ACCEPTING + time + ROUND_TRIP for time in times), slots)
