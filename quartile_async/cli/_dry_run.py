"""A file checked as an upload would check it, and nothing sent."""

from __future__ import annotations

from typing import Any

import anyio.to_thread
import typer
from pydantic_core import to_json
from rich.console import Console

from .._results import ItemResult
from ._findings import Findings, looked_through
from ._job import Job, check_paths, opened_source, opened_writers, say_what_was_understood
from ._words import say


async def dry_run(job: Job, console: Console) -> bool:
    """Checks the whole file, and says what was found; gives whether all of it is valid.

    Invalid records are written to the results and to the rows to mend, where such files are named.

    Raises:
        ConfigurationError, OSError: a file cannot be used.
    """
    source = await anyio.to_thread.run_sync(opened_source, job)
    check_paths(job)
    say_what_was_understood(source, console)
    with opened_writers(job, source) as writers:

        async def write(rejected: list[ItemResult[Any]]) -> None:
            for writer in writers.all:
                await anyio.to_thread.run_sync(writer.write, rejected)

        findings = await looked_through(source, job.resource, write)
    _tell(job, findings, console)
    return not findings.invalid


def _tell(job: Job, findings: Findings, console: Console) -> None:
    rate = findings.records / findings.seconds if findings.seconds > 0 else 0.0
    say(
        console,
        f"{job.name}: {findings.records:,} records checked in {findings.seconds:.1f} s ({rate:,.0f}/s). Nothing was "
        "sent.",
    )
    findings.tell(console)
    if job.outputs.results is not None:
        say(console, f"The invalid records' results: {job.outputs.results}")
    if job.outputs.retry_file is not None:
        say(console, f"To mend: {findings.invalid} rows in {job.outputs.retry_file}")
    if job.outputs.as_json:
        counts = {
            "items": findings.records,
            "valid": findings.valid,
            "invalid": findings.invalid,
            "seconds": round(findings.seconds, 3),
        }
        typer.echo(to_json(counts).decode())
