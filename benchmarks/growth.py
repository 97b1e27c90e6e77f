"""Do twice the items take twice the time and requests, and twice the slots half the time?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from statistics import linear_regression, median

from .questions import Answer, Verdict, spread
from .report import row
from .runner import Run, Setting, client, run_client, running_server

LIBRARY = client("library")
SIZES, QUICK_SIZES = (10_000, 100_000, 1_000_000), (5_000, 20_000, 80_000)
SLOTS, QUICK_SLOTS = (4, 8, 16, 32, 64), (4, 8, 16)
RUNS = 9
IN_FLIGHT = 32

TO_SPARE = 0.1
"""Seconds that a server with time to spare takes to accept a batch; each takes a slot for little more."""

SECONDS, QUICK_SECONDS = 3.0, 1.0
"""For so long each run with a number of slots should last."""

BUSY = 0.7
"""From this share of a core on, the client's core is the limit, and not the slots."""


def answer(quick: bool) -> Answer:
    runs = 1 if quick else RUNS
    by_size = _by_size(QUICK_SIZES if quick else SIZES, runs)
    by_slots = _by_slots(QUICK_SLOTS if quick else SLOTS, runs, QUICK_SECONDS if quick else SECONDS)
    time = exponent({size: median(run.figures.wall for run in of) for size, of in by_size.items()})
    requests = exponent({size: median(map(_requests, of)) for size, of in by_size.items()})
    verdicts = [
        Verdict("exponent of the time over the items", time, 1.05),
        Verdict("exponent of the requests over the items", requests, 1.05),
    ]
    for few, many in pairwise(by_slots):
        if median(map(_busy, by_slots[many])) < BUSY:
            ratios = [_rate(after) / _rate(before) for before, after in zip(by_slots[few], by_slots[many], strict=True)]
            verdicts.append(Verdict(f"rate with {many} slots against {few}", median(ratios), 1.9, at_most=False))
    return Answer("\n".join(_lines(by_size, by_slots)), _figures(by_size, by_slots), verdicts)


def exponent(times: dict[int, float]) -> float:
    """k in time ~ items^k, by least squares of the logarithms."""
    return linear_regression([math.log(size) for size in times], [math.log(time) for time in times.values()]).slope


def _by_size(sizes: Sequence[int], runs: int) -> dict[int, list[Run]]:
    found: dict[int, list[Run]] = {size: [] for size in sizes}
    with running_server(Setting(sizes[-1], IN_FLIGHT, runs)) as server:
        for _ in range(runs):
            for size in sizes:
                found[size].append(run_client(server, LIBRARY, Setting(size, IN_FLIGHT, runs)))
    return found


def _by_slots(slots: Sequence[int], runs: int, seconds: float) -> dict[int, list[Run]]:
    found: dict[int, list[Run]] = {number: [] for number in slots}
    with running_server(Setting(0, 0, runs, submit_latency=TO_SPARE)) as server:
        for _ in range(runs):
            for number in slots:
                batches = int(number * seconds / TO_SPARE)
                found[number].append(run_client(server, LIBRARY, Setting(batches * 100, number, runs)))
    return found


def _requests(run: Run) -> float:
    return float(run.counts.batches + run.counts.asked)


def _rate(run: Run) -> float:
    return run.items / run.figures.wall


def _busy(run: Run) -> float:
    return run.figures.cpu / run.figures.wall


def _lines(by_size: dict[int, list[Run]], by_slots: dict[int, list[Run]]) -> list[str]:
    lines = [row("items", "seconds", "requests")]
    for size, runs in by_size.items():
        lines.append(row(f"  {size:,}", spread([run.figures.wall for run in runs]), spread(list(map(_requests, runs)))))
    lines.append(row("slots (accepting takes 100 ms)", "items a second", "client's core busy"))
    for number, runs in by_slots.items():
        lines.append(row(f"  {number}", spread(list(map(_rate, runs))), spread(list(map(_busy, runs)))))
    lines.append(f"Where the client's core is busy for {BUSY:.0%} of the time or more, it is the limit.")
    return lines


def _figures(by_size: dict[int, list[Run]], by_slots: dict[int, list[Run]]) -> dict[str, object]:
    return {
        "sizes": {size: [[run.figures.wall, _requests(run)] for run in runs] for size, runs in by_size.items()},
        "slots": {number: [[_rate(run), _busy(run)] for run in runs] for number, runs in by_slots.items()},
    }
