"""The commands: what can be asked for, and what each exit code means."""

from __future__ import annotations

import asyncio
import contextlib
import shlex
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
from .._headers import parsed_map
from ._demo import own_command, run_demo
from ._dry_run import dry_run
from ._emulator import run_emulator
from ._held import Held
from ._journals import Wish, default_journal
from ._pipes import is_pipe, spooled
from ._questions import check_credentials, show_batch
from ._run import Job, run_job

SUCCEEDED, INCOMPLETE, UNUSABLE, STOPPED, INTERRUPTED = 0, 1, 2, 3, 130

RESOURCES: dict[str, Resource[Any]] = {
    "masterlist": MASTERLIST,
    "unmanaged-asins": UNMANAGED_ASINS,
    "unmanaged-campaigns": UNMANAGED_CAMPAIGNS,
}
ResourceName = Literal["masterlist", "unmanaged-asins", "unmanaged-campaigns"]
BaseUrl = Annotated[str | None, typer.Option(help="The API's address.", envvar="QUARTILE_BASE_URL", show_default=False)]
BatchPathsOption = Annotated[
    Literal["example", "table"], typer.Option(help="Which of the documentation's spellings of the paths to use.")
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
    file: Annotated[
        Path,
        typer.Argument(
            help="CSV (comma, semicolon, tab or bar) or JSON Lines; - is standard input, read to its end first.",
            show_default=False,
        ),
    ],
    resource: Annotated[ResourceName, typer.Option(help="What the file's items are.")] = "masterlist",
    base_url: BaseUrl = None,
    batch_paths: BatchPathsOption = "example",
    max_in_flight: Annotated[int, typer.Option(min=1, help="Batches under way at once.")] = 16,
    results: Annotated[
        Path | None, typer.Option(help="Write each item's result to this .csv or .jsonl file.", show_default=False)
    ] = None,
    retry_file: Annotated[
        Path | None,
        typer.Option(
            help="Write the rows that did not succeed to this file, in the input's own columns: to mend, and upload "
            "again.",
            show_default=False,
        ),
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
            "FILE.ACCOUNT.journal where there is a label; none for a pipe.",
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
            help="Which column of a CSV file is which field, where it has another name. May be given more than once.",
            show_default=False,
        ),
    ] = None,
    dry: Annotated[
        bool, typer.Option("--dry-run", help="Check the whole file, and send nothing; needs no credentials.")
    ] = False,
    pipe_format: Annotated[
        Literal["csv", "jsonl"] | None, typer.Option("--format", help="What comes through a pipe.", show_default="csv")
    ] = None,
) -> None:
    """Upload a file of items.

    The credentials come from the environment: QUARTILE_SUBSCRIPTION_KEY, and QUARTILE_ACCESS_TOKEN or
    QUARTILE_USERNAME and QUARTILE_PASSWORD.

    An upload that was interrupted, or killed, is resumed by the same command. A file that was uploaded already is not
    sent again, unless its content is new.

    Example: quartile-async upload catalogue.csv --results results.csv

    Exit codes: 0 every item succeeded (with --dry-run: is valid), 1 some items did not, 2 bad usage, file or
    configuration, 3 stopped by an error, 130 interrupted.
    """
    try:
        columns = parsed_map(column_map or ())
    except ConfigurationError as error:
        _unusable(str(error))
    settings = _settings(base_url, max_in_flight=max_in_flight, batch_paths=batch_paths, account=account)
    if no_journal and (journal or again or restart):
        _unusable("--no-journal goes with none of --journal, --again and --restart.")
    with _input(file, pipe_format) as (path, is_pipe):
        place = None if no_journal else journal or (None if is_pipe else default_journal(file, account))
        job = Job(
            path,
            RESOURCES[resource],
            settings,
            results,
            as_json,
            retry_file,
            columns,
            name=str(file) if is_pipe else file.name,
            journal=Wish(place, again, restart) if place else None,
            command=_same_command(),
        )
        if dry:
            raise typer.Exit(SUCCEEDED if _run(dry_run(job, err)) else INCOMPLETE)
        ending = _run(run_job(job, err))
    if ending.interrupted:
        raise typer.Exit(INTERRUPTED)
    if ending.error is not None:
        raise typer.Exit(STOPPED)
    raise typer.Exit(SUCCEEDED if ending.complete else INCOMPLETE)


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
    batch_id: Annotated[str, typer.Argument(help="The id that the server gave.", show_default=False)],
    wait: Annotated[bool, typer.Option("--wait", help="Ask until it has ended.")] = False,
    resource: Annotated[ResourceName, typer.Option(help="What its items are.")] = "masterlist",
    base_url: BaseUrl = None,
    batch_paths: BatchPathsOption = "example",
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as one line of JSON.")] = False,
) -> None:
    """Show what became of a batch: its rows as JSON Lines, and what they come to.

    The credentials come from the environment, as for upload.

    Example: quartile-async batch 507f1f77bcf86cd799439011 --wait

    Exit codes: 0 it has ended and every row succeeded, 1 it has not ended or some rows did not succeed, 2 bad usage or
    configuration, 3 it could not be asked for, 130 interrupted.
    """
    settings = _settings(base_url, batch_paths=batch_paths)
    whole = _asked(show_batch(batch_id, RESOURCES[resource], settings, wait=wait, as_json=as_json, console=err))
    raise typer.Exit(SUCCEEDED if whole else INCOMPLETE)


