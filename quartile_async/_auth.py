"""Access tokens: where they come from, and that one is replaced once for all who wait."""

from __future__ import annotations

import asyncio
import copy
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Literal, TypeAlias, cast

from ._credentials import Credentials
from ._errors import AuthenticationError, ClientClosedError, ConfigurationError, QuartileError
from ._tokens import Freshness, StoredTokens, checked_secret, freshness_of

if TYPE_CHECKING:
    from ._hook import Hook

TokenProvider: TypeAlias = Callable[[], Awaitable[str]]
"""An async function that gives a valid access token. It is called again when the server refuses the last one."""

MOST_RENEWALS = 3
"""How many refused tokens in a row one request replaces before it gives up."""

BETWEEN_ATTEMPTS = 10.0
"""Seconds between two attempts to replace a token that still works; at most a twentieth of its lifetime."""

LOOK_EVERY = 0.05
"""Seconds between two looks, by who closes, at whether tokens are still on their way."""

logger = logging.getLogger("quartile_async")


class FixedToken:
    """One access token and no other."""

    def __init__(self, token: str) -> None:
        self.token: str = checked_secret(token, "access token")

    def stop(self) -> bool:
        return False


class ProvidedTokens:
    """What the user's own function gives."""

    how: Literal["provided"] = "provided"

    def __init__(self, provider: TokenProvider) -> None:
        self._provider = provider

    async def obtain(self, refused: frozenset[str]) -> StoredTokens:
        try:
            token = await self._provider()
        except Exception as error:
            # Its message stays out: it is the user's own code, and may quote a token.
            raise AuthenticationError(
                f"The auth function raised {type(error).__name__}. No request goes out without a token."
            ) from error
        return StoredTokens(checked_secret(token, "access token that the auth function returned"))

    def stop(self) -> bool:
        return False


Source: TypeAlias = FixedToken | ProvidedTokens | Credentials


class Tokens:
    """The access token in use, of one account.

    It is replaced once for all requests that need one, in a task of its own: neither the cancellation of the request
    that asked first nor a second request gets in its way. Shortly before its known end it is replaced beside its use;
    at its end, everyone waits.
    """

    def __init__(
        self, source: Source, *, wall_clock: Callable[[], float] | None = None, hook: Hook | None = None
    ) -> None:
        self._source = source
        self.hook: Hook | None = hook
        self._now = wall_clock or time.time
        self._current = StoredTokens(source.token) if isinstance(source, FixedToken) else None
        self._refused: deque[str] = deque(maxlen=8)
        self._renewal: asyncio.Task[StoredTokens] | None = None
        self._next_attempt = 0.0

    def __repr__(self) -> str:
        return f"<{type(self).__name__} from {type(self._source).__name__}>"

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must be blanked in texts."""
        known = self._source.secrets if isinstance(self._source, Credentials) else ()
        current = self._current
        return known if current is None else (current.access_token, current.refresh_token or "", *known)

    async def get(self) -> str:
        """A token to try.

        Raises:
            AuthenticationError: there is none, and no way to get one.
            ConfigurationError: what the auth function gave cannot stand in a header.
            QuartileError: the server could not be asked for one; nothing else was sent.
        """
        current = self._current
        if current is None:
            return (await self._renewed()).access_token
        freshness = freshness_of(current, self._now())
        if freshness is Freshness.FRESH:
            return current.access_token
        if freshness is Freshness.ADVISORY or (freshness is Freshness.MANDATORY and self._now() < self._next_attempt):
            self._renew_beside()
            return current.access_token
        try:
            return (await self._renewed()).access_token
        except QuartileError:
            if self._current is current and freshness_of(current, self._now()) is not Freshness.EXPIRED:
                return current.access_token  # it still works
            raise

    def refuse(self, token: str) -> bool:
        """The server refused this token. Tells whether `get` may give another one."""
        if isinstance(self._source, FixedToken):
            return False
        self._refused.append(token)
        if self._current is not None and token == self._current.access_token:
            self._current = None  # a newer one is not dropped for an older one's refusal
        return True

    async def aclose(self) -> None:
        """Ends the replacing of a token; one that the server may have given already is saved first."""
        renewal = self._renewal
        if renewal is None:
            return
        # aiohttp writes a body in a task of its own: one that is about to go out does so within a turn.
        await asyncio.sleep(0)
        while self._source.stop() and not renewal.done():
            await asyncio.wait([renewal], timeout=LOOK_EVERY)
        renewal.cancel()
        await asyncio.wait([renewal])

    def _renew_beside(self) -> None:
        if self._now() >= self._next_attempt:
            self._renewal_under_way()

    async def _renewed(self) -> StoredTokens:
        renewal = self._renewal_under_way()
        await asyncio.wait([renewal])
        if renewal.cancelled():
            raise ClientClosedError("The client was closed while an access token was being fetched.")
        failure = renewal.exception()
        if isinstance(failure, QuartileError):
            raise _own_copy(failure) from failure.__cause__
        return renewal.result()

    def _renewal_under_way(self) -> asyncio.Task[StoredTokens]:
        if self._renewal is None:
            self._renewal = asyncio.get_running_loop().create_task(self._renew(), name="quartile_async token")
            self._renewal.add_done_callback(self._note_end)
        return self._renewal

    async def _renew(self) -> StoredTokens:
        assert not isinstance(self._source, FixedToken)
        self._current = await self._source.obtain(frozenset(self._refused))
        if self.hook is not None:
            self.hook.token_refreshed(self._source.how)
        return self._current

    def _note_end(self, renewal: asyncio.Task[StoredTokens]) -> None:
        self._renewal = None
        failure = None if renewal.cancelled() else renewal.exception()
        if failure is None or isinstance(failure, ClientClosedError):
            return
        lifetime = self._current.lifetime if self._current is not None else None
        self._next_attempt = self._now() + min(BETWEEN_ATTEMPTS, (lifetime or BETWEEN_ATTEMPTS) / 20)
        logger.warning("An access token could not be replaced: %s", failure)


def tokens_from(
    auth: object, credentials: Credentials | None, wall_clock: Callable[[], float], hook: Hook | None = None
) -> Tokens:
    """The tokens of an account, from what its user gave.

    Raises:
        ConfigurationError: it is none of the things that `auth` may be.
    """
    if credentials is not None:
        return Tokens(credentials, wall_clock=wall_clock, hook=hook)
    if isinstance(auth, str):
        return Tokens(FixedToken(auth), hook=hook)
    if not callable(auth):
        raise ConfigurationError(
            f"auth is a {type(auth).__name__}. Give an access token, LoginAuth(...), RefreshAuth(...), or an async "
            "function that returns an access token."
        )
    return Tokens(ProvidedTokens(cast("TokenProvider", auth)), hook=hook)


def _own_copy(failure: QuartileError) -> QuartileError:
    """One for each who waited: an upload that ends by an error puts its own items on it."""
    error = copy.copy(failure)
    error.unaccounted, error.results = [], []
    error.may_have_been_sent = False  # it speaks of the login or refresh; what needed the token was not sent
    return error
