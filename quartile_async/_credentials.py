"""User name and password, or a refresh token, turned into access tokens: whose turn it is, and what is saved when."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from http import HTTPStatus
from typing import Literal, Protocol

from ._answers import is_about_the_key
from ._delivery import Delivery
from ._errors import (
    APIError,
    AuthenticationError,
    ClientClosedError,
    ConfigurationError,
    QuartileError,
    QuotaExceededError,
)
from ._token_store import MemoryTokenStore, OvertakenError, TokenStore
from ._tokens import Freshness, StoredTokens, checked_secret, digest_of, freshness_of


class LoginAuth:
    """Logs in with a user name and a password, and refreshes the token while that works.

    Args:
        username: and
        password: of the API's user. They are kept in memory alone.
        store: where tokens are kept between runs and shared between processes; without one, in memory.

    Raises:
        ConfigurationError: one of them is missing.
    """

    def __init__(self, username: str, password: str, *, store: TokenStore | None = None) -> None:
        if not username or not password:
            raise ConfigurationError("LoginAuth needs a user name and a password that are not empty.")
        self.username: str = username
        self._password = password
        self.store: TokenStore | None = store

    def __repr__(self) -> str:
        return f"<{type(self).__name__}, store={self.store!r}>"


class RefreshAuth:
    """Starts from a refresh token. It works once: the ones that follow it are kept in the store, and come first.

    Args:
        refresh_token: the first one.
        store: as for `LoginAuth`. Without one, another process has to be given another token.

    Raises:
        ConfigurationError: the token cannot be used.
    """

    def __init__(self, refresh_token: str, *, store: TokenStore | None = None) -> None:
        self._refresh_token = checked_secret(refresh_token, "refresh token")
        self.store: TokenStore | None = store

    def __repr__(self) -> str:
        return f"<{type(self).__name__}, store={self.store!r}>"


class TokenEndpoint(Protocol):
    """Where tokens are asked for.

    Both raise a QuartileError with `may_have_been_sent` where no usable answer came.
    """

    @property
    def server(self) -> str: ...

    async def login(self, username: str, password: str) -> StoredTokens: ...

    async def refresh(self, token: str, delivery: Delivery) -> StoredTokens: ...


MOST_OVERTAKINGS = 5
"""How often the store's lock may run out under one who gets tokens, before that is an error."""

LOG_IN_AGAIN = "Log in again and give the new refresh token, or use LoginAuth."


