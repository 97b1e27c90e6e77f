"""From runs to ratios: taken within a round, then the median of the rounds and the spread."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from .runner import Run


@dataclass(slots=True, frozen=True)
class Measure:
    """Something to compare clients by.

    Attributes:
        name: for the headings.
        unit: of a single figure.
        of: the figure of one run.
        more_is_better: else less is.
    """

    name: str
    unit: str
    of: Callable[[Run], float]
    more_is_better: bool = False


THROUGHPUT = Measure("throughput", "items/s", lambda run: run.items / run.figures.wall, more_is_better=True)
CPU = Measure("CPU per item", "µs", lambda run: run.figures.cpu / run.items * 1e6)
MEMORY = Measure("peak memory", "MB", lambda run: run.figures.peak_mb)
MEASURES = (THROUGHPUT, CPU, MEMORY)


@dataclass(slots=True, frozen=True)
class Ratio:
    """The median of the rounds' ratios, the least and the greatest."""

    median: float
    least: float
    greatest: float

    def is_within(self, control: Ratio) -> bool:
        """Whether it cannot be told from the same client run twice."""
        return control.least <= self.median <= control.greatest


def ratio(rounds: Sequence[Mapping[str, Run]], measure: Measure, client: str, reference: str) -> Ratio:
    """How many times as much a client has of something as the reference had in the same round."""
    ratios = [measure.of(runs[client]) / measure.of(runs[reference]) for runs in rounds]
    return Ratio(median(ratios), min(ratios), max(ratios))


def median_of(rounds: Sequence[Mapping[str, Run]], measure: Callable[[Run], float], client: str) -> float:
    return median(measure(runs[client]) for runs in rounds)
