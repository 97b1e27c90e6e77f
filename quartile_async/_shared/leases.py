"""Batches in flight, by leases: taken, kept, given back; what others give back is told in an inbox."""

from __future__ import annotations

import asyncio
import itertools
import logging
import random
from collections import deque

from .._clock import LoopClock
from .._errors import QuartileError
from .connection import FIRST_WAIT, LONGEST_WAIT, RefusedError, UnreachableError, text_of
from .scripts import LEAVE, SYNC
from .terms import Membership, seconds_of, unreachable
from .work import Work

RENEWALS = 3
"""A lease is renewed so many times before it would run out."""

logger = logging.getLogger("quartile_async")


class Leases:
    """What one client holds of the batches in flight, and who of it waits for more, in the order of coming.

    Attributes:
        due: when Redis is to be told of everything once more, on the loop's clock.
    """

    def __init__(self, membership: Membership, work: Work) -> None:
        self._membership = membership
        self._work = work
        self._now = LoopClock()
        self._held: dict[object, str] = {}
        self._waiting: deque[tuple[object, asyncio.Future[None]]] = deque()
        self._returned: list[str] = []
        self._seen = 0
        self._has_news = False
        self._one_at_a_time = asyncio.Lock()
        self._own_numbers = itertools.count()
        self.last_read: str = "0-0"
        self.due: float = 0.0
        membership.lost.append(self._renew_soon)

    async def take(self, borrower: object) -> None:
        """See `Share.take`."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((borrower, waiter))
        self._tell()
        try:
            await waiter
        except asyncio.CancelledError:
            if borrower in self._held:
                self.give_back(borrower)
            self._tell()  # one fewer is wanted
            raise

    def give_back(self, borrower: object) -> None:
        """See `Share.give_back`."""
        self._returned.append(self._held.pop(borrower))
        self._tell()

    def fail(self, error: QuartileError) -> None:
        """Ends the waiting of all."""
        while self._waiting:
            _, waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_exception(type(error)(str(error)))

    def read(self, entry: str, fields: dict[str, str]) -> None:
        """Something stood in the inbox."""
        self.last_read = entry
        if "closed" in fields:
            self._membership.heed(fields["closed"])
        if "lease" in fields:
            self._seen += 1
            self._receive(fields["lease"])

    async def sync(self, *, renews: bool) -> None:
        """Tells Redis what is held, given back and wanted, and takes what there is.

        Raises:
            UnreachableError, RefusedError: that was not possible.
        """
        async with self._one_at_a_time:  # else an older account could renew what a newer one has given back
            await self._sync(renews=renews)

    async def _sync(self, *, renews: bool) -> None:
        self._has_news = False
        returned, self._returned = self._returned, []
        try:
            closed_for, is_new, again, granted = await self._membership.ask(
                SYNC, lambda: self._account(returned, renews=renews), patience=0.0
            )
        except BaseException:
            self._returned = returned + self._returned
            raise
        if int(is_new):
            self._seen, self.last_read = 0, "0-0"
        now, interval = self._now(), self._membership.terms.lease / RENEWALS
        if renews:
            self.due = now + interval
        if self._wanted():
            self.due = min(self.due, now + seconds_of(again) + 0.001)
        self._membership.heed(closed_for)
        for lease in granted:
            self._receive(text_of(lease))
        if int(is_new) and self._held and not renews:
            self._renew_soon()

    def do_without(self, error: UnreachableError | RefusedError) -> None:
        """Redis has not been reached for too long."""
        terms = self._membership.terms
        if terms.when_unreachable == "error" or isinstance(error, RefusedError):
            self.fail(unreachable(self._membership.link, error, terms.patience))
        else:
            self._serve_alone()

    def _serve_alone(self) -> None:
        """Gives out the part that each process has where Redis is not there."""
        self._membership.was_alone = True
        part = self._membership.terms.max_in_flight // self._membership.terms.processes
        while len(self._held) < part and self._wanted():
            self._receive(f"{self._membership.process}:alone-{next(self._own_numbers)}")

    async def leave(self) -> None:
        """Gives everything back, where that is possible."""
        terms, ids = self._membership.terms, [*self._held.values(), *self._returned]
        arguments = (self._membership.process, self._membership.keys.inbox, terms.max_in_flight, *ids)
        try:
            await self._membership.ask(LEAVE, lambda: arguments, patience=0.0)
        except (UnreachableError, RefusedError) as error:
            logger.info("Redis was not told that this client is closed: %s", error)

    def _account(self, returned: list[str], *, renews: bool) -> tuple[object, ...]:
        held = list(self._held.values()) if renews else []
        membership = self._membership
        return (
            membership.process,
            membership.keys.inbox,
            membership.terms.max_in_flight,
            self._wanted(),
            self._seen,
            len(returned),
            *returned,
            len(held),
            *held,
        )

    def _wanted(self) -> int:
        return sum(not waiter.done() for _, waiter in self._waiting)

    def _receive(self, lease: str) -> None:
        while self._waiting:
            borrower, waiter = self._waiting.popleft()
            if not waiter.done():
                self._held[borrower] = lease
                waiter.set_result(None)
                return
        self._returned.append(lease)
        self._tell()

    def _renew_soon(self) -> None:
        self.due = 0.0
        self._tell()

    def _tell(self) -> None:
        self._has_news = True
        self._work.keep_up("leases", self._tell_all)
        terms = self._membership.terms
        if terms.when_unreachable == "share" and self._membership.link.lost_for >= terms.patience:
            self._serve_alone()

    async def _tell_all(self) -> None:
        # Whoever gives a slot back is followed by who takes it: both are told in one.
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        wait = FIRST_WAIT
        while self._has_news:
            try:
                await self.sync(renews=self._now() >= self.due)
            except UnreachableError as error:
                self._has_news, self.due = True, 0.0
                if self._membership.link.lost_for >= self._membership.terms.patience:
                    self.do_without(error)
                await asyncio.sleep(random.uniform(wait / 2, wait))
                wait = min(LONGEST_WAIT, wait * 2)
            except RefusedError as error:
                self.do_without(error)
