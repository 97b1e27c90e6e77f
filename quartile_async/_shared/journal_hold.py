"""The hold that one upload has of a journal in Redis: a lease that is renewed, and a fence against who had it before.

Redis heeds nobody but the last one who took hold. The lease says no more than when somebody else may: one whose lease
has run out goes on, as long as nobody has come.
"""

from __future__ import annotations

import asyncio
import math
import os
import random
import socket
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic_core import to_json

from .._clock import LoopClock
from .._errors import JournalError
from .._journal import Contents, Record, Subject
from .._journal_rows import check_subject, subject_of
from .connection import FIRST_WAIT, LONGEST_WAIT, Link, RefusedError, UnreachableError, text_of
from .journal_records import arguments_of, contents_of, counts_after
from .journal_words import not_taken, refused, unusable
from .scripts import JOURNAL_CLOSE, JOURNAL_OPEN, JOURNAL_RENEW, JOURNAL_WRITE, Script

VERSION = 1
"""Of what is kept in Redis."""

RENEWALS = 3
"""A lease is renewed so many times before it would run out."""

CERTAIN = 0.8
"""Of a lease, from the moment at which its renewal was sent: for so long nobody else can have the journal."""

OPENING = 10.0
"""Seconds for which Redis may not be reached when a journal is opened: an address may be wrong."""


@dataclass(slots=True, frozen=True)
class HoldTerms:
    """How a journal is held.

    Attributes:
        lease: seconds after which what a dead upload held is free.
        wait: seconds for which one that is taken waits for another upload's.
        patience: seconds for which Redis may not be reached while something is to be written or sent.
    """

    lease: float
    wait: float
    patience: float


