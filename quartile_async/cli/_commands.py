"""The commands: what can be asked for, and what each exit code means."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn

import typer
from rich.console import Console

from .. import MASTERLIST, UNMANAGED_ASINS, UNMANAGED_CAMPAIGNS, ConfigurationError, Resource, __version__
from ._demo import run_demo
from ._emulator import run_emulator
from ._run import Job, run_job

SUCCEEDED, INCOMPLETE, UNUSABLE, STOPPED, INTERRUPTED = 0, 1, 2, 3, 130

RESOURCES: dict[str, Resource[Any]] = {
    "masterlist": MASTERLIST,
    "unmanaged-asins": UNMANAGED_ASINS,
    "unmanaged-campaigns": UNMANAGED_CAMPAIGNS,
}
ResourceName = Literal["masterlist", "unmanaged-asins", "unmanaged-campaigns"]

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
    file: Annotated[Path, typer.Argument(help="CSV (comma, semicolon, tab or bar) or JSON Lines.", show_default=False)],
    resource: Annotated[ResourceName, typer.Option(help="What the file's items are.")] = "masterlist",
    base_url: Annotated[
        str | None, typer.Option(help="The API's address.", envvar="QUARTILE_BASE_URL", show_default=False)
    ] = None,
    batch_paths: Annotated[
        Literal["example", "table"], typer.Option(help="Which of the documentation's spellings of the paths to use.")
    ] = "example",
    max_in_flight: Annotated[int, typer.Option(min=1, help="Batches under way at once.")] = 16,
    results: Annotated[
        Path | None, typer.Option(help="Write each item's result to this .csv or .jsonl file.", show_default=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the counts as one line of JSON at the end.")] = False,
) -> None:
    """Upload a file of items.

    The credentials come from the environment: QUARTILE_SUBSCRIPTION_KEY, and QUARTILE_ACCESS_TOKEN or
    QUARTILE_USERNAME and QUARTILE_PASSWORD.

    Example: quartile-async upload catalogue.csv --results results.csv

    Exit codes: 0 every item succeeded, 1 some items did not, 2 bad usage, file or configuration, 3 stopped by an
    error, 130 interrupted.
    """
    settings: dict[str, Any] = {"max_in_flight": max_in_flight, "batch_paths": batch_paths}
    if base_url:
        settings["base_url"] = base_url
    job = Job(file, RESOURCES[resource], settings, results, as_json)
    ending = _run(run_job(job, err))
    if ending.interrupted:
        raise typer.Exit(INTERRUPTED)
    if ending.error is not None:
        raise typer.Exit(STOPPED)
    raise typer.Exit(SUCCEEDED if ending.complete else INCOMPLETE)


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


def _run(work: Coroutine[Any, Any, Any]) -> Any:
    """Runs a command's work; what a user can mend ends with a few lines and exit code 2."""
    try:
        return asyncio.run(work)
    except ConfigurationError as error:
        _unusable(str(error))
    except ModuleNotFoundError as error:
        _unusable(f"{error}. Install it with: pip install 'quartile-async[cli]'")
    except OSError as error:
        what = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        _unusable(what)
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None


def _unusable(what: str) -> NoReturn:
    err.print(f"[red]Error:[/red] {_plain(what)}", soft_wrap=True)
    raise typer.Exit(UNUSABLE) from None


def _plain(text: str) -> str:
    return text.replace("[", r"\[")
