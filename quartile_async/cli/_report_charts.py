"""The geometry of a report's charts: where shapes, ticks and labels go. Nothing here knows of HTML.

Shapes stand in a square of `SIDE` units that the page stretches to the room it has; labels stand at shares of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from .._results import Outcome
from ._report import Point

SIDE = 1000
LEAST_HEIGHT = 8.0
"""So high is a bar that is not empty, or one among many thousands would not be seen."""

MOST_STEPS = 5
"""The most steps between the ticks of an axis: more do not fit on a telephone."""

MINUTE, HOUR, DAY = 60, 3_600, 86_400
TIME_STEPS = (
    *(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30),
    *(minutes * MINUTE for minutes in (1, 2, 5, 10, 15, 30)),
    *(hours * HOUR for hours in (1, 2, 3, 6, 12)),
    *(days * DAY for days in (1, 2, 5, 10, 20, 50, 100, 200, 500)),
)


@dataclass(slots=True, frozen=True)
class Tick:
    """A label on an axis; `at` is its place, in percent."""

    at: float
    label: str


@dataclass(slots=True, frozen=True)
class Shape:
    """What is drawn of one outcome: a line, and the area below it (empty: none)."""

    outcome: Outcome
    line: str
    area: str = ""


@dataclass(slots=True, frozen=True)
class Chart:
    """Shapes with their axes, the last shape uppermost."""

    shapes: list[Shape]
    x: list[Tick]
    y: list[Tick]


@dataclass(slots=True, frozen=True)
class Bar:
    """A bar from `x` on, `height` high, in units of the square."""

    x: float
    width: float
    height: float


@dataclass(slots=True, frozen=True)
class Bars:
    bars: list[Bar]
    x: list[Tick]
    y: list[Tick]


def stacked(points: Sequence[Point], outcomes: Sequence[Outcome]) -> Chart:
    """The outcomes above one another, so that the uppermost line is the sum."""
    scale = _Scale(points, max(point.done for point in points))
    below, shapes = [0] * len(points), []
    for outcome in outcomes:
        above = [low + count(point, outcome) for low, point in zip(below, points, strict=True)]
        line, back = scale.path(above), scale.path(below, backwards=True)
        shapes.append(Shape(outcome, line=f"M{line}", area=f"M{line}L{back}Z"))
        below = above
    return Chart(shapes, scale.x_ticks, scale.y_ticks)


def lines(points: Sequence[Point], outcomes: Sequence[Outcome]) -> Chart:
    """A line for each outcome, all from the same ground."""
    scale = _Scale(points, max((count(point, outcome) for point in points for outcome in outcomes), default=0))
    shapes = [
        Shape(outcome, line=f"M{scale.path([count(point, outcome) for point in points])}") for outcome in outcomes
    ]
    return Chart(shapes, scale.x_ticks, scale.y_ticks)


def bars(bins: Sequence[tuple[float, float | None, int]]) -> Bars:
    """A bar for each bin, all of one width."""
    top, y_ticks = count_axis(max(number for _, _, number in bins))
    width = SIDE / len(bins)
    drawn = [
        Bar(round(place * width + width * 0.06, 1), round(width * 0.88, 1), _height(number, top))
        for place, (_, _, number) in enumerate(bins)
    ]
    edges = [low for low, _, _ in bins] + [bins[-1][1]]
    every = math.ceil(len(edges) / (MOST_STEPS + 2))
    x_ticks = [
        Tick(round(place / len(bins) * 100, 3), "longer" if edge is None else plain_seconds(edge))
        for place, edge in enumerate(edges)
        if place % every == 0
    ]
    return Bars(drawn, x_ticks, y_ticks)


def _height(number: int, top: int) -> float:
    return max(LEAST_HEIGHT, round(number / top * SIDE, 1)) if number else 0.0


def count(point: Point, outcome: Outcome) -> int:
    value: int = getattr(point, outcome.value)
    return value


def time_ticks(span: float) -> list[Tick]:
    """Round times from 0 to `span` seconds."""
    step = next((step for step in TIME_STEPS if span / step <= MOST_STEPS), TIME_STEPS[-1])
    unit, name = next(
        ((unit, name) for unit, name in ((DAY, "d"), (HOUR, "h"), (MINUTE, "min")) if step >= unit), (1, "s")
    )
    # A little more than the span: a step that ends it exactly must not be lost to rounding.
    times = [number * step for number in range(int(span / step * (1 + 1e-9)) + 1)]
    return [Tick(round(at / span * 100, 3), f"{at / unit:.6g}\xa0{name}" if at else "0") for at in times]


def count_axis(most: int) -> tuple[int, list[Tick]]:
    """The end of an axis that holds `most`, and round counts along it."""
    step = next(step for step in _round_counts() if most <= step * MOST_STEPS)
    steps = max(1, math.ceil(most / step))
    return steps * step, [Tick(round(number / steps * 100, 3), short(number * step)) for number in range(steps + 1)]


def short(number: int) -> str:
    """A round count with few signs."""
    for size, name in ((1_000_000_000, "bn"), (1_000_000, "M")):
        if number >= size:
            return f"{number / size:,.6g}\xa0{name}"
    return f"{number:,}"


def plain_seconds(seconds: float) -> str:
    """A round number of seconds, in one unit."""
    for unit, name in ((HOUR, "h"), (MINUTE, "min")):
        if seconds >= 2 * unit:
            return f"{seconds / unit:.3g}\xa0{name}"
    return f"{seconds:g}\xa0s" if seconds else "0"


def _round_counts() -> Iterable[int]:
    ten = 1
    while True:
        yield from (ten, 2 * ten, 5 * ten)
        ten *= 10


class _Scale:
    """From seconds and counts to the square."""

    def __init__(self, points: Sequence[Point], most: int) -> None:
        self._points = points
        self._span = points[-1].seconds or 1.0  # an upload that took no time still has an axis
        self._top, self.y_ticks = count_axis(most)
        self.x_ticks = time_ticks(self._span)

    def path(self, heights: Sequence[int], *, backwards: bool = False) -> str:
        places = [
            (point.seconds / self._span * SIDE, SIDE - height / self._top * SIDE)
            for point, height in zip(self._points, heights, strict=True)
        ]
        if self._points[-1].seconds == 0:
            places.append((SIDE, places[-1][1]))  # what was there at once is there to the end
        order: Callable[[list[tuple[float, float]]], Iterable[tuple[float, float]]] = reversed if backwards else iter
        return "L".join(f"{x:.1f} {y:.1f}" for x, y in order(places))
