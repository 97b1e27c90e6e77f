"""Access tokens: where they come from, and that a refused one is replaced once for all who wait."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from ._errors import AuthenticationError, ClientClosedError, ConfigurationError, QuartileError

TokenProvider: TypeAlias = Callable[[], Awaitable[str]]
"""An async function that gives a valid access token. It is called again when the server refuses the last one."""

MOST_RENEWALS = 3
"""How many refused tokens in a row one request replaces before it gives up."""


def checked_secret(value: object, what: str) -> str:
    """A key or token that can stand in a header.

    Raises:
        ConfigurationError: it cannot; the message does not contain it.
    """
    if not isinstance(value, str) or not value:
        raise ConfigurationError(f"The {what} is missing: give it as a string that is not empty.")
    if not value.isascii() or not value.isprintable() or " " in value:
        raise ConfigurationError(
            f"The {what} has a line break, a blank or another character that cannot stand in a header. "
            "Check how it was copied or read; a file's last line break has to be cut off."
        )
    return value


class Tokens:
    """The access token in use.

    A provider is called once for all requests that need a token, in a task of its own: neither the cancellation
    of the request that asked first nor a second request gets in its way.
    """

    def __init__(self, auth: str | TokenProvider) -> None:
        self._provider = auth if callable(auth) else None
        self._token = None if callable(auth) else checked_secret(auth, "access token")
        self._renewal: asyncio.Task[str] | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {'from a provider' if self._provider else 'fixed'}>"

    @property
    def current(self) -> str | None:
        """The token in use, for blanking it in texts."""
        return self._token

    async def get(self) -> str:
        """A token to try.

        Raises:
            AuthenticationError: the provider failed.
            ConfigurationError: what it gave cannot stand in a header.
        """
        if self._token is not None:
            return self._token
        if self._renewal is None:
            self._renewal = asyncio.get_running_loop().create_task(self._renew(), name="quartile_async token")
        renewal = self._renewal
        await asyncio.wait([renewal])
        if renewal.cancelled():
            raise ClientClosedError("The client was closed while an access token was being fetched.")
        failure = renewal.exception()
        if isinstance(failure, QuartileError):
            # One each: an upload that ends by an error puts its own items on it.
            raise type(failure)(str(failure)) from failure.__cause__
        return renewal.result()

    def refuse(self, token: str) -> bool:
        """The server refused this token. Tells whether `get` may give another one."""
        if self._provider is None:
            return False
        if token == self._token:  # a newer one is not dropped for an older one's refusal
            self._token = None
        return True

    async def aclose(self) -> None:
        """Ends a call of the provider that is still under way."""
        if self._renewal is not None:
            self._renewal.cancel()
            await asyncio.wait([self._renewal])

    async def _renew(self) -> str:
        assert self._provider is not None
        try:
            self._token = checked_secret(await self._provider(), "access token that the auth function returned")
            return self._token
        except ConfigurationError:
            raise
        except Exception as error:
            # Its message stays out: it is the user's own code, and may quote a token.
            raise AuthenticationError(
                f"The auth function raised {type(error).__name__}. No request goes out without a token."
            ) from error
        finally:
            self._renewal = None