class Credentials:
    """Gets tokens: from the store, by the refresh token, by a login, in this order.

    Attributes:
        how: it got the last ones.
    """

    def __init__(
        self, auth: LoginAuth | RefreshAuth, endpoint: TokenEndpoint, *, wall_clock: Callable[[], float] | None = None
    ) -> None:
        self._login = (auth.username, auth._password) if isinstance(auth, LoginAuth) else None
        self._given = auth._refresh_token if isinstance(auth, RefreshAuth) else None
        self._store = auth.store if auth.store is not None else MemoryTokenStore()
        self._endpoint = endpoint
        self._now = wall_clock or time.time
        self._user = digest_of(auth.username) if isinstance(auth, LoginAuth) else ""
        self._spent: set[str] = set()
        self._last_spent: deque[str] = deque(maxlen=2)
        self._unsaved: StoredTokens | None = None
        self._replaced: StoredTokens | None = None
        """What was in the store at the last look: new tokens take its place."""
        self._delivery = Delivery()
        self._stopped = False
        self._why = ""
        self.how: Literal["login", "refresh", "stored"] = "stored"

    @property
    def secrets(self) -> tuple[str, ...]:
        """What the server was told, and may quote in later answers."""
        return (self._login[1] if self._login else "", self._given or "", *self._last_spent)

    def stop(self) -> bool:
        """Has no further request go out. Tells whether the server may have given tokens that are not saved yet."""
        self._stopped = True
        return self._delivery.on_the_wire

    async def obtain(self, refused: frozenset[str]) -> StoredTokens:
        """Tokens whose access token is none of those that were refused.

        Raises:
            AuthenticationError: there is no way to get any, or they could not be saved.
            QuartileError: the server could not be asked; nothing was changed.
        """
        try:
            return await self._obtained_under_lock(refused)
        except (QuartileError, ConfigurationError):
            raise
        except Exception as error:
            raise AuthenticationError(f"The token store {self._store!r} failed: {_described(error)}.") from error
        finally:
            self._delivery.on_the_wire = False

    async def _obtained_under_lock(self, refused: frozenset[str]) -> StoredTokens:
        for _ in range(MOST_OVERTAKINGS):
            with suppress(OvertakenError):  # its lock had run out: what others have saved since is newer
                async with self._store.lock():
                    return await self._obtain(refused)
        raise TimeoutError("its lock ran out each time before new tokens could be saved")

    async def _obtain(self, refused: frozenset[str]) -> StoredTokens:
        if self._unsaved is not None:
            await self._save_at_last(self._unsaved)
        self.how = "stored"
        known = await self._load()
        if known is not None and self._is_usable(known, refused):
            return known
        for token in self._refresh_tokens(known):
            self._check_not_stopped()
            found = await self._refreshed(token, refused)
            if found is not None:
                return found
        if self._login is None:
            raise AuthenticationError(
                f"There is no refresh token that works: the last one was refused, or may be spent.{self._why} "
                f"{LOG_IN_AGAIN}"
            )
        self._check_not_stopped()
        self.how = "login"
        return await self._save(await self._logged_in(*self._login))

    def _check_not_stopped(self) -> None:
        if self._stopped:
            raise ClientClosedError("The client was closed while an access token was being fetched.")

    def _is_usable(self, tokens: StoredTokens, refused: frozenset[str]) -> bool:
        return freshness_of(tokens, self._now()) is Freshness.FRESH and tokens.access_token not in refused

    def _refresh_tokens(self, known: StoredTokens | None) -> list[str]:
        tokens = (known.refresh_token if known is not None else None, self._given)
        return [token for token in dict.fromkeys(tokens) if token is not None and token not in self._spent]

    async def _refreshed(self, token: str, refused: frozenset[str]) -> StoredTokens | None:
        """New tokens; None where the token does not help any more."""
        self._spent.add(token)
        self._last_spent.append(token)
        try:
            new = await self._endpoint.refresh(token, self._delivery)
        except QuartileError as error:
            if _leaves_the_token_unused(error):
                self._delivery.on_the_wire = False
                self._spent.discard(token)
                raise
            return await self._after_a_failed_refresh(token, error, refused)
        except BaseException:
            if not self._delivery.on_the_wire:  # cancelled before it was sent
                self._spent.discard(token)
            raise
        self.how = "refresh"
        return await self._save(new)

    async def _after_a_failed_refresh(
        self, token: str, error: QuartileError, refused: frozenset[str]
    ) -> StoredTokens | None:
        """The token was refused, or is spent and its answer lost: it is not sent again. The store may know more."""
        self._why = f" {error}"
        known = await self._load()
        if known is not None and known.refresh_token == token and error.may_have_been_sent:
            # Nor by anyone else who has the store, should there be no login now.
            self._replaced = replace(known, refresh_token=None)
            await self._store.save(self._replaced)
        self._delivery.on_the_wire = False
        return known if known is not None and self._is_usable(known, refused) else None

    async def _logged_in(self, username: str, password: str) -> StoredTokens:
        try:
            return await self._endpoint.login(username, password)
        except APIError as error:
            if _is_refused(error):
                words = error.message.rstrip(".")
                raise AuthenticationError(
                    f"The login was refused ({error.status}): {words}. Check the user name and the password.",
                    status=error.status,
                    message=error.message,
                    body=error.body,
                    request_id=error.request_id,
                ) from None
            raise

    async def _load(self) -> StoredTokens | None:
        known = await self._store.load()
        if known is not None and (
            known.server != self._endpoint.server or (known.user and self._user and known.user != self._user)
        ):
            raise ConfigurationError(
                f"The token store {self._store!r} holds the tokens of another user or server. Give each its own store."
            )
        self._replaced = known
        return known

    async def _save_at_last(self, tokens: StoredTokens) -> None:
        """Keeps tokens that could not be saved before, unless others have saved newer ones meanwhile."""
        replaced = self._replaced
        if await self._load() == replaced:
            await self._save(tokens)
        else:
            self._unsaved = None

    async def _save(self, tokens: StoredTokens) -> StoredTokens:
        """Keeps new tokens, before anything is sent with them."""
        self._unsaved = tokens
        try:
            await self._store.save(tokens)
        except OvertakenError:
            self._unsaved = None
            raise
        except Exception as error:
            raise AuthenticationError(
                f"New tokens could not be saved in {self._store!r}: {_described(error)}. The refresh token in it is "
                "spent by now. Mend the store; while this client lives it will try to save them again."
            ) from error
        self._unsaved = None
        return tokens


def _leaves_the_token_unused(error: QuartileError) -> bool:
    """Whether a refresh that failed certainly did not spend its token, and it is not the token that was refused."""
    if error.may_have_been_sent:
        return False
    if isinstance(error, APIError) and error.status is not None:
        if isinstance(error, QuotaExceededError) or is_about_the_key(error.message):
            return True
        return not _is_refused(error)
    return True


def _is_refused(error: APIError) -> bool:
    """Whether the answer is a no to what was sent, and not to the time or the way of sending it."""
    status = error.status or 0
    passing = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS)
    return HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR and not (
        status in passing or isinstance(error, QuotaExceededError)
    )


def _described(error: Exception) -> str:
    # An OSError's text names the file; others may quote what they were given.
    return f"{type(error).__name__}: {error}" if isinstance(error, OSError) else type(error).__name__
