"""How long batches take: a distribution, learned from ages at which they were seen unfinished and finished. No I/O."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

STEP = 1.06
"""Durations are told apart where they differ by so much: the edges of the bins grow by this factor."""

SHORTEST, LONGEST = 1e-3, 4 * 3600.0
"""Seconds; shorter durations are one bin, and longer ones, too."""

BINS = 2 + math.ceil(math.log(LONGEST / SHORTEST) / math.log(STEP))

EDGES = [SHORTEST * STEP**number for number in range(BINS)]
"""Bin n has the durations up to EDGES[n], and above the edge before it."""

BEYOND = 3.0
"""A batch that is still alive may well take so many times as long as it is old."""

ROUNDS = 3
"""How often an estimate is refined, each time it is made; it begins where the last one ended."""

NEIGHBOURS = 0.25
"""The share of a bin's weight that moves to each of its neighbours when the estimate is smoothed."""

SMOOTHING = 200
"""So many smoothings are shared out over the durations seen: a few of them say less about the ones between."""

TRACE = 1e-6
"""What the estimate before leaves possible everywhere, so that it can be proved wrong."""


def bin_of(seconds: float) -> int:
    """The bin of a duration."""
    if seconds <= SHORTEST:
        return 0
    return min(BINS - 1, math.ceil(math.log(seconds / SHORTEST) / math.log(STEP)))


@dataclass(slots=True, frozen=True)
class Seen:
    """A duration that is known to lie in one of these bins."""

    first: int
    last: int


def seen_between(unfinished: float, finished: float) -> Seen:
    """What is known of a batch that was seen unfinished at one age and finished at a later one (seconds)."""
    last = bin_of(finished)
    return Seen(min(last, bin_of(unfinished) + 1) if unfinished > 0.0 else 0, last)


@dataclass(slots=True, frozen=True)
class Durations:
    """A distribution over bins.

    Attributes:
        first: the bin that the weights begin with.
        weights: of it and the following bins; they add up to 1.
    """

    first: int
    weights: list[float]

    def between(self, seen: Seen) -> float:
        """The probability of these bins."""
        start = max(0, seen.first - self.first)
        return sum(self.weights[start : max(start, seen.last + 1 - self.first)])


def estimated(seen: Sequence[Seen], alive: Iterable[float], before: Durations | None) -> Durations:
    """The distribution that explains best what was seen.

    A batch's duration is only known to lie between two questions, so it counts for each bin between them in
    proportion to what is believed of it (expectation-maximisation, smoothed in each round: "EMS", Silverman et al.
    1990). Batches that are still `alive` (ages in seconds) count for what lies beyond their age: else the first ones
    to end, which are the shortest, would be taken for all.
    """
    first = min(each.first for each in seen)
    last = max(each.last for each in seen)
    old = [bin_of(age) + 1 for age in alive if age > 0.0]
    if old:
        last = min(BINS - 1, max(last, max(old) + int(math.log(BEYOND) / math.log(STEP))))
    counts = Counter(seen)
    counts.update(Seen(max(first, min(each, last)), last) for each in old)
    weights = [1.0] * (last - first + 1) if before is None else _spread(before, first, last)
    for _ in range(ROUNDS if before is not None else 3 * ROUNDS):
        weights = _explained(weights, counts, first)
        for _ in range(1 + SMOOTHING // len(seen)):
            weights = _smoothed(weights)
    whole = sum(weights)
    return Durations(first, [weight / whole for weight in weights])


def _spread(before: Durations, first: int, last: int) -> list[float]:
    return [
        TRACE + (before.weights[place] if 0 <= (place := number - before.first) < len(before.weights) else 0.0)
        for number in range(first, last + 1)
    ]


def _explained(weights: list[float], counts: Counter[Seen], first: int) -> list[float]:
    explained = [0.0] * len(weights)
    for seen, count in counts.items():
        start, end = seen.first - first, seen.last + 1 - first
        believed = weights[start:end]
        share = count / sum(believed)
        explained[start:end] = [
            so_far + share * weight for so_far, weight in zip(explained[start:end], believed, strict=True)
        ]
    return explained


def _smoothed(weights: list[float]) -> list[float]:
    padded = [weights[0], *weights, weights[-1]]  # what would leave at an end stays there
    keep = 1.0 - 2.0 * NEIGHBOURS
    return [
        NEIGHBOURS * (left + right) + keep * weight
        for left, weight, right in zip(padded, weights, padded[2:], strict=False)
    ]
