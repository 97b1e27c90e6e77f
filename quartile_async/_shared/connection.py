"""Redis, as redis-py reaches it; the only file that imports it."""

from __future__ import annotations

import asyncio
import inspect
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeAlias
from urllib.parse import SplitResult, urlsplit

import redis.asyncio
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.client import NEVER_DECODE
from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    ClusterDownError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisClusterException,
    RedisError,
    ResponseError,
    TryAgainError,
)
from redis.exceptions import TimeoutError as RedisTimeoutError

from .._clock import LoopClock
from .._errors import ConfigurationError, clause_of
from .scripts import Script

WITHOUT_METADATA: dict[str, Any] = (
    {"driver_info": None} if "driver_info" in inspect.signature(AbstractConnection.__init__).parameters else {}
)
"""Keeps redis-py from reading its own version from the disk for each connection, on the event loop."""

RedisClient: TypeAlias = "redis.asyncio.Redis | redis.asyncio.RedisCluster"

COMMAND_SECONDS = 2.0
"""Seconds that Redis has for a command."""

FIRST_WAIT, LONGEST_WAIT = 0.05, 1.0
"""Seconds between two tries while it is not reached."""

LEAST_CONNECTIONS = 2

AS_BYTES: dict[str, Any] = {NEVER_DECODE: True}
"""Has redis-py give bytes, also where a client was given that decodes: not all that is kept is text."""

STOOD_STILL = 0.1
"""A timer that is so many seconds late tells that the event loop, or the whole process, stood still."""

LONGEST_READ = 1.0
"""Seconds that a blocking read lasts on a client that was given: it may have a time limit of its own."""

PASSING = ("LOADING", "BUSY", "MASTERDOWN", "READONLY", "CLUSTERDOWN", "TRYAGAIN", "NOREPLICAS", "MISCONF", "OOM")
PASSING_KINDS = (ReadOnlyError, ClusterDownError, TryAgainError, OutOfMemoryError)
"""What Redis says when it may do the same thing later; and what redis-py makes of some of it."""


class UnreachableError(Exception):
    """Redis did not do it, as far as is known, and may do it later."""


class RefusedError(Exception):
    """Redis will not do it: a password, a right or a version is missing."""


class Link:
    """One client's connections to Redis.

    Args:
        target: a URL as redis-py takes it (`redis://`, `rediss://`, `unix://`), or one of its asyncio clients, which is
            not closed.

    Attributes:
        lost_for: from the first failure to the last, in seconds; 0.0 where the last try was a success. Time in which
            this process stood still, and tried nothing, is not in it.

    Raises:
        ConfigurationError: the target is neither.
    """

    def __init__(self, target: str | RedisClient) -> None:
        self._client: Any = client_of(target)
        self._is_own = isinstance(target, str)
        self._now = LoopClock()
        self._failed_at: float | None = None
        self.lost_for: float = 0.0
        self.name: str = described(target)

    async def run(self, script: Script, keys: Sequence[str], arguments: Sequence[object]) -> Any:
        """Runs a script once.

        Raises:
            UnreachableError, RefusedError: it did not run, or nobody knows.
        """
        rest = (len(keys), *keys, *arguments)
        try:
            return await self.command("EVALSHA", script.digest, *rest)
        except NoScriptError:
            return await self.command("EVAL", script.text, *rest)

    async def insist(
        self, script: Script, keys: Sequence[str], arguments: Callable[[], Sequence[object]], *, patience: float
    ) -> Any:
        """Runs a script, as `repeat` does a thing.

        Raises:
            UnreachableError, RefusedError: as `run`.
        """
        return await self.repeat(lambda: self.run(script, keys, arguments()), patience=patience)

    async def repeat(self, once: Callable[[], Awaitable[Any]], *, patience: float) -> Any:
        """Does a thing; where Redis is not reached, again and again, until that has lasted for so many seconds.

        Raises:
            UnreachableError, RefusedError: as the thing itself.
        """
        wait = FIRST_WAIT
        while True:
            try:
                return await once()
            except UnreachableError:
                if self.lost_for >= patience:
                    raise
            await asyncio.sleep(random.uniform(wait / 2, wait))
            wait = min(LONGEST_WAIT, wait * 2)

    async def read(self, streams: Mapping[str, str], seconds: float) -> list[tuple[str, str, dict[str, str]]]:
        """The entries of streams, each behind one of them, waiting for the first; none where none came in time.

        Raises:
            UnreachableError, RefusedError: it could not be read.
        """
        longest = seconds if self._is_own else min(seconds, LONGEST_READ)
        block = max(1, round(longest * 1000))
        words = ("XREAD", "BLOCK", block, "STREAMS", *streams, *streams.values())
        found = await self.command(*words, seconds=longest + COMMAND_SECONDS)
        return list(_entries_of(found))

    async def settings(self, pattern: str, key: str, *, patience: float) -> dict[str, str]:
        """The settings, of the Redis that has this key, whose names fit the pattern; empty where they may not be read.

        It is asked for as `repeat` does a thing.

        Raises:
            UnreachableError: it was not reached.
        """
        where: dict[str, Any] = {}
        if isinstance(self._client, redis.asyncio.RedisCluster):
            where = {"target_nodes": self._client.get_node_from_key(key)}
        try:
            found = await self.repeat(lambda: self.command("CONFIG GET", pattern, **where), patience=patience)
        except RefusedError:
            return {}
        return fields_of(found)

    async def command(self, *words: Any, seconds: float = COMMAND_SECONDS, **options: Any) -> Any:
        """Has Redis do one thing, once; `options` are those of redis-py.

        Raises:
            UnreachableError, RefusedError: it did not, or nobody knows.
            NoScriptError: it does not know the script.
        """
        try:
            async with _time_limit(seconds):
                answer = await self._client.execute_command(*words, **AS_BYTES, **options)
        except NoScriptError:
            raise
        except (RedisError, RedisClusterException, OSError) as error:  # a TimeoutError is an OSError
            if is_refusal(error):
                raise RefusedError(told(error)) from error
            self._has_failed()
            raise UnreachableError(told(error)) from error
        self._has_worked()
        return answer

    def _has_worked(self) -> None:
        self._failed_at, self.lost_for = None, 0.0

    def _has_failed(self) -> None:
        now = self._now()
        if self._failed_at is not None:
            self.lost_for += min(now - self._failed_at, COMMAND_SECONDS + LONGEST_WAIT)
        self._failed_at = now

    async def aclose(self) -> None:
        if self._is_own:
            await self._client.aclose()


