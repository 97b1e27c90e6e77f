"""What a question is, and what an answer to it consists of."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any, TypeAlias


@dataclass(slots=True, frozen=True)
class Verdict:
    """A figure beside its goal.

    Attributes:
        what: which figure.
        figure: the median of the runs.
        goal: the most, or the least, that it should be.
        at_most: whether it is the most.
    """

    what: str
    figure: float
    goal: float
    at_most: bool = True

    @property
    def is_met(self) -> bool:
        return self.figure <= self.goal if self.at_most else self.figure >= self.goal

    def __str__(self) -> str:
        bound = "at most" if self.at_most else "at least"
        return (
            f"{'met   ' if self.is_met else 'MISSED'}  {self.what}: {self.figure:.3g} (goal: {bound} {self.goal:.3g})"
        )


@dataclass(slots=True, frozen=True)
class Answer:
    """What was found.

    Attributes:
        table: to read.
        figures: to keep, as JSON.
        verdicts: beside the goals. A goal that is missed fails nothing: machines differ.
    """

    table: str
    figures: Mapping[str, Any]
    verdicts: Sequence[Verdict] = field(default_factory=list)


Question: TypeAlias = Callable[[bool], Answer]
"""Of whether it has to be quick. Raises BenchmarkError or DishonestRunError."""


def spread(values: Sequence[float]) -> str:
    """The median, and between what it lies."""
    return f"{median(values):.3g} ({min(values):.3g} to {max(values):.3g})"
