"""A file checked as an upload would check it, and nothing sent."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import anyio.to_thread
import typer
from pydantic_core import to_json
from rich.console import Console

from .._results import ItemResult, Outcome
from .._validation import ItemCodec, codec_for
from ..files import ResultWriter, RetryWriter
from ._display import say
from ._run import Job, check_paths, opened_source, say_columns

BLOCK = 500
"""Records that are checked in one go: some milliseconds."""

MOST_PROBLEMS = 5
"""Invalid records that are shown."""

TARGET = "percACoS"


@dataclass(slots=True)
class Findings:
    """What was found in a file.

    Attributes:
        valid: records that would be sent.
        problems: the first of the others: their record numbers, lines and reasons.
        invalid: how many others there are.
        targets: how often each target occurs, rounded to hundredths of a percent: few, however long the file is.
    """

    valid: int = 0
    invalid: int = 0
    problems: list[str] = field(default_factory=list)
    targets: Counter[float] = field(default_factory=Counter)

    def add(self, first: int, records: Sequence[Any], codec: ItemCodec) -> list[ItemResult[Any]]:
        """Checks records, of which the first has this index; gives a result for each that is invalid."""
        checked = codec.check(records)
        self.valid += len(checked.positions)
        self.targets.update(_targets(checked.wires))
        rejected = [
            ItemResult(first + position, records[position], Outcome.REJECTED, problem)
            for position, problem in sorted(checked.problems.items())
        ]
        self.invalid += len(rejected)
        for result in rejected[: MOST_PROBLEMS - len(self.problems)]:
            line = getattr(result.item, "line", None)
            self.problems.append(f"record {result.index + 1} (line {line}): {result.message}")
        return rejected

    def quantile(self, share: float) -> float:
        """The target that this share of the valid records do not exceed."""
        place, passed = share * (self.targets.total() - 1), 0
        for target in sorted(self.targets):
            passed += self.targets[target]
            if passed > place:
                return target
        raise ValueError("there are no targets")


def _targets(wires: Iterable[Mapping[str, Any]]) -> Iterable[float]:
    return (round(wire[TARGET], 2) for wire in wires if TARGET in wire)


async def dry_run(job: Job, console: Console) -> bool:
    """Checks the whole file, and says what was found; gives whether all of it is valid.

    Invalid records are written to the results and to the rows to mend, where such files are named.

    Raises:
        ConfigurationError, OSError: a file cannot be used.
    """
    source = await anyio.to_thread.run_sync(opened_source, job)
    check_paths(job)
    say_columns(source, console)
    codec, findings, begun = codec_for(job.resource), Findings(), time.perf_counter()
    with contextlib.ExitStack() as stack:
        writers: list[ResultWriter | RetryWriter] = []
        if job.results is not None:
            writers.append(stack.enter_context(ResultWriter(job.results, source.columns, complete=source.complete)))
        if job.retry_file is not None:
            writers.append(
                stack.enter_context(RetryWriter(job.retry_file, source.columns, source.delimiter, source.header))
            )

        async def check(first: int, block: list[Any]) -> None:
            if rejected := findings.add(first, block, codec):
                for writer in writers:
                    await anyio.to_thread.run_sync(writer.write, rejected)

        first, block = 0, list[Any]()
        async for record in source:
            block.append(record)
            if len(block) == BLOCK:
                await check(first, block)
                first, block = first + BLOCK, []
        await check(first, block)
    _tell(job, findings, time.perf_counter() - begun, console)
    return not findings.invalid


def _tell(job: Job, findings: Findings, seconds: float, console: Console) -> None:
    count = findings.valid + findings.invalid
    rate = count / seconds if seconds > 0 else 0.0
    name = job.name or job.file.name
    say(console, f"{name}: {count:,} records checked in {seconds:.1f} s ({rate:,.0f}/s). Nothing was sent.")
    say(console, f"{findings.valid:>10,} valid")
    if findings.invalid:
        say(console, f"{findings.invalid:>10,} invalid")
    if findings.targets:
        least, middle, most = (findings.quantile(share) for share in (0.0, 0.5, 1.0))
        say(console, f"{TARGET}: from {least:g} to {most:g}, the median is {middle:g}")
    for problem in findings.problems:
        say(console, problem)
    if findings.invalid > len(findings.problems):
        say(console, f"and {findings.invalid - len(findings.problems):,} more")
    if job.as_json:
        counts = {"items": count, "valid": findings.valid, "invalid": findings.invalid, "seconds": round(seconds, 3)}
        typer.echo(to_json(counts).decode())
