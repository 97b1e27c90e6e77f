"""The commands: what can be asked for, and what each exit code means."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn

import typer
from rich.console import Console

from .. import (
    MASTERLIST,
    UNMANAGED_ASINS,
    UNMANAGED_CAMPAIGNS,
    ConfigurationError,
    JournalError,
    QuartileError,
    Resource,
    __version__,
)
from .._tables.headers import parsed_map
from .._tables.values import PercentScale, checked_decimal
from ._accounts import Account, account_for, advice_on, check_key, complete_profile, settings_for
from ._dry_run import dry_run
from ._ending import Ending
from ._faults import show_traceback
from ._held import Held
from ._inputs import Inputs, inputs_of
from ._job import Job, Outputs, Understanding
from ._journals import Wish, default_journal
from ._login import asked_password, asked_username, log_in, log_out, tell_login
from ._own_command import same_command
from ._questions import check_credentials, show_batch
from ._run import run_job
from ._spread import LOCAL, check_together, spread_over
from ._words import say, say_error

SUCCEEDED, INCOMPLETE, UNUSABLE, STOPPED, INTERRUPTED = 0, 1, 2, 3, 130

RESOURCES: dict[str, Resource[Any]] = {
    "masterlist": MASTERLIST,
    "unmanaged-asins": UNMANAGED_ASINS,
    "unmanaged-campaigns": UNMANAGED_CAMPAIGNS,
}
ResourceName = Literal["masterlist", "unmanaged-asins", "unmanaged-campaigns"]
BaseUrl = Annotated[str | None, typer.Option(help="The API's address.", envvar="QUARTILE_BASE_URL", show_default=False)]
PipeFormat = Literal["csv", "csv.gz", "csv.zst", "json", "jsonl", "jsonl.gz", "jsonl.zst", "xlsx", "parquet"]
BatchPathsOption = Annotated[
    Literal["example", "table"], typer.Option(help="Which of the documentation's spellings of the paths to use.")
]
ProfileOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="An account in the file of profiles.",
        envvar="QUARTILE_PROFILE",
        autocompletion=complete_profile,
        show_default=False,
    ),
]

app: typer.Typer = typer.Typer(
    name="quartile-async",
    help="Upload items to Quartile's batch API: each gets exactly one honest result.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
err = Console(stderr=True, highlight=False)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def quartile_async(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Upload items to Quartile's batch API: each gets exactly one honest result."""


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
    with _usable():
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
    account_ = _account(context, profile, options)
    with _usable():
        settings = settings_for(account_) if not dry and dask in (None, LOCAL) else account_.settings
    if dry and (first is not None or report is not None):
        _unusable("--dry-run checks the whole file and sends nothing: it goes with neither --first nor --report.")
    if no_journal and (journal or again or restart):
        _unusable("--no-journal goes with none of --journal, --again and --restart.")
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
            raise typer.Exit(SUCCEEDED if _run(dry_run(job, err)) else INCOMPLETE)
        ending = _run(_uploaded(job))
    if ending.interrupted or ending.declined:
        raise typer.Exit(INTERRUPTED)
    if ending.error is not None:
        show_traceback(ending.error)
        _advise(ending.error, settings)
        raise typer.Exit(STOPPED)
    raise typer.Exit(SUCCEEDED if ending.complete else INCOMPLETE)


def _given(options: dict[str, Any]) -> set[str]:
    return {option for option, value in options.items() if value is not None and value is not False}


async def _uploaded(job: Job) -> Ending:
    if job.spread is None:
        return await run_job(job, err)
    from ._run_spread import run_spread  # which needs dask and redis

    return await run_spread(job, job.spread, err)


@app.command()
def journal(
    file: Annotated[Path, typer.Argument(help="The journal.", show_default=False)],
    as_json: Annotated[bool, typer.Option("--json", help="Print one line of JSON.")] = False,
) -> None:
    """Show what a journal holds: counts, batches that are still open, when it was begun and last touched.

    Example: quartile-async journal catalogue.csv.journal

    Exit codes: 0 it was shown, 2 it cannot be read, or an upload is using it.
    """
    try:
        held = Held.of(file)
    except JournalError as error:
        _unusable(str(error))
    typer.echo(held.as_json() if as_json else held.as_text())


