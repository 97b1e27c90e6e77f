"""What is in a file, checked as an upload would check it."""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console

from .. import Resource
from .._results import ItemResult, Outcome
from .._tables.results import place_of
from .._validation import ItemCodec, codec_for
from ._job import Source
from ._words import say

BLOCK = 500
"""Records that are checked in one go: some milliseconds."""

MOST_PROBLEMS, MOST_EXAMPLES = 5, 5
"""Invalid records that are shown, and valid ones."""

TARGET = "percACoS"


@dataclass(slots=True)
class Findings:
    """What was found.

    Attributes:
        valid: records that would be sent.
        invalid: how many others there are.
        examples: the first that would be sent, as they would be sent.
        problems: the first of the others: their record numbers, lines and reasons.
        targets: how often each target occurs, rounded to hundredths of a percent: few, however long the file is.
        seconds: how long it took.
    """

    valid: int = 0
    invalid: int = 0
    examples: list[Mapping[str, Any]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    targets: Counter[float] = field(default_factory=Counter)
    seconds: float = 0.0
    most_examples: int = MOST_EXAMPLES

    @property
    def records(self) -> int:
        """How many there are."""
        return self.valid + self.invalid

    def add(self, first: int, records: Sequence[Any], codec: ItemCodec) -> list[ItemResult[Any]]:
        """Checks records, of which the first has this index; gives a result for each that is invalid."""
        checked = codec.check(records)
        self.valid += len(checked.positions)
        self.targets.update(_targets(checked.wires))
        self.examples += itertools.islice(checked.wires, self.most_examples - len(self.examples))
        rejected = [
            ItemResult(first + position, records[position], Outcome.REJECTED, problem)
            for position, problem in sorted(checked.problems.items())
        ]
        self.invalid += len(rejected)
        for result in rejected[: MOST_PROBLEMS - len(self.problems)]:
            item = result.item
            place = place_of(result.index, getattr(item, "line", None), getattr(item, "file", None))
            self.problems.append(f"{place}: {result.message}")
        return rejected

    def quantile(self, share: float) -> float:
        """The target that this share of the valid records do not exceed."""
        place, passed = share * (self.targets.total() - 1), 0
        for target in sorted(self.targets):
            passed += self.targets[target]
            if passed > place:
                return target
        raise ValueError("there are no targets")

    def tell(self, console: Console) -> None:
        """Says what is valid, and what is wrong with the rest."""
        say(console, f"{self.valid:>10,} valid")
        if self.invalid:
            say(console, f"{self.invalid:>10,} invalid")
        if self.targets:
            least, middle, most = (self.quantile(share) for share in (0.0, 0.5, 1.0))
            say(console, f"{TARGET}: from {least:g} to {most:g}, the median is {middle:g}")
        for problem in self.problems:
            say(console, problem)
        if self.invalid > len(self.problems):
            say(console, f"and {self.invalid - len(self.problems):,} more")


def _targets(wires: Iterable[Mapping[str, Any]]) -> Iterable[float]:
    return (round(wire[TARGET], 2) for wire in wires if TARGET in wire)


async def looked_through(
    source: Source,
    resource: Resource[Any],
    handle: Callable[[list[ItemResult[Any]]], Awaitable[None]] | None = None,
    *,
    most_examples: int = MOST_EXAMPLES,
) -> Findings:
    """Checks all records.

    Args:
        source: the records.
        resource: what they are.
        handle: is handed the results of those that are invalid.
        most_examples: how many valid ones are kept.

    Raises:
        OSError: a file cannot be read to its end.
    """
    codec, findings, begun = codec_for(resource), Findings(most_examples=most_examples), time.perf_counter()

    async def check(first: int, block: list[Any]) -> None:
        rejected = findings.add(first, block, codec)
        if rejected and handle is not None:
            await handle(rejected)

    first, block = 0, list[Any]()
    async for record in source:
        block.append(record)
        if len(block) == BLOCK:
            await check(first, block)
            first, block = first + BLOCK, []
    await check(first, block)
    findings.seconds = time.perf_counter() - begun
    return findings
