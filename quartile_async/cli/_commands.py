"""The commands beside `upload`: what can be asked for, and what each exit code means."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .. import JournalError
from . import _upload  # noqa: F401  # its command comes first
from ._accounts import check_key
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
    answered,
    app,
    err,
    run_to_its_end,
    settings_of,
    unusable,
    usable,
)
from ._held import Held
from ._login import asked_password, asked_username, log_in, log_out, tell_login
from ._questions import check_credentials, show_batch
from ._words import say

__all__ = ["app"]


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
        unusable(str(error))
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
    settings = settings_of(context, profile, {"base_url": base_url, "batch_paths": batch_paths})
    question = show_batch(batch_id, RESOURCES[resource], settings, wait=wait, as_json=as_json, console=err)
    whole = answered(question, settings)
    raise typer.Exit(SUCCEEDED if whole else INCOMPLETE)


@app.command()
def check(context: typer.Context, profile: ProfileOption = None, base_url: BaseUrl = None) -> None:
    """Check that the address, the subscription key and the access token work. Nothing is changed.

    The credentials are those of upload.

    Example: quartile-async check

    Exit codes: 0 they work, 2 bad usage or configuration, 3 they do not, or there is no answer, 130 interrupted.
    """
    settings = settings_of(context, profile, {"base_url": base_url})
    answered(check_credentials(settings, err), settings)


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
    account = account_of(context, profile, {"base_url": base_url})
    with usable():
        check_key(account)
        name = asked_username(account, username)
        password = asked_password(name, from_stdin=password_stdin)
    answered(log_in(account, name, password), account.settings)
    tell_login(account, name, say=lambda line: say(err, line))


@app.command()
def logout(context: typer.Context, profile: ProfileOption = None, base_url: BaseUrl = None) -> None:
    """Remove the tokens of a login from this machine.

    Example: quartile-async logout --profile acme-de

    Exit codes: 0 they are not there any more, 2 bad usage or configuration.
    """
    account = account_of(context, profile, {"base_url": base_url})
    with usable():
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

    ending = run_to_its_end(run_demo(items=items, seed=seed, max_in_flight=max_in_flight, as_json=as_json, console=err))
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

    run_to_its_end(run_emulator(host=host, port=port, seed=seed, processing=processing, fail_share=fail_share))