@asynccontextmanager
async def _time_limit(seconds: float) -> AsyncIterator[None]:
    """As `asyncio.timeout`; but where the loop stood still meanwhile, what came in the meantime is looked at first."""
    loop = asyncio.get_running_loop()
    timer: asyncio.TimerHandle

    def due() -> None:
        nonlocal timer
        if loop.time() > timer.when() + STOOD_STILL:
            timer = loop.call_later(COMMAND_SECONDS, due)
        else:
            limit.reschedule(loop.time())

    async with asyncio.timeout(None) as limit:
        timer = loop.call_later(seconds, due)
        try:
            yield
        finally:
            timer.cancel()


def client_of(target: object) -> Any:
    """A client of redis-py; a URL makes a new one.

    Raises:
        ConfigurationError: the target is neither a URL that redis-py takes, nor one of its asyncio clients.
    """
    if isinstance(target, redis.asyncio.Redis | redis.asyncio.RedisCluster):
        return target
    try:
        if isinstance(target, str) and _is_misread(target):
            raise ValueError
        # Neither tries of its own, which could do a thing twice, nor time limits, which would end a read that waits.
        return redis.asyncio.Redis.from_url(
            str(target),
            retry=Retry(NoBackoff(), 0),
            socket_timeout=None,
            socket_connect_timeout=COMMAND_SECONDS,
            protocol=2,
            **WITHOUT_METADATA,
        )
    except ValueError:  # its text has the URL, and that a password
        raise ConfigurationError(
            "The address of Redis cannot be used. Give a URL such as 'redis://localhost:6379/0', 'rediss://...' for "
            "TLS or 'unix://...', in whose password each of /, ?, # and @ is escaped (%2F, %3F, %23 and %40); in "
            "Python also a client of redis.asyncio, as for Sentinel or a cluster."
        ) from None


def described(target: object) -> str:
    """The address without its password."""
    if not isinstance(target, str):
        return f"<{type(target).__name__}>"
    if _is_misread(target):
        return "redis://..."
    parts = urlsplit(target)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _is_misread(address: str) -> bool:
    """Whether a part of the password would be taken for something else: where it has a `#` that is not escaped."""
    parts = urlsplit(address)
    return bool(parts.fragment) or (parts.scheme != "unix" and "@" in parts.path) or not _has_usable_port(parts)


def _has_usable_port(parts: SplitResult) -> bool:
    try:
        _ = parts.port
    except ValueError:
        return False
    return True


def check_connections(client: Any) -> None:
    """Raises ConfigurationError where a client may not have as many connections as a quota needs: one of them reads."""
    most = getattr(getattr(client, "connection_pool", None), "max_connections", None)
    if isinstance(most, int) and most < LEAST_CONNECTIONS:
        raise ConfigurationError(
            f"max_connections={most} cannot be used: a quota needs at least {LEAST_CONNECTIONS}, one of which waits "
            "for what others say."
        )


def is_refusal(error: Exception) -> bool:
    """Whether there is no point in trying again."""
    if isinstance(error, AuthenticationError | AuthorizationError):
        return True
    if not isinstance(error, ResponseError) or isinstance(error, PASSING_KINDS):
        return False
    return not any(word in str(error) for word in PASSING)


def told(error: Exception) -> str:
    """An error in words, without a full stop."""
    words = clause_of(error)
    if isinstance(error, TimeoutError | RedisTimeoutError) and not words:
        words = "no answer in time"
    return f"{type(error).__name__}: {words}" if words else type(error).__name__


def text_of(value: object) -> str:
    """What Redis said, whether the client decodes it or not."""
    return value.decode() if isinstance(value, bytes) else str(value)


def _entries_of(found: Any) -> Iterator[tuple[str, str, dict[str, str]]]:
    """What was read, each with its stream; RESP3 and redis-py's own callbacks say it in other shapes."""
    for stream, entries in found.items() if isinstance(found, dict) else found or ():
        first = entries[0] if len(entries) == 1 else None
        is_wrapped = isinstance(first, list) and first and isinstance(first[0], list | tuple)
        named: Any = first if is_wrapped else entries
        for name, fields in named:
            yield text_of(stream), text_of(name), fields_of(fields)


def fields_of(fields: Any) -> dict[str, str]:
    """Pairs of names and values, whichever shape they were said in."""
    pairs = fields.items() if isinstance(fields, dict) else zip(fields[::2], fields[1::2], strict=True)
    return {text_of(name): text_of(value) for name, value in pairs}
