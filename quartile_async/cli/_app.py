"""What the commands have in common: the application, exit codes, options, and how they end."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
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
from ._accounts import Account, account_for, advice_on, complete_profile, settings_for
from ._faults import show_traceback
from ._words import say, say_error

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


def account_of(context: typer.Context, profile: str | None, options: dict[str, Any]) -> Account:
    """The account that is asked for; of options, those that were typed win over a profile."""
    sources = {name: context.get_parameter_source(name) for name in options}
    typed = frozenset(name for name, source in sources.items() if source is not None and source.name == "COMMANDLINE")
    with usable():
        return account_for(profile, options, typed, warn=lambda line: say(err, f"Warning: {line}"))


def settings_of(context: typer.Context, profile: str | None, options: dict[str, Any]) -> dict[str, Any]:
    """The client's settings for that account, with its credentials."""
    account = account_of(context, profile, options)
    with usable():
        return settings_for(account)


def answered(question: Coroutine[Any, Any, Any], settings: dict[str, Any]) -> Any:
    """Runs a command that only asks; an answer that is an error ends with its words and exit code 3."""
    try:
        return run_to_its_end(question)
    except QuartileError as error:
        show_traceback(error)
        say_error(err, str(error))
        advise(error, settings)
        raise typer.Exit(STOPPED) from None


def advise(error: Exception, settings: dict[str, Any]) -> None:
    """Says what the command line alone knows of an error."""
    if (advice := advice_on(error, settings)) is not None:
        say(err, advice)


@contextmanager
def usable() -> Iterator[None]:
    """What a user can mend ends with a few lines and exit code 2."""
    try:
        yield
    except (ConfigurationError, JournalError) as error:
        unusable(str(error))
    except ModuleNotFoundError as error:
        unusable(f"{error}. Install it with: pip install 'quartile-async[cli]'")
    except OSError as error:
        unusable(f"{error.filename}: {error.strerror}. Check the path." if error.filename else str(error))
    except (KeyboardInterrupt, typer.Abort):
        raise typer.Exit(INTERRUPTED) from None


def run_to_its_end(work: Coroutine[Any, Any, Any]) -> Any:
    """Runs a command on an event loop; what a user can mend ends as in `usable`."""
    with usable():
        return asyncio.run(work)


def unusable(what: str) -> NoReturn:
    """Ends with these words and exit code 2."""
    show_traceback(sys.exception())
    say_error(err, what)
    raise typer.Exit(UNUSABLE) from None
