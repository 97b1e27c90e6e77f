"""How soon is a batch's end seen, and how many questions does that take?

In virtual time: the library's own code against a server that is given what each batch takes (`worlds`), beside an
oracle that knows the distribution (`oracle`) and asks as often, and beside the ideal, which sees each end at once.
The server counts the questions and the delays.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median

from .oracle import Point, at, curve
from .questions import Answer, Verdict, spread
from .report import row
from .virtual import run
from .worlds import BATCHES, SLOTS, WORLDS, World, ideal_time

RUNS, QUICK_RUNS = 9, 1

MOST_DELAY, MOST_POLLS = 1.25, 8.0


@dataclass(slots=True, frozen=True)
class Judged:
    """One run: what came of it, the oracle's at the same number of questions, its curve, and the ideal time."""

    point: Point
    oracle: Point
    curve: list[Point]
    ideal: float


def answer(quick: bool) -> Answer:
    judged = {world: [judge(world, seed) for seed in range(QUICK_RUNS if quick else RUNS)] for world in WORLDS}
    lines = [
        row(
            f"{BATCHES} batches, {SLOTS} slots",
            "polls a batch",
            "mean delay, s",
            "x oracle's",
            "total x ideal",
            "total x oracle's",
        )
    ]
    verdicts = []
    for world, of in judged.items():
        lines.append(row(f"  {world.name}", *(spread(column) for column in _columns(of).values())))
        verdicts += _verdicts(world, of)
    lines.append("In virtual time, counted by the server; each run with other draws.")
    return Answer("\n".join(lines), {world.name: _figures(of) for world, of in judged.items()}, verdicts)


def judge(world: World, seed: int, batches: int = BATCHES) -> Judged:
    times = world.times(seed, batches)
    point = run(times, SLOTS)
    points = curve(world, seed, times, SLOTS)
    return Judged(point, at(points, point.polls), points, ideal_time(times, SLOTS))


def _columns(of: list[Judged]) -> dict[str, list[float]]:
    return {
        "polls": [each.point.polls for each in of],
        "delay": [each.point.delay for each in of],
        "delay of the oracle's": [each.point.delay / each.oracle.delay for each in of],
        "total of the ideal": [each.point.total / each.ideal for each in of],
        "total of the oracle's": [each.point.total / each.oracle.total for each in of],
    }


def _verdicts(world: World, of: list[Judged]) -> list[Verdict]:
    columns = _columns(of)
    whose = "oracle's" if world.of_the_oracle else "ideal"
    total = columns["total of the oracle's" if world.of_the_oracle else "total of the ideal"]
    return [
        Verdict(f"{world.name}: delay against the oracle's", median(columns["delay of the oracle's"]), MOST_DELAY),
        Verdict(f"{world.name}: total time against the {whose}", median(total), world.most_time),
        Verdict(f"{world.name}: polls a batch", median(columns["polls"]), MOST_POLLS),
    ]


def _figures(of: list[Judged]) -> dict[str, object]:
    oracle = [{"polls": point.polls, "delay": point.delay} for point in of[0].curve]
    return {"runs": _columns(of), "oracle of the first run": oracle}