@app.command()
def batch(
    context: typer.Context,
    batch_id: Annotated[str, typer.Argument(help="The id that the server gave.", show_default=False)],
    wait: Annotated[bool, typer.Option("--wait", help="Ask until it has ended.")] = False,
    resource: Annotated[ResourceName, typer.Option(help="What its items are.")] = "masterlist",
    profile: ProfileOption = None,
    base_url: BaseUrl = None,
    batch_paths: BatchPathsOption = "example",
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as one line of JSON.")] = False,
) -> None:
    """Show what became of a batch: its rows as JSON Lines, and what they come to.

    The credentials are those of upload.

    Example: quartile-async batch 507f1f77bcf86cd799439011 --wait

    Exit codes: 0 it has ended and every row succeeded, 1 it has not ended or some rows did not succeed, 2 bad usage or
    configuration, 3 it could not be asked for, 130 interrupted.
    """
    settings = _settings(context, profile, {"base_url": base_url, "batch_paths": batch_paths})
    question = show_batch(batch_id, RESOURCES[resource], settings, wait=wait, as_json=as_json, console=err)
    whole = _asked(question, settings)
    raise typer.Exit(SUCCEEDED if whole else INCOMPLETE)


@app.command()
def check(context: typer.Context, profile: ProfileOption = None, base_url: BaseUrl = None) -> None:
    """Check that the address, the subscription key and the access token work. Nothing is changed.

    The credentials are those of upload.

    Example: quartile-async check

    Exit codes: 0 they work, 2 bad usage or configuration, 3 they do not, or there is no answer, 130 interrupted.
    """
    settings = _settings(context, profile, {"base_url": base_url})
    _asked(check_credentials(settings, err), settings)


@app.command()
def login(
    context: typer.Context,
    username: Annotated[
        str | None,
        typer.Option(help="Default: the profile's, or else QUARTILE_USERNAME; or it is asked for.", show_default=False),
    ] = None,
    password_stdin: Annotated[
        bool, typer.Option("--password-stdin", help="Take the password from one line of standard input.")
    ] = False,
    profile: ProfileOption = None,
    base_url: BaseUrl = None,
) -> None:
    """Log in with a user name and a password, and keep the tokens for upload, batch and check.

    The password is asked for without echo, and kept nowhere.

    Example: quartile-async login --profile acme-de

    Exit codes: 0 logged in, 2 bad usage or configuration, 3 the login was refused, or there is no answer, 130
    interrupted.
    """
    account = _account(context, profile, {"base_url": base_url})
    with _usable():
        check_key(account)
        name = asked_username(account, username)
        password = asked_password(name, from_stdin=password_stdin)
    _asked(log_in(account, name, password), account.settings)
    tell_login(account, name, say=lambda line: say(err, line))


@app.command()
def logout(context: typer.Context, profile: ProfileOption = None, base_url: BaseUrl = None) -> None:
    """Remove the tokens of a login from this machine.

    Example: quartile-async logout --profile acme-de

    Exit codes: 0 they are not there any more, 2 bad usage or configuration.
    """
    account = _account(context, profile, {"base_url": base_url})
    with _usable():
        removed = log_out(account)
    say(err, f"Logged out: {account}." if removed else f"There was no stored login: {account}.")


