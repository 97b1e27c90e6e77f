"""A journal in Redis, which all machines can reach: what one upload has begun, another one anywhere goes on with."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Callable, Sequence
from typing import Any

from .._errors import JournalError
from .._journal import Contents, ItemsRead, Record, RecordedBatch, Subject
from .._numbers import check_at_least
from .connection import Link, RedisClient, RefusedError, UnreachableError, client_of, described, text_of
from .journal_durability import Durability, checked_durability, settings_from, warning_about
from .journal_hold import OPENING, Hold, HoldTerms
from .journal_records import contents_of
from .journal_session import Session
from .journal_words import not_taken, unusable
from .scripts import (
    JOURNAL_LOOK,
    JOURNAL_REMOVE,
    JOURNAL_SETTINGS,
    Script,
    checked_name,
    journal_keys,
)
from .work import finished as done_to_the_end

SHORTEST_LEASE = 0.5
"""Seconds."""

logger = logging.getLogger("quartile_async")


class RedisJournal:
    """Keeps the records of one upload in Redis; it survives a crash of the process and of its machine.

        client.upload(MASTERLIST, items, journal=RedisJournal("redis://journals:6379", "catalogue-2026-11"))

    One upload at a time has it, and keeps it by a lease. One that was taken for dead and still lives writes nothing
    once another one has taken over, and submits nothing that had not passed its last check before.

    How durable a record is, is Redis's: it must write what it does to a file (`appendonly yes`), and loses nothing that
    was answered with `appendfsync always`. Both are checked when the journal is session.

    Args:
        url: as redis-py takes it: `redis://`, `rediss://` (TLS) or `unix://`, with user and password; or a client of
            `redis.asyncio`, as for Sentinel or a cluster, which stays yours to close.
        name: of the journal, the same for each run of an upload.
        lease: seconds after which a journal whose upload has died is free again.
        wait: seconds for which `open` waits while another upload has it.
        durability: what is asked of Redis: "aof" (a file; what a power cut may lose is logged once), "always" (a power
            cut may lose nothing), or "none".
        outage_limit: seconds for which Redis may not be reached before the upload ends; nothing is submitted meanwhile.

    Raises:
        ConfigurationError: a setting cannot be used.
    """

    def __init__(
        self,
        url: str | RedisClient,
        name: str,
        *,
        lease: float = 15.0,
        wait: float = 0.0,
        durability: Durability = "aof",
        outage_limit: float = 60.0,
    ) -> None:
        client_of(url)
        check_at_least(SHORTEST_LEASE, lease=lease)
        check_at_least(0.0, wait=wait, outage_limit=outage_limit)
        self._url = url
        self._name = checked_name(name)
        self._keys = journal_keys(name)
        self._terms = HoldTerms(lease, wait, outage_limit)
        self._durability: Durability = checked_durability(durability)
        self._session: Session | None = None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({described(self._url)!r}, {self._name!r})"

    async def open(self, subject: Subject) -> Contents:
        """See `Journal.open`."""
        if self._session is not None:
            raise JournalError(f"The journal {self!r} is in use by another upload. Wait for its end.")
        link = Link(self._url)
        hold = Hold(link, self._keys, self._terms, repr(self))
        session = self._session = Session(hold)
        try:
            await self._check_durability(link)
            session.contents = await hold.take(subject)
        except BaseException:
            self._session = None
            await done_to_the_end(session.close(finished=False))
            raise
        return session.contents

    async def items_from(self, index: int) -> Sequence[ItemsRead]:
        """See `Journal.items_from`."""
        return await self._running.items_from(index)

    async def batches_from(self, first: int, number: int) -> Sequence[RecordedBatch]:
        """See `Journal.batches_from`."""
        return await self._running.batches_from(first, number)

    def write(self, *records: Record) -> asyncio.Future[None]:
        """See `Journal.write`."""
        return self._running.write(records)

    async def close(self, *, finished: bool) -> None:
        """See `Journal.close`."""
        session, self._session = self._running, None
        await done_to_the_end(session.close(finished=finished))

    def is_held(self) -> bool:
        """See `HeldJournal.is_held`."""
        return self._running.hold.is_held()

    async def check_held(self) -> None:
        """See `HeldJournal.check_held`."""
        await self._running.hold.check_held()

    def when_lost(self, tell: Callable[[Exception], object]) -> None:
        """See `HeldJournal.when_lost`."""
        self._running.hold.tell = tell

    async def contents(self) -> Contents | None:
        """What it holds, whoever has it; None where there is no such journal.

        Raises:
            JournalError: Redis cannot be used.
        """
        status, *found = await self._once(JOURNAL_LOOK)
        return contents_of(found[0][2:]) if text_of(status) == "ok" else None

    async def check_redis(self) -> str:
        """Checks what Redis promises, as `open` does, and says what may be lost; empty where nothing may.

        It is also logged once.

        Raises:
            JournalError: it promises less than was asked for, or cannot be used.
        """
        link = Link(self._url)
        try:
            return await self._check_durability(link)
        finally:
            await link.aclose()

    async def remove(self) -> None:
        """Removes it from Redis, where it would stay for ever.

        Raises:
            JournalError: an upload has it, or Redis cannot be used.
        """
        reply = await self._once(JOURNAL_REMOVE)
        if text_of(reply[0]) != "ok":
            raise not_taken(repr(self), reply)

    @property
    def _running(self) -> Session:
        if self._session is None:
            raise JournalError(f"The journal {self!r} is not open.")
        return self._session

    async def _check_durability(self, link: Link) -> str:
        """Raises JournalError where Redis may lose more than it should; else says what it may."""
        try:
            info = "\n".join(map(text_of, await link.insist(JOURNAL_SETTINGS, self._keys, tuple, patience=OPENING)))
            config: dict[str, str] = {}
            for pattern in ("*append*", "maxmemory*"):
                config |= await link.settings(pattern, self._keys[0], patience=OPENING)
        except (UnreachableError, RefusedError) as error:
            raise unusable(repr(self), link.name, error, link.lost_for) from error
        if words := warning_about(settings_from(config, info), self._durability, link.name):
            _warn_once(words)
        return words

    async def _once(self, script: Script) -> list[Any]:
        """What a script says that needs no hold."""
        link = Link(self._url)
        try:
            reply: list[Any] = await link.insist(script, self._keys, lambda: ("", 0), patience=OPENING)
        except (UnreachableError, RefusedError) as error:
            raise unusable(repr(self), link.name, error, link.lost_for) from error
        finally:
            await link.aclose()
        return reply


@functools.cache
def _warn_once(words: str) -> None:
    logger.warning("%s", words)
