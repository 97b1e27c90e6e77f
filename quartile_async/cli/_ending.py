"""How an upload ended, and what is said of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import typer
from pydantic_core import to_json
from rich.console import Console

from .. import Summary
from .._results import Tally
from ._display import print_summary
from ._job import Job, Writers
from ._words import say, say_to_copy


@dataclass(slots=True)
class Ending:
    """How an upload ended.

    Attributes:
        summary: the counts.
        unaccounted: items whose result was not learned; they are also counted as unknown.
        not_sent: items that this run could not send.
        declined: whether a person was asked, and said no: then nothing was sent.
        canary: whether no more than the first items were to be sent.
        details: what else is to be told, a line each.
    """

    summary: Summary
    unaccounted: int = 0
    not_sent: int = 0
    interrupted: bool = False
    error: Exception | None = None
    declined: bool = False
    canary: bool = False
    details: Sequence[str] = ()

    @property
    def whole(self) -> bool:
        """Whether all was read that was to be read."""
        return not self.interrupted and self.error is None

    @property
    def complete(self) -> bool:
        return self.summary.succeeded == self.summary.items

    @property
    def in_words(self) -> str:
        if self.error is not None:
            return f"stopped by an error: {self.error}"
        return "interrupted" if self.interrupted else "done"


def declined(console: Console) -> Ending:
    """Somebody was asked, and said no."""
    say(console, "Nothing was sent.")
    return Ending(Tally().summary(batches=0, seconds=0.0), declined=True)


def say_what_became_of_it(job: Job, ending: Ending, writers: Writers, console: Console) -> None:
    """The summary, what was written, and how to go on."""
    outputs = job.outputs
    print_summary(ending.summary, console, results=outputs.results, interrupted=ending.interrupted, error=ending.error)
    if writers.to_mend is not None:
        say(console, f"To mend and upload again: {writers.to_mend.written} rows in {outputs.retry_file}")
    if outputs.report is not None:
        say(console, f"The report: {outputs.report}")
    for line in ending.details:
        say(console, line)
    _say_what_is_left(job, ending, console)
    if outputs.as_json:
        typer.echo(to_json(_counts(ending.summary)).decode())


def _say_what_is_left(job: Job, ending: Ending, console: Console) -> None:
    if ending.canary:
        what = "the rest" if job.can_be_resumed else "all, these too"
        words = f"Only the first {ending.summary.items} were to be sent. To send {what}: {job.command}"
        say_to_copy(console, words)
        return
    if not ending.whole and job.spread is None:  # else the parts tell it
        say(
            console,
            f"{ending.summary.items} records of {job.name} were read; any that come after them were not, and have no "
            "result.",
        )
    if not job.can_be_resumed or (ending.whole and not ending.not_sent):
        return
    if ending.not_sent:
        say(console, f"{ending.not_sent} items were not sent.")
    say_to_copy(console, f"To go on where this has ended: {job.command}")


def _counts(summary: Summary) -> dict[str, Any]:
    names = ("items", "succeeded", "failed", "rejected", "unknown", "batches")
    return {name: getattr(summary, name) for name in names} | {"seconds": round(summary.seconds, 3)}
