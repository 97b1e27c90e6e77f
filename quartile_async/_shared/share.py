"""One client's part of a quota on Redis."""

from __future__ import annotations

import asyncio
import functools
import random

from .._clock import LoopClock
from .._errors import ClientClosedError, QuartileError, SharedQuotaError
from .connection import FIRST_WAIT, LONGEST_WAIT, RefusedError, UnreachableError, told
from .grants import Grants
from .leases import Leases
from .rate import Rate
from .scripts import CLOSE
from .terms import Membership, micro, unreachable
from .work import Work


class RedisShare:
    """Asks Redis for what the requests and batches of one client need; see `quartile_async._quota.Share`.

    One task reads the inbox, where Redis says what others have done, and renews what is held.
    """

    def __init__(self, membership: Membership) -> None:
        self._membership = membership
        self._work = Work(self._fail)
        self._now = LoopClock()
        self._grants = None if self.rate is None else Grants(membership, self.rate, self._work)
        self._leases = Leases(membership, self._work)
        self._pauses: list[float] = []
        self._has_joined = False

    @property
    def rate(self) -> Rate | None:
        """See `Share`."""
        return self._membership.terms.rate

    async def admission(self) -> float:
        """See `Share.admission`."""
        self._check_open()
        self._work.keep_up("inbox", self._listen)
        if self._grants is not None:
            return await self._grants.admission()
        if not self._has_joined:
            await self._join()
        return self._now() + 1.0

    async def take(self, borrower: object) -> None:
        """See `Share.take`."""
        self._check_open()
        self._work.keep_up("inbox", self._listen)
        await self._leases.take(borrower)

    def give_back(self, borrower: object) -> None:
        """See `Share.give_back`."""
        self._leases.give_back(borrower)

    def gate_closed(self, seconds: float) -> None:
        """See `Share.gate_closed`."""
        self._pauses.append(self._now() + seconds)
        self._work.keep_up("gate", self._tell_of_pauses)

    async def aclose(self) -> None:
        """See `Share.aclose`."""
        await self._work.aclose()
        self._end_waiting(ClientClosedError("The client was closed while this waited for its place in the quota."))
        if self._membership.generation:
            await self._leases.leave()
        await self._membership.link.aclose()

    def _fail(self, error: Exception) -> None:
        self._end_waiting(SharedQuotaError(f"Redis at {self._membership.link.name} cannot be used: {told(error)}."))

    def _end_waiting(self, error: QuartileError) -> None:
        self._leases.fail(error)
        if self._grants is not None:
            self._grants.fail(error)

    def _check_open(self) -> None:
        if self._work.is_over:
            raise ClientClosedError("The client is closed. Open a new one.")

    async def _join(self) -> None:
        """Learns whether the gate is closed; nothing else tells where there is no rate."""
        terms = self._membership.terms
        while True:
            try:
                await self._leases.sync(renews=True)
            except (UnreachableError, RefusedError) as error:
                if isinstance(error, UnreachableError) and self._membership.link.lost_for < terms.patience:
                    await asyncio.sleep(random.uniform(FIRST_WAIT, LONGEST_WAIT))
                    continue
                if terms.when_unreachable == "error" or isinstance(error, RefusedError):
                    raise unreachable(self._membership.link, error, terms.patience) from error
            self._has_joined = True
            return

    async def _listen(self) -> None:
        wait = FIRST_WAIT
        while True:
            try:
                await self._read_and_renew()
                wait = FIRST_WAIT
            except (UnreachableError, RefusedError) as error:
                if isinstance(error, RefusedError) or self._membership.link.lost_for >= self._membership.terms.patience:
                    self._leases.do_without(error)
                self._leases.due = 0.0
                await asyncio.sleep(random.uniform(wait / 2, wait))
                wait = min(LONGEST_WAIT, wait * 2)

    async def _read_and_renew(self) -> None:
        leases = self._leases
        if self._now() >= leases.due:
            await leases.sync(renews=True)
            self._has_joined = True
        left = max(0.001, leases.due - self._now())
        membership = self._membership
        after = {membership.inbox: leases.last_read, membership.keys.news: f"{membership.generation or 0}-1"}
        for stream, entry, fields in await membership.link.read(after, left):
            if stream == membership.inbox:
                leases.read(entry, fields)
            else:  # all is lost, and somebody else has come first
                leases.due = 0.0

    async def _tell_of_pauses(self) -> None:
        """Tells the others of the longest pause that they do not know of."""
        while self._pauses:
            until = max(self._pauses)
            self._pauses.clear()
            try:
                await self._membership.ask(CLOSE, functools.partial(self._pause, until), patience=until - self._now())
            except (UnreachableError, RefusedError):
                continue  # it is over; or they find out for themselves

    def _pause(self, until: float) -> tuple[object, ...]:
        return micro(max(0.0, until - self._now())), self._membership.process, self._membership.keys.inbox
