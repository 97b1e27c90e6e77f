"""Logging in and out: the password is asked for, and tokens alone are kept."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable

import typer

from .. import ConfigurationError, LoginAuth, QuartileClient
from .._token_store import LoginStore, MemoryTokenStore
from .._tokens import digest_of
from ._accounts import Account, made_tokens_folder
from ._faults import hide

LONGEST_PASSWORD = 4096
"""Characters; a longer line is something else."""


def asked_username(account: Account, typed: str | None) -> str:
    """The user name: as typed, else the profile's or the environment's, else it is asked for.

    Raises:
        ConfigurationError: it is not the profile's, or there is nobody to ask.
    """
    if account.profile is not None and typed and account.username and typed != account.username:
        raise ConfigurationError(
            f"--username {typed} is not the username of profile {account.profile!r}, which is {account.username}. "
            "Leave it out, or change the profile."
        )
    if username := typed or account.username:
        return username
    if not sys.stdin.isatty():
        raise ConfigurationError(
            "There is no terminal to ask for the user name on. Give --username, or put username into the profile."
        )
    answer: str = typer.prompt("User name", err=True)
    return answer


def asked_password(username: str, *, from_stdin: bool) -> str:
    """The password: from a terminal, without echo, or one line of standard input.

    Raises:
        ConfigurationError: there is no terminal, or no usable line.
    """
    if sys.stdin.isatty():
        password: str = typer.prompt(f"Password for {username}", hide_input=True, err=True)
    elif from_stdin:
        password = _line_of_stdin()
    else:
        raise ConfigurationError(
            "There is no terminal to ask for the password on. Give it as one line of standard input, with "
            "--password-stdin."
        )
    hide(password)
    return password


def _line_of_stdin() -> str:
    try:
        line = sys.stdin.buffer.readline(4 * LONGEST_PASSWORD).decode().rstrip("\r\n")
    except UnicodeDecodeError:
        raise ConfigurationError("The password on standard input is no UTF-8. Give it as UTF-8.") from None
    if not 0 < len(line) <= LONGEST_PASSWORD:
        raise ConfigurationError("There is no password on standard input. Give it as its first line.")
    return line


async def log_in(account: Account, username: str, password: str) -> None:
    """Logs in, and keeps the tokens in place of any earlier ones of the account.

    Raises:
        QuartileError: the login failed; earlier tokens are as they were.
        OSError: the tokens cannot be kept.
    """
    made_tokens_folder()
    memory = MemoryTokenStore()
    settings = {name: account.settings[name] for name in ("subscription_key",) if name in account.settings}
    async with QuartileClient.from_env(
        **settings, base_url=account.server, auth=LoginAuth(username, password, store=memory)
    ) as client:
        await client._api._tokens.get()  # pyright: ignore[reportPrivateUsage]  # one package
    tokens = await memory.load()
    assert tokens is not None
    hide(tokens.access_token, tokens.refresh_token)
    store = LoginStore(account.store, digest_of(username))
    async with store.lock():
        await store.save(tokens)


def log_out(account: Account) -> bool:
    """Removes an account's tokens from this machine; gives whether there were any.

    Raises:
        OSError: they cannot be removed.
    """
    path = account.store
    if not path.exists():
        return False

    async def remove() -> None:
        async with LoginStore(path, "").lock():
            path.unlink(missing_ok=True)

    asyncio.run(remove())
    return True


def tell_login(account: Account, username: str, *, say: Callable[[str], None]) -> None:
    """Says where the tokens are, and what uses them."""
    say(f"Logged in as {username}: {account}.")
    say(f"The tokens are in {account.store}; the password is kept nowhere.")
    option = " with the same --profile" if account.profile is not None else ""
    say(f"upload, batch and check use them{option}, until quartile-async logout.")
    if account.profile is None and os.environ.get("QUARTILE_ACCESS_TOKEN"):
        say("QUARTILE_ACCESS_TOKEN is set, and comes before them: unset it to use this login.")