@app.command()
def demo(
    items: Annotated[int, typer.Option(min=1, help="How many items the catalogue has.")] = 20_000,
    seed: Annotated[int, typer.Option(help="Another seed gives another catalogue.")] = 1,
    max_in_flight: Annotated[int, typer.Option(min=1, help="Batches under way at once.")] = 16,
    as_json: Annotated[bool, typer.Option("--json", help="Print the counts as one line of JSON at the end.")] = False,
) -> None:
    """Upload a made-up catalogue to an embedded emulator of the API.

    Nothing leaves this machine. A few rows are invalid, and some the server will refuse, to show what becomes of
    them.

    Example: quartile-async demo --items 5000
    """
    from ._demo import run_demo  # the other commands need no server

    ending = _run(run_demo(items=items, seed=seed, max_in_flight=max_in_flight, as_json=as_json, console=err))
    if ending.interrupted:
        raise typer.Exit(INTERRUPTED)
    raise typer.Exit(SUCCEEDED if ending.error is None and ending.unaccounted == 0 else STOPPED)


@app.command()
def emulator(
    host: Annotated[str, typer.Option(help="Where it listens.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65_535, help="0 takes a free port.")] = 0,
    seed: Annotated[int, typer.Option(help="Keys, failures and times follow from it.")] = 0,
    processing: Annotated[float, typer.Option(min=0.0, help="Seconds until a batch has ended.")] = 1.0,
    fail_share: Annotated[float, typer.Option(min=0.0, max=1.0, help="The share of items that fail.")] = 0.0,
) -> None:
    """Run the emulator of the API, until Ctrl-C.

    Its address is the first line on standard output; the lines after it set the environment for `upload`.

    Example: quartile-async emulator --port 8080 --processing 0.5
    """
    from ._emulator import run_emulator  # the other commands need no server

    _run(run_emulator(host=host, port=port, seed=seed, processing=processing, fail_share=fail_share))


def _account(context: typer.Context, profile: str | None, options: dict[str, Any]) -> Account:
    sources = {name: context.get_parameter_source(name) for name in options}
    typed = frozenset(name for name, source in sources.items() if source is not None and source.name == "COMMANDLINE")
    with _usable():
        return account_for(profile, options, typed, warn=lambda line: say(err, f"Warning: {line}"))


def _settings(
    context: typer.Context, profile: str | None, options: dict[str, Any], *, needs_auth: bool = True
) -> dict[str, Any]:
    account = _account(context, profile, options)
    with _usable():
        return settings_for(account) if needs_auth else account.settings


def _asked(question: Coroutine[Any, Any, Any], settings: dict[str, Any]) -> Any:
    """Runs a command that only asks; an answer that is an error ends with its words and exit code 3."""
    try:
        return _run(question)
    except QuartileError as error:
        show_traceback(error)
        say_error(err, str(error))
        _advise(error, settings)
        raise typer.Exit(STOPPED) from None


def _advise(error: Exception, settings: dict[str, Any]) -> None:
    """Says what the command line alone knows of an error."""
    if (advice := advice_on(error, settings)) is not None:
        say(err, advice)


@contextmanager
def _usable() -> Iterator[None]:
    """What a user can mend ends with a few lines and exit code 2."""
    try:
        yield
    except (ConfigurationError, JournalError) as error:
        _unusable(str(error))
    except ModuleNotFoundError as error:
        _unusable(f"{error}. Install it with: pip install 'quartile-async[cli]'")
    except OSError as error:
        _unusable(f"{error.filename}: {error.strerror}. Check the path." if error.filename else str(error))
    except (KeyboardInterrupt, typer.Abort):
        raise typer.Exit(INTERRUPTED) from None


def _run(work: Coroutine[Any, Any, Any]) -> Any:
    with _usable():
        return asyncio.run(work)


@contextmanager
def _inputs(files: list[Path], pipe_format: str | None, outputs: Outputs) -> Iterator[Inputs]:
    with _usable(), contextlib.ExitStack() as stack:
        yield stack.enter_context(inputs_of(files, pipe_format, outputs.paths.values()))


def _scale(text: Literal["1", "100"] | None) -> PercentScale | None:
    return None if text is None else 1 if text == "1" else 100


def _unusable(what: str) -> NoReturn:
    show_traceback(sys.exception())
    say_error(err, what)
    raise typer.Exit(UNUSABLE) from None
