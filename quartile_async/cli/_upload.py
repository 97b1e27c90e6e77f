"""The command that uploads files."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from .._tables.headers import parsed_map
from .._tables.values import PercentScale, checked_decimal
from ._accounts import settings_for
from ._app import (
    INCOMPLETE,
    INTERRUPTED,
    RESOURCES,
    STOPPED,
    SUCCEEDED,
    BaseUrl,
    BatchPathsOption,
    ProfileOption,
    ResourceName,
    account_of,
    advise,
    app,
    err,
    run_to_its_end,
    unusable,
    usable,
)
from ._dry_run import dry_run
from ._ending import Ending
from ._faults import show_traceback
from ._inputs import Inputs, inputs_of
from ._job import Job, Outputs, Understanding
from ._journals import Wish, default_journal
from ._own_command import same_command
from ._run import run_job
from ._spread import LOCAL, check_together, spread_over

PipeFormat = Literal["csv", "csv.gz", "csv.zst", "json", "jsonl", "jsonl.gz", "jsonl.zst", "xlsx", "parquet"]


@app.command()
def upload(
    context: typer.Context,
    files: Annotated[
        list[Path],
        typer.Argument(
            help="CSV, Excel (.xlsx), JSON, JSON Lines or Parquet, text also with .gz or .zst; or a pattern such as "
            "'*.csv'; - is standard input, read to its end first.",
            show_default=False,
        ),
    ],
    resource: Annotated[ResourceName, typer.Option(help="What the files' items are.")] = "masterlist",
    profile: ProfileOption = None,
    base_url: BaseUrl = None,
    batch_paths: BatchPathsOption = "example",
    max_in_flight: Annotated[
        int | None,
        typer.Option(
            min=1, help="Batches under way at once. Default: 16; with --dask 64, over all workers.", show_default=False
        ),
    ] = None,
    results: Annotated[
        Path | None,
        typer.Option(help="Write each item's result to this .csv, .jsonl or .parquet file.", show_default=False),
    ] = None,
    retry_file: Annotated[
        Path | None,
        typer.Option(
            help="Write the rows that did not succeed to this file, in the input's own columns: to mend, and upload "
            "again.",
            show_default=False,
        ),
    ] = None,
    report: Annotated[
        Path | None, typer.Option(help="Write a page (.html) to send on: counts, charts, failures.", show_default=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the counts as one line of JSON at the end.")] = False,
    account: Annotated[
        str | None,
        typer.Option(help="A label for whose data this is.", envvar="QUARTILE_ACCOUNT", show_default=False),
    ] = None,
    journal: Annotated[
        Path | None,
        typer.Option(
            help="Where the upload is written down, so that it can be resumed. Default: FILE.journal, or "
            "FILE.ACCOUNT.journal where there is a label; none for a pipe. With --dask: its name in Redis.",
            show_default=False,
        ),
    ] = None,
    no_journal: Annotated[bool, typer.Option("--no-journal", help="Write nothing down.")] = False,
    again: Annotated[bool, typer.Option("--again", help="Send a file that was uploaded already once more.")] = False,
    restart: Annotated[bool, typer.Option("--restart", help="Set an earlier journal aside, and begin anew.")] = False,
    column_map: Annotated[
        list[str] | None,
        typer.Option(
            "--map",
            metavar="COLUMN=FIELD",
            help="Which column is which field, where it has another name. May be given more than once.",
            show_default=False,
        ),
    ] = None,
    decimal: Annotated[
        str | None, typer.Option(metavar=", or .", help="The decimal mark. Default: found out.", show_default=False)
    ] = None,
    percent_scale: Annotated[
        Literal["1", "100"] | None,
        typer.Option(help="1: targets are percent (27.5), 100: fractions (0.275).", show_default=False),
    ] = None,
    encoding: Annotated[
        str | None,
        typer.Option(
            help="Of text, such as latin-1. Default: UTF-8, or UTF-16 where it begins so.", show_default=False
        ),
    ] = None,
    sheet: Annotated[
        str | None, typer.Option(help="Of a workbook. Default: the first one with any cells.", show_default=False)
    ] = None,
    first: Annotated[
        int | None,
        typer.Option(min=1, help="Send only so many items, to see how they fare, and stop.", show_default=False),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before sending.")] = False,
    dry: Annotated[
        bool, typer.Option("--dry-run", help="Check the whole file, and send nothing; needs no credentials.")
    ] = False,
    pipe_format: Annotated[
        PipeFormat | None,
        typer.Option("--format", help="What comes through a pipe. Default: by its name, else csv.", show_default=False),
    ] = None,
    dask: Annotated[
        str | None,
        typer.Option(
            metavar="local|ADDRESS",
            help="Upload by many workers: those of a Dask cluster, or processes of this machine (local).",
            show_default=False,
        ),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="With --dask local. Default: one for each core.", show_default=False)
    ] = None,
    part_items: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="With --dask: the most items of a part. Default: 1,000 to 50,000, about four parts for each worker.",
            show_default=False,
        ),
    ] = None,
    redis: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="With --dask: the Redis of the journal. Default: QUARTILE_REDIS_URL. With a password only there.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Upload a file of items.

    The credentials come from the environment: QUARTILE_SUBSCRIPTION_KEY, and QUARTILE_ACCESS_TOKEN or
    QUARTILE_USERNAME and QUARTILE_PASSWORD; or from quartile-async login; or from a profile and its own login.

    An upload that was interrupted, or killed, is resumed by the same command. A file that was uploaded already is not
    sent again, unless its content is new.

    Example: quartile-async upload catalogue.xlsx --results results.csv --retry-file retry.csv --report report.html

    Exit codes: 0 every item succeeded (with --dry-run: is valid), 1 some items did not, 2 bad usage, file or
    configuration, 3 stopped by an error, 130 interrupted, or not confirmed.
    """
    with usable():
        understanding = Understanding(
            parsed_map(column_map or ()), checked_decimal(decimal), _scale(percent_scale), encoding, sheet
        )
        check_together(
            dask,
            _given(
                {
                    "--first": first,
                    "--no-journal": no_journal,
                    "--again": again,
                    "--profile": profile,
                    "--redis": redis,
                    "--workers": workers,
                    "--part-items": part_items,
                }
            ),
        )
    options = {"base_url": base_url, "max_in_flight": max_in_flight, "batch_paths": batch_paths, "account": account}
    account_ = account_of(context, profile, options)
    with usable():
        settings = settings_for(account_) if not dry and dask in (None, LOCAL) else account_.settings
    if dry and (first is not None or report is not None):
        unusable("--dry-run checks the whole file and sends nothing: it goes with neither --first nor --report.")
    if no_journal and (journal or again or restart):
        unusable("--no-journal goes with none of --journal, --again and --restart.")
    outputs = Outputs(results, retry_file, report, as_json)
    with _inputs(files, pipe_format, outputs) as inputs:
        spread = None
        if dask is not None and not dry:
            spread = spread_over(
                dask,
                redis=redis,
                journal=journal,
                inputs=inputs,
                account=settings.get("account"),
                server=account_.server,
                resource=RESOURCES[resource],
                workers=workers,
                part_items=part_items,
                restart=restart,
            )
            settings = settings | {"base_url": account_.server}
        place = None if no_journal or spread else journal or default_journal(inputs, settings.get("account"))
        job = Job(
            inputs.paths,
            RESOURCES[resource],
            settings,
            outputs,
            understanding,
            name=inputs.name,
            journal=Wish(place, again, restart) if place else None,
            command=same_command(),
            asks=not yes,
            first=first,
            spread=spread,
        )
        if dry:
            raise typer.Exit(SUCCEEDED if run_to_its_end(dry_run(job, err)) else INCOMPLETE)
        ending = run_to_its_end(_uploaded(job))
    if ending.interrupted or ending.declined:
        raise typer.Exit(INTERRUPTED)
    if ending.error is not None:
        show_traceback(ending.error)
        advise(ending.error, settings)
        raise typer.Exit(STOPPED)
    raise typer.Exit(SUCCEEDED if ending.complete else INCOMPLETE)


def _given(options: dict[str, Any]) -> set[str]:
    return {option for option, value in options.items() if value is not None and value is not False}


async def _uploaded(job: Job) -> Ending:
    if job.spread is None:
        return await run_job(job, err)
    from ._run_spread import run_spread  # which needs dask and redis

    return await run_spread(job, job.spread, err)


@contextmanager
def _inputs(files: list[Path], pipe_format: str | None, outputs: Outputs) -> Iterator[Inputs]:
    with usable(), contextlib.ExitStack() as stack:
        yield stack.enter_context(inputs_of(files, pipe_format, outputs.paths.values()))


def _scale(text: Literal["1", "100"] | None) -> PercentScale | None:
    return None if text is None else 1 if text == "1" else 100