class Hold:
    """One upload's hold of a journal, from `take` to `give_back`.

    Args:
        keys: of the journal.
        journal: its name, for errors.

    Attributes:
        failure: why nothing is written and sent any more.
        tell: called with it.
    """

    def __init__(self, link: Link, keys: Sequence[str], terms: HoldTerms, journal: str) -> None:
        self.link = link
        self.failure: JournalError | None = None
        self.tell: Callable[[JournalError], object] = lambda error: None
        self._keys = keys
        self._terms = terms
        self._journal = journal
        self._holder = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:12]}"
        self._may_have_it = False
        self._fence = ""
        self._seq = self._items = self._batches = 0
        self._now = LoopClock()
        self._renewed_at = (-math.inf, -math.inf)
        self._one_at_a_time = asyncio.Lock()
        self._renewal: asyncio.Task[None] | None = None

    def __str__(self) -> str:
        return f"The journal {self._journal}"

    async def take(self, subject: Subject) -> Contents:
        """Takes hold of the journal, or makes a new one.

        Raises:
            JournalError: it is in use, or about something else, or cannot be used.
        """
        give_up_at, pause, content = self._now() + self._terms.wait, FIRST_WAIT, to_json(subject)
        while (why := text_of((reply := await self._ask_to_take(content))[0])) != "ok":
            if why == "another":
                content = reply[1]  # the same may have been written in another way
                check_subject(self._journal, subject_of(text_of(content)), subject)
                continue
            if why != "held" or self._now() >= give_up_at:
                raise not_taken(self._journal, reply)
            longest = max(0.0, min(pause, int(reply[1]) / 1000, give_up_at - self._now()))
            await asyncio.sleep(random.uniform(longest / 2, longest) + 0.001)
            pause = min(LONGEST_WAIT, pause * 2)
        fence, seq, *fields = reply[1]
        contents = contents_of(fields)
        self._fence, self._seq, self._items, self._batches = text_of(fence), int(seq), contents.items, contents.batches
        self._renewal = asyncio.get_running_loop().create_task(self._keep(), name="quartile_async journal")
        return contents

    def is_held(self) -> bool:
        """See `HeldJournal.is_held`."""
        now, wall = self._renewed_at
        # The loop's clock stands still while the machine sleeps, and the other one may be set.
        return self.failure is None and max(self._now() - now, time.time() - wall) < self._terms.lease * CERTAIN

    async def check_held(self) -> None:
        """See `HeldJournal.check_held`."""
        while not self.is_held():
            async with self._one_at_a_time:  # whoever comes second finds it done
                if not self.is_held():
                    await self._done(JOURNAL_RENEW, lambda: (self._seq,), self._terms.patience)

    async def append(self, records: Sequence[Record]) -> None:
        """Writes all of these or none, and renews the lease; one call at a time.

        Raises:
            JournalError: they are not written, as far as is known, and nothing will be any more.
        """
        items, batches = counts_after(records, self._items, self._batches)
        content = [part for record in records for part in arguments_of(record)]
        arguments = (self._seq, len(records), items, batches, *content)
        await self._done(JOURNAL_WRITE, lambda: arguments, self._terms.patience)
        self._seq, self._items, self._batches = self._seq + len(records), items, batches

    async def read(self, script: Script, arguments: Sequence[object]) -> list[Any]:
        """What a script reads; nobody need hold the journal for that.

        Raises:
            JournalError: Redis was not reached for too long.
        """
        words = (self._holder, round(self._terms.lease * 1000), *arguments)
        try:
            found: list[Any] = await self.link.insist(script, self._keys, lambda: words, patience=self._terms.patience)
        except (UnreachableError, RefusedError) as error:
            raise unusable(self._journal, self.link.name, error, self.link.lost_for) from error
        return found

    async def give_back(self, *, finished: bool) -> None:
        """Renews it no more, and lets somebody else have it, where it is held; tries once.

        Raises:
            UnreachableError, RefusedError: Redis did not do that, as far as is known; the lease will run out.
        """
        await self.end()
        if self._may_have_it:
            has_all = self.failure is None
            arguments = (self._fence, self._seq if has_all else 0, int(finished and has_all))
            await self._ask(JOURNAL_CLOSE, lambda: arguments, patience=0.0)

    async def end(self) -> None:
        """Renews it no more."""
        renewal, self._renewal = self._renewal, None
        if renewal is not None:
            renewal.cancel()
            await asyncio.wait([renewal])

    def fail(self, error: JournalError) -> JournalError:
        """Nothing is written and sent any more; gives the first reason."""
        if self.failure is None:
            self.failure = error
            self.tell(error)
        return self.failure

    async def _ask_to_take(self, subject: bytes) -> list[Any]:
        self._may_have_it = True  # also where no answer comes
        try:
            reply = await self._ask(JOURNAL_OPEN, lambda: (VERSION, subject), patience=OPENING)
        except (UnreachableError, RefusedError) as error:
            raise unusable(self._journal, self.link.name, error, self.link.lost_for) from error
        self._may_have_it = text_of(reply[0]) == "ok"
        return reply

    async def _keep(self) -> None:
        """Renews the lease until it is somebody else's."""
        while self.failure is None:
            await asyncio.sleep(self._terms.lease / RENEWALS)
            try:
                reply = await self._ask(JOURNAL_RENEW, lambda: (self._fence, self._seq), patience=math.inf)
            except RefusedError:
                continue  # whoever writes will be told
            if text_of(reply[0]) != "ok":
                self.fail(refused(self._journal, reply))

    async def _done(self, script: Script, arguments: Callable[[], Sequence[object]], patience: float) -> None:
        """Has Redis do this, however long it takes; what it will not do, or not in time, is a failure."""
        if self.failure is not None:
            raise self.failure
        try:
            reply = await self._ask(script, lambda: (self._fence, *arguments()), patience=patience)
        except (UnreachableError, RefusedError) as error:
            raise self.fail(unusable(self._journal, self.link.name, error, self.link.lost_for)) from error
        if text_of(reply[0]) != "ok":
            raise self.fail(refused(self._journal, reply))

    async def _ask(self, script: Script, arguments: Callable[[], Sequence[object]], *, patience: float) -> list[Any]:
        sent = self._renewed_at

        def now_sent() -> tuple[object, ...]:
            nonlocal sent
            sent = self._now(), time.time()
            return self._holder, round(self._terms.lease * 1000), *arguments()

        reply: list[Any] = await self.link.insist(script, self._keys, now_sent, patience=patience)
        if text_of(reply[0]) == "ok":
            self._renewed_at = max(self._renewed_at, sent)
        return reply
