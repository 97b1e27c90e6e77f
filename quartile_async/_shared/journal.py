"""A journal in Redis, which all machines can reach: what one upload has begun, another one anywhere goes on with."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from .._errors import ConfigurationError, JournalError
from .._gathering import Gathering
from .._journal import Contents, ItemsRead, Record, RecordedBatch, Subject
from .connection import Link, RedisClient, RefusedError, UnreachableError, client_of, described, text_of
from .journal_durability import Durability, checked_durability, settings_from, warning_about
from .journal_hold import OPENING, Hold, HoldTerms
from .journal_records import behind, contents_of, items_read_of, recorded_batch_of
from .journal_words import not_taken, unusable
from .scripts import (
    JOURNAL_BATCHES,
    JOURNAL_ITEMS,
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

PAGE = 64
"""Records that are read in one go."""

CLOSING = 3.0
"""Seconds that what is still to be written has when a journal is closed."""

logger = logging.getLogger("quartile_async")


class RedisJournal:
    """Keeps the records of one upload in Redis; it survives a crash of the process and of its machine.

        client.upload(MASTERLIST, items, journal=RedisJournal("redis://journals:6379", "catalogue-2026-11"))

    One upload at a time has it, and keeps it by a lease. One that was taken for dead and still lives writes nothing
    once another one has taken over, and submits nothing that had not passed its last check before.

    How durable a record is, is Redis's: it must write what it does to a file (`appendonly yes`), and loses nothing that
    was answered with `appendfsync always`. Both are checked when the journal is opened.

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
        _check_at_least(SHORTEST_LEASE, lease=lease)
        _check_at_least(0.0, wait=wait, outage_limit=outage_limit)
        self._url = url
        self._name = checked_name(name)
        self._keys = journal_keys(name)
        self._terms = HoldTerms(lease, wait, outage_limit)
        self._durability = checked_durability(durability)
        self._open: _Open | None = None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({described(self._url)!r}, {self._name!r})"

    async def open(self, subject: Subject) -> Contents:
        """See `Journal.open`."""
        if self._open is not None:
            raise JournalError(f"The journal {self!r} is in use by another upload. Wait for its end.")
        link = Link(self._url)
        hold = Hold(link, self._keys, self._terms, repr(self))
        opened = self._open = _Open(hold)
        try:
            await self._check_durability(link)
            opened.contents = await hold.take(subject)
        except BaseException:
            self._open = None
            await done_to_the_end(opened.close(finished=False))
            raise
        return opened.contents

    async def items_from(self, index: int) -> Sequence[ItemsRead]:
        """See `Journal.items_from`."""
        opened = self._opened
        return items_read_of(index, await self._page(JOURNAL_ITEMS, index, opened.contents.items))

    async def batches_from(self, first: int, number: int) -> Sequence[RecordedBatch]:
        """See `Journal.batches_from`."""
        found = await self._page(JOURNAL_BATCHES, behind(first, number), self._opened.contents.batches)
        try:
            return [recorded_batch_of(*batch) for batch in found]
        except ValueError as error:
            raise JournalError(f"The journal {self!r} holds what nobody wrote there ({error}).") from error

    def write(self, *records: Record) -> asyncio.Future[None]:
        """See `Journal.write`."""
        return self._opened.gathering.add(records)

    async def close(self, *, finished: bool) -> None:
        """See `Journal.close`."""
        opened, self._open = self._opened, None
        await done_to_the_end(opened.close(finished=finished))

    def is_held(self) -> bool:
        """See `HeldJournal.is_held`."""
        return self._opened.hold.is_held()

    async def check_held(self) -> None:
        """See `HeldJournal.check_held`."""
        await self._opened.hold.check_held()

    def when_lost(self, tell: Callable[[Exception], object]) -> None:
        """See `HeldJournal.when_lost`."""
        self._opened.hold.tell = tell

    async def contents(self) -> Contents | None:
        """What it holds, whoever has it; None where there is no such journal.

        Raises:
            JournalError: Redis cannot be used.
        """
        status, *found = await self._once(JOURNAL_LOOK)
        return contents_of(found[0][2:]) if text_of(status) == "ok" else None

    async def remove(self) -> None:
        """Removes it from Redis, where it would stay for ever.

        Raises:
            JournalError: an upload has it, or Redis cannot be used.
        """
        reply = await self._once(JOURNAL_REMOVE)
        if text_of(reply[0]) != "ok":
            raise not_taken(repr(self), reply)

    @property
    def _opened(self) -> _Open:
        if self._open is None:
            raise JournalError(f"The journal {self!r} is not open.")
        return self._open

    async def _check_durability(self, link: Link) -> None:
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

    async def _page(self, script: Script, place: object, known: int) -> list[Any]:
        hold = self._opened.hold
        arguments = ("", 0, place, known, PAGE)
        try:
            page: list[Any] = await hold.link.insist(
                script, self._keys, lambda: arguments, patience=self._terms.patience
            )
        except (UnreachableError, RefusedError) as error:
            raise unusable(repr(self), hold.link.name, error, hold.link.lost_for) from error
        return page

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


class _Open:
    """A journal while one upload has it: what is written goes to Redis commit by commit, in its order."""

    def __init__(self, hold: Hold) -> None:
        self.hold = hold
        self.contents = Contents(0, 0, 0.0, 0.0, None)
        self.gathering = Gathering(self._commit)
        self._commits: deque[tuple[list[Record], Callable[[object, BaseException | None], object]]] = deque()
        self._writing: asyncio.Task[None] | None = None

    def _commit(self, records: list[Record], tell: Callable[[object, BaseException | None], object]) -> None:
        self._commits.append((records, tell))
        if self._writing is None or self._writing.done():
            self._writing = asyncio.get_running_loop().create_task(self._write(), name="quartile_async journal writer")

    async def _write(self) -> None:
        while self._commits:
            records, tell = self._commits[0]
            failure: BaseException | None = None
            try:
                await self.hold.append(records)
            except Exception as error:  # noqa: BLE001  # whatever it is, those who wait are told
                failure = error
            del self._commits[0]
            tell(None, failure)

    async def close(self, *, finished: bool) -> None:
        """Ends after all that was written, and gives the journal back; where Redis is away, that is not waited for."""
        try:
            async with asyncio.timeout(CLOSING):
                await self._flush()
                await self.hold.give_back(finished=finished)
        except (UnreachableError, RefusedError, TimeoutError) as error:
            logger.warning("%s was not given back, and will be free once its lease runs out: %s", self.hold, error)
        finally:
            await self._end()

    async def _flush(self) -> None:
        self.gathering.commit()
        if self._writing is not None:
            await asyncio.wait([self._writing])

    async def _end(self) -> None:
        await self.hold.end()
        if self._writing is not None and not self._writing.done():
            self._writing.cancel()
            await asyncio.wait([self._writing])
        while self._commits:
            _, tell = self._commits.popleft()
            tell(None, self.hold.fail(JournalError(f"{self.hold} was closed before all was written.")))
        await self.hold.link.aclose()


def _check_at_least(least: float, **settings: object) -> None:
    for name, value in settings.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value < float("inf"):
            raise ConfigurationError(f"{name}={value!r} cannot be used: give a number of at least {least:g}.")


@functools.cache
def _warn_once(words: str) -> None:
    logger.warning("%s", words)
