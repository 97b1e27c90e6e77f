"""What becomes of an exception that nobody expected, and `--debug`, which shows the traceback of any."""

from __future__ import annotations

import os
import sys
import traceback
from typing import Annotated, NoReturn

import typer
from typer.main import get_command

STOPPED = 3
IN_ENVIRONMENT = ("QUARTILE_SUBSCRIPTION_KEY", "QUARTILE_ACCESS_TOKEN", "QUARTILE_PASSWORD")

_hidden: set[str] = set()
_debug: list[bool] = []


def hide(*secrets: str | None) -> None:
    """Has these never shown in what is told of an exception."""
    _hidden.update(secret for secret in secrets if secret)


def shown(text: str) -> str:
    """A text without the secrets that are known."""
    known = _hidden | {os.environ.get(name, "") for name in IN_ENVIRONMENT} - {""}
    for secret in sorted(known, key=len, reverse=True):
        text = text.replace(secret, "[secret]")
    return text


def show_traceback(error: BaseException | None) -> None:
    """Prints it where --debug asks for it; never the values of variables, which may be secrets."""
    if error is not None and _debug:
        sys.stderr.write(shown("".join(traceback.format_exception(error))))


def fault_of() -> str:
    """What to do about an exception that is a fault of this program."""
    shown_already = "Please report it, with the traceback above." if _debug else _RUN_AGAIN
    return f"This is a fault of quartile-async. {shown_already}"


_RUN_AGAIN = "Run the same again with --debug, and report it with the traceback that is shown then."


def end_by_fault(error: Exception) -> NoReturn:
    """Ends the process: says what happened, whose fault it is, and what to do."""
    show_traceback(error)
    what = " ".join(shown(str(error)).split())
    sys.stderr.write(f"Error: {type(error).__name__}{': ' if what else ''}{what[:500]}\n{fault_of()}\n")
    sys.exit(STOPPED)


def _asked_for(wanted: bool) -> None:
    if wanted:
        _debug.append(True)


_options: typer.Typer = typer.Typer(add_completion=False)


@_options.command()
def _only_for_its_options(
    debug: Annotated[
        bool,
        typer.Option(
            "--debug",
            callback=_asked_for,
            expose_value=False,
            is_eager=True,
            envvar="QUARTILE_DEBUG",
            help="Show the traceback of an error.",
        ),
    ] = False,
) -> None:
    """Carries the options that every command has."""


def run(app: typer.Typer) -> None:
    """Runs the command line, with --debug before and after each command."""
    command = get_command(app)
    for each in (command, *getattr(command, "commands", {}).values()):
        each.params += [option for option in get_command(_options).params if option.name == "debug"]
    try:
        command()
    except Exception as error:  # noqa: BLE001  # whatever it is, it ends here, in words
        end_by_fault(error)
