"""What workers have by themselves, for uploads of the command line: their environment, and files of their machine.

What travels of it is where a secret is, never what it is.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from .. import __version__
from .._client import Auth, settings_from_env
from .._credentials import LoginAuth, RefreshAuth
from .._errors import AuthenticationError, ConfigurationError
from .._token_store import FileTokenStore, LoginStore, tokens_in_file
from .job import Address


@dataclass(slots=True, frozen=True)
class FromEnvironment:
    """Gives the `auth` that a worker's environment names, for whatever account.

    Attributes:
        store: a file for the tokens of a login, for workers of one machine: one of them logs in, for all; None: each
            part logs in.
    """

    store: str | None = None

    def __call__(self, account: str | None) -> Auth:
        """The `auth`.

        Raises:
            ConfigurationError: the environment has none.
        """
        try:
            auth: Auth = settings_from_env(os.environ, given={"quota": None})["auth"]
        except ConfigurationError as error:
            raise ConfigurationError(f"On a worker: {error}") from None
        if isinstance(auth, LoginAuth) and self.store is not None:
            auth.store = FileTokenStore(self.store)
        return auth


@dataclass(slots=True, frozen=True)
class FromStoredLogin:
    """Gives the `auth` of a login whose tokens are in a file, on the workers of one machine.

    Attributes:
        store: the file.
        user: whose login it is; see `StoredTokens.user`.
    """

    store: str
    user: str

    def __call__(self, account: str | None) -> Auth:
        """The `auth`.

        Raises:
            AuthenticationError: the login is not there any more.
        """
        tokens = tokens_in_file(self.store)
        if tokens is None or tokens.refresh_token is None:
            raise AuthenticationError(f"The stored login {self.store} has ended. Log in again.")
        return RefreshAuth(tokens.refresh_token, store=LoginStore(self.store, self.user))


@dataclass(slots=True, frozen=True)
class Found:
    """What a worker has.

    Attributes:
        version: of this library.
        missing: the variables that it needs and has not.
    """

    version: str
    missing: tuple[str, ...]


def found_on_worker(address: Address) -> Found:
    """What the worker on which this is called has; no value of a variable is told."""
    missing: list[str] = []
    try:
        settings_from_env(os.environ, given={"quota": None, "auth": None})
    except ConfigurationError:
        missing.append("QUARTILE_SUBSCRIPTION_KEY")
    try:
        settings_from_env(os.environ, given={"quota": None, "subscription_key": None})
    except ConfigurationError:
        missing.append("QUARTILE_ACCESS_TOKEN (or QUARTILE_USERNAME and QUARTILE_PASSWORD)")
    try:
        address()
    except ConfigurationError:
        missing.append(f"QUARTILE_REDIS_URL with the password of {address.url}")
    return Found(__version__, tuple(missing))