@app.command()
def check(base_url: BaseUrl = None) -> None:
    """Check that the address, the subscription key and the access token work. Nothing is changed.

    The credentials come from the environment, as for upload.

    Example: quartile-async check

    Exit codes: 0 they work, 2 bad usage or configuration, 3 they do not, or there is no answer, 130 interrupted.
    """
    _asked(check_credentials(_settings(base_url), err))


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
    _run(run_emulator(host=host, port=port, seed=seed, processing=processing, fail_share=fail_share))


def _settings(base_url: str | None, **settings: Any) -> dict[str, Any]:
    return settings | ({"base_url": base_url} if base_url else {})


def _asked(question: Coroutine[Any, Any, Any]) -> Any:
    """Runs a command that only asks; an answer that is an error ends with its words and exit code 3."""
    try:
        return _run(question)
    except QuartileError as error:
        err.print(f"[red]Error:[/red] {_plain(str(error))}", soft_wrap=True)
        raise typer.Exit(STOPPED) from None


def _run(work: Coroutine[Any, Any, Any]) -> Any:
    """Runs a command's work; what a user can mend ends with a few lines and exit code 2."""
    try:
        return asyncio.run(work)
    except (ConfigurationError, JournalError) as error:
        _unusable(str(error))
    except ModuleNotFoundError as error:
        _unusable(f"{error}. Install it with: pip install 'quartile-async[cli]'")
    except OSError as error:
        what = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        _unusable(what)
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None


@contextmanager
def _input(file: Path, pipe_format: str | None) -> Iterator[tuple[Path, bool]]:
    """A file that can be read more than once, and whether it came through a pipe."""
    with contextlib.ExitStack() as stack:
        try:
            path = stack.enter_context(spooled(file, pipe_format)) if is_pipe(file) else file
        except OSError as error:
            _unusable(f"{file}: {error.strerror}")
        except KeyboardInterrupt:
            raise typer.Exit(INTERRUPTED) from None
        yield path, path is not file


def _same_command() -> str:
    """What was typed, but for what must not be done twice."""
    arguments = [argument for argument in sys.argv[1:] if argument not in ("--again", "--restart")]
    return f"{own_command(sys.argv[0])} {shlex.join(arguments)}"


def _unusable(what: str) -> NoReturn:
    err.print(f"[red]Error:[/red] {_plain(what)}", soft_wrap=True)
    raise typer.Exit(UNUSABLE) from None


def _plain(text: str) -> str:
    return text.replace("[", r"\[")
