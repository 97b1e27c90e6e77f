"""Tokens in Redis: one refresh at a time over all machines, and none saved over a newer one."""

from __future__ import annotations

import asyncio
import logging
import random
import time
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from pydantic_core import to_json

from .._errors import ConfigurationError
from .._token_store import OvertakenError, content_of, tokens_in
from .._tokens import StoredTokens
from .connection import (
    FIRST_WAIT,
    LONGEST_READ,
    LONGEST_WAIT,
    Link,
    RedisClient,
    RefusedError,
    UnreachableError,
    client_of,
    described,
    text_of,
)
from .scripts import LOCK, RENEW, SAVE, UNLOCK, Script, checked_name
from .work import finished

SHORTEST_LEASE = 0.1
"""Seconds."""

RENEWALS = 3
"""A lock is renewed so many times before it would run out."""

logger = logging.getLogger("quartile_async")


@dataclass(slots=True, eq=False)
class Turn:
    """One holder's time with the lock.

    Attributes:
        mark: stands beside what it saves.
        based_on: the mark of what it saw last; what it saves may replace nothing else.
    """

    store: RedisTokenStore
    link: Link
    holder: str
    mark: str = ""
    based_on: str = ""
    renewal: asyncio.Task[None] | None = None


_turn: ContextVar[Turn | None] = ContextVar("quartile_async token store", default=None)
"""The turn that the running task has, if any."""


