"""What a person sees before anything is sent, and the question."""

from __future__ import annotations

import signal
import sys

from rich.console import Console
from rich.prompt import Confirm
from rich.table import Table
from rich.text import Text

from ._findings import MOST_EXAMPLES, Findings, looked_through
from ._job import Job, Source
from ._journals import Standing
from ._words import plain, say


def is_asked(job: Job, console: Console) -> bool:
    """Whether there is a person who can be asked."""
    return job.asks and console.is_terminal and sys.stdin.isatty()


def where_to(server: str, account: str | None) -> str:
    """Where items go, for people."""
    return f"{server}, account: {account or 'no label'}"


async def previewed(
    job: Job, source: Source, standing: Standing, console: Console, *, where: str
) -> tuple[Findings, bool]:
    """Looks through the whole file, shows what was understood and `where` it goes, and asks; gives the answer.

    Raises:
        OSError: the file cannot be read to its end.
    """
    with console.status(f"Looking through {job.name}"):
        findings = await looked_through(
            source, job.resource, most_examples=min(MOST_EXAMPLES, job.first or MOST_EXAMPLES)
        )
    _show_examples(findings, console)
    say(console, f"{job.name}: {findings.records:,} records")
    findings.tell(console)
    return findings, findings.valid > 0 and _confirmed(job, findings, standing, console, where)


def _show_examples(findings: Findings, console: Console) -> None:
    if not findings.examples:
        return
    columns = dict.fromkeys(name for example in findings.examples for name in example)
    table = Table(title=f"The first {len(findings.examples)} as they will be sent", title_justify="left")
    for name in columns:
        table.add_column(name, overflow="fold")
    for example in findings.examples:
        table.add_row(*(Text(plain(str(example.get(name, "")))) for name in columns))
    console.print(table)


def _confirmed(job: Job, findings: Findings, standing: Standing, console: Console, where: str) -> bool:
    say(console, f"To {where}")
    count = findings.valid if job.first is None else min(job.first, findings.records)
    what = f"the {count:,} valid records" if job.first is None else f"the first {count:,} records"
    if job.first is None and not findings.invalid:
        what = f"all {count:,} records"
    if standing.left_off_at:
        say(console, f"An upload of it was last under way on {standing.when}, and had read {standing.left_off_at:,}.")
        return _asked("Go on with it, and send what is left?", console)
    return _asked(f"Send {what}?", console)


class _YesOrNo(Confirm):
    def process_response(self, value: str) -> bool:
        return super().process_response(value.strip().lower()[:1])


def _asked(question: str, console: Console) -> bool:
    """Asks; Ctrl-C leaves at once, and the end of the input is no."""
    # The loop's own handler would wait until the question is answered.
    of_the_loop = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return _YesOrNo.ask(question, console=console, default=False)
    except EOFError:
        return False
    finally:
        signal.signal(signal.SIGINT, of_the_loop)
