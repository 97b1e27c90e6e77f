"""What a person sees: progress while it runs, and the summary."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.text import Text

from .. import Progress, QuartileError, Summary
from .._dask.results import PartsProgress
from ._words import say, say_error

REFRESH = 0.1
"""Seconds between two looks at the progress, on a terminal."""

PLAIN_EVERY = 5.0
"""Seconds between two lines, where standard error is no terminal."""

MOST_MESSAGES = 5


class HasProgress(Protocol):
    """What is shown."""

    @property
    def progress(self) -> Progress: ...


@contextlib.contextmanager
def display(upload: HasProgress, total: int, console: Console, sample: Callable[[Progress], object]) -> Iterator[None]:
    """Shows the progress of an upload for as long as the block runs.

    Args:
        upload: it.
        total: about how many items there are.
        console: where people look.
        sample: is called with the progress now and then, and at the end.
    """
    shown = _bar(upload, total, console) if console.is_terminal else _lines(upload, total, console)
    with shown, _repeated(lambda: sample(upload.progress), REFRESH):
        yield
    sample(upload.progress)


class _Bar(Bar):
    """The bar, and below it the counts: in one line they would leave it no room."""

    def get_renderables(self) -> Iterator[RenderableType]:
        yield self.make_tasks_table(self.tasks)
        for task in self.tasks:
            yield Text(task.fields["counts"], no_wrap=True, overflow="ellipsis")


@contextlib.contextmanager
def _bar(upload: HasProgress, total: int, console: Console) -> Iterator[None]:
    columns = (BarColumn(bar_width=None), MofNCompleteColumn(), TimeRemainingColumn(compact=True))
    with _Bar(*columns, console=console, expand=True) as bar:
        task = bar.add_task("upload", total=total, counts="")

        def update() -> None:
            progress = upload.progress
            # The total goes by lines; quoted line breaks make it too large, and the end mends it.
            bar.update(task, completed=progress.done, total=max(total, progress.read), counts=_short(progress))

        with _repeated(update, REFRESH):
            yield
        update()
        bar.update(task, total=upload.progress.done)


@contextlib.contextmanager
def _lines(upload: HasProgress, total: int, console: Console) -> Iterator[None]:
    def report() -> None:
        progress = upload.progress
        say(console, f"{progress.done} of about {total} items: {_short(progress)}")

    with _repeated(report, PLAIN_EVERY):
        yield


def _short(progress: Progress) -> str:
    counts = {
        "ok": progress.succeeded,
        "failed": progress.failed,
        "rejected": progress.rejected,
        "unknown": progress.unknown,
    }
    told = [f"{count} {name}" for name, count in counts.items() if count or name == "ok"]
    under_way = f", {progress.in_flight} batches in flight" if progress.in_flight else ""
    return f"{progress.rate:,.0f}/s  {', '.join(told)}{under_way}{_parts(progress)}"


def _parts(progress: Progress) -> str:
    if not isinstance(progress, PartsProgress):
        return ""
    return f", {progress.parts_ended} of {progress.parts} parts" if progress.parts else ", preparing its parts"


@contextlib.contextmanager
def _repeated(function: Callable[[], object], seconds: float) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    timers: list[asyncio.TimerHandle] = []

    def again() -> None:
        function()
        timers[:] = [loop.call_later(seconds, again)]

    timers.append(loop.call_later(seconds, again))
    try:
        yield
    finally:
        timers[0].cancel()


def print_summary(
    summary: Summary, console: Console, *, results: Path | None, interrupted: bool, error: Exception | None
) -> None:
    """The counts, the most frequent reasons, and how it ended."""
    rate = summary.items / summary.seconds if summary.seconds else 0.0
    how = "stopped by an error" if error else "interrupted" if interrupted else "done"
    console.print(
        f"{summary.items} items in {summary.batches} batches, {summary.seconds:.1f} s ({rate:,.0f} items/s): {how}."
    )
    for outcome in ("succeeded", "failed", "rejected", "unknown"):
        if (count := getattr(summary, outcome)) or outcome == "succeeded":
            console.print(f"{count:>10} {outcome}")
    for message, count in sorted(summary.messages.items(), key=lambda entry: -entry[1])[:MOST_MESSAGES]:
        say(console, f"{count:>10} × {message}")
    if len(summary.messages) > MOST_MESSAGES:
        console.print(f"{'':>10} and {len(summary.messages) - MOST_MESSAGES} other messages.")
    if results is not None:
        say(console, f"Each item's result: {results}")
    if error is not None:
        kind = "" if isinstance(error, QuartileError | OSError) else f"{type(error).__name__}: "
        say_error(console, f"{kind}{error}")
        say(console, "Items without a result are counted as unknown; those that were not sent can be sent again.")