class RedisTokenStore:
    """Keeps the tokens of one user in Redis, for any number of processes and machines.

    Whoever can read that Redis has the tokens, and can act as the user until they end. No password is in it. Redis
    has to write its data to a file (`appendonly yes`), or a restart loses them. What is not readable as tokens is set
    aside under another name, with a warning in the log.

    Args:
        url: as redis-py takes it: `redis://`, `rediss://` (TLS) or `unix://`, with user and password; or a client of
            `redis.asyncio`, as for Sentinel or a cluster, which stays yours to close.
        name: of the user, where one Redis keeps the tokens of several.
        lock_timeout: seconds after which a lock that another process holds, or Redis not being reached, is an error.
        lease: seconds after which the lock of a process that has died is free again.

    Raises:
        ConfigurationError: a setting cannot be used.
    """

    def __init__(
        self, url: str | RedisClient, *, name: str = "default", lock_timeout: float = 60.0, lease: float = 10.0
    ) -> None:
        client_of(url)
        checked_name(name)
        if not lease >= SHORTEST_LEASE:
            raise ConfigurationError(f"lease={lease!r} cannot be used: give {SHORTEST_LEASE:g} s or more.")
        self._url = url
        self._name = name
        self._lock_timeout = lock_timeout
        self._lease = lease
        stem = f"quartile:tokens:{{{name}}}"
        self._keys = (stem, f"{stem}:lock", f"{stem}:number", f"{stem}:free")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({described(self._url)!r}, name={self._name!r})"

    async def load(self) -> StoredTokens | None:
        """See `TokenStore.load`."""
        async with self._link() as link:
            content, mark = await self._insist(link, "HMGET", self._keys[0], "tokens", "mark")
            if (turn := self._own_turn()) is not None:
                turn.based_on = "" if mark is None else text_of(mark)
            if content is None:
                return None
            try:
                return tokens_in(content if isinstance(content, bytes) else str(content).encode())
            except ValueError as error:
                await self._set_aside(link, error)
                return None

    async def save(self, tokens: StoredTokens) -> None:
        """See `TokenStore.save`.

        Raises:
            OvertakenError: the lock had run out, and somebody else has saved tokens since these were asked for.
        """
        turn = self._own_turn()
        mark, based_on = ("", "") if turn is None else (turn.mark, turn.based_on)
        async with self._link() as link:
            saved = await self._insist_on(link, SAVE, to_json(content_of(tokens)), mark, based_on)
        if not int(saved):
            raise OvertakenError("The lock ran out, and another process has saved newer tokens.")

    def lock(self) -> AbstractAsyncContextManager[Any]:
        """See `TokenStore.lock`. It is renewed while it is held, and free soon after its holder has died."""
        return _Lock(self)

    def _own_turn(self) -> Turn | None:
        turn = _turn.get()
        return turn if turn is not None and turn.store is self else None

    @asynccontextmanager
    async def _link(self) -> AsyncIterator[Link]:
        """The connection of this turn, or one for a moment: tokens are looked at a few times a day."""
        if (turn := self._own_turn()) is not None:
            yield turn.link
            return
        link = Link(self._url)
        try:
            yield link
        finally:
            await link.aclose()

    async def _insist(self, link: Link, *words: Any) -> Any:
        """A command, until it is done."""
        return await self._repeated(link, lambda: link.command(*words))

    async def _insist_on(self, link: Link, script: Script, *arguments: object) -> Any:
        """A script, until it has run: each of them may run twice."""
        return await self._repeated(link, lambda: link.run(script, self._keys, arguments))

    async def _repeated(self, link: Link, once: Any) -> Any:
        try:
            return await link.repeat(once, patience=self._lock_timeout)
        except RefusedError as error:
            raise ConnectionError(f"Redis at {link.name} does not do its part: {error}") from None
        except UnreachableError as error:
            raise ConnectionError(
                f"Redis at {link.name} has not been reached for {self._lock_timeout:g} s: {error}"
            ) from None

    async def _set_aside(self, link: Link, error: ValueError) -> None:
        aside = f"{self._keys[0]}:unreadable-{time.time_ns()}"
        await self._insist(link, "RENAME", self._keys[0], aside)
        # Not the error's text: it may quote a token.
        logger.warning("%r could not be read (%s). It was set aside as %s.", self, type(error).__name__, aside)

    async def _take(self, turn: Turn) -> None:
        """Waits until nobody else has the lock.

        Raises:
            TimeoutError: somebody had it for too long.
        """
        clock = asyncio.get_running_loop().time
        give_up_at = clock() + self._lock_timeout
        while True:
            taken, first, second = await self._insist_on(turn.link, LOCK, turn.holder, self._lease_ms)
            if int(taken):
                turn.mark, turn.based_on = text_of(first), text_of(second)
                return
            if clock() > give_up_at:
                raise TimeoutError(
                    f"another process has held the lock {self._keys[1]} in Redis for {self._lock_timeout:g} s; end "
                    "that process if it hangs"
                )
            await self._wait_until_free(turn.link, min(max(0.0, int(first) / 1000), give_up_at - clock()))

    async def _wait_until_free(self, link: Link, seconds: float) -> None:
        """Ends when Redis tells that the lock was given back, or when it must have run out."""
        longest = max(0.01, min(seconds, LONGEST_READ))
        try:
            await link.command("BLPOP", self._keys[3], f"{longest:.3f}", seconds=longest + LONGEST_READ)
        except UnreachableError:
            await asyncio.sleep(random.uniform(FIRST_WAIT, LONGEST_WAIT))
        except RefusedError as error:
            raise ConnectionError(f"Redis at {link.name} does not do its part: {error}") from None

    async def _keep(self, turn: Turn) -> None:
        """Renews the lock for as long as it is held."""
        while True:
            await asyncio.sleep(self._lease / RENEWALS)
            try:
                if not int(await turn.link.run(RENEW, self._keys, self._holder_and_lease(turn))):
                    logger.warning("The lock of %r ran out while it was held.", self)
                    return
            except (UnreachableError, RefusedError):
                continue

    async def _give_back(self, turn: Turn) -> None:
        try:
            await turn.link.run(UNLOCK, self._keys, self._holder_and_lease(turn))
        except (UnreachableError, RefusedError):
            logger.info("The lock of %r could not be given back; it will run out.", self)

    @property
    def _lease_ms(self) -> int:
        return round(self._lease * 1000)

    def _holder_and_lease(self, turn: Turn) -> Sequence[object]:
        return turn.holder, self._lease_ms


class _Lock:
    """Entered and left in one task, which then has its turn with the store."""

    def __init__(self, store: RedisTokenStore) -> None:
        self._store = store
        self._turn: Turn | None = None
        self._before: Turn | None = None

    async def __aenter__(self) -> None:
        store = self._store
        turn = self._turn = Turn(store, Link(store._url), uuid.uuid4().hex)
        try:
            await store._take(turn)
        except BaseException:
            await finished(self._end(turn))  # it may have been taken all the same
            raise
        turn.renewal = asyncio.get_running_loop().create_task(store._keep(turn), name="quartile_async token lock")
        self._before = _turn.get()
        _turn.set(turn)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _turn.set(self._before)
        assert self._turn is not None
        await finished(self._end(self._turn))

    async def _end(self, turn: Turn) -> None:
        if turn.renewal is not None:
            turn.renewal.cancel()
            await asyncio.wait([turn.renewal])
        await self._store._give_back(turn)
        await turn.link.aclose()
