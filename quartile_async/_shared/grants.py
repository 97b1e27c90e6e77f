"""Times at which requests may go out: asked for a few at a time, and handed to those who wait, in order."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from dataclasses import dataclass
from statistics import median

from .._clock import LoopClock
from .._errors import QuartileError
from .connection import RefusedError, UnreachableError
from .rate import Rate, Schedule
from .scripts import RESERVE
from .terms import Membership, micro, seconds_of, unreachable
from .work import Work

PASS_THE_GATE = -math.inf
"""What is handed out when the gate is closed."""


@dataclass(slots=True, frozen=True)
class Booking:
    """A time that was given; on the loop's clock."""

    ready: float
    until: float


class Grants:
    """What one client has of the rate.

    Its requests stand in line here; in the schedule that all share it asks for no more than it needs, and while it
    has times that are still to come, for no more: so that others come in between.
    """

    def __init__(self, membership: Membership, rate: Rate, work: Work) -> None:
        self._membership = membership
        self._rate = rate
        self._work = work
        self._now = LoopClock()
        self._waiting: deque[asyncio.Future[float]] = deque()
        self._booked: deque[Booking] = deque()
        self._spare: deque[float] = deque()
        self._round_trips: deque[float] = deque([0.0], maxlen=9)
        self._alone: Schedule | None = None
        membership.lost.append(self._start_over)

    async def admission(self) -> float:
        """See `Share.admission`."""
        while self._spare:
            if (until := self._spare.popleft()) >= self._now():
                return until
        waiter: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        self._work.keep_up("grants", self._ask)
        try:
            return await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                self._spare.append(waiter.result())
            raise

    def fail(self, error: QuartileError) -> None:
        """Ends the waiting of all."""
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_exception(type(error)(str(error)))

    def _start_over(self) -> None:
        """What the times were given in is lost."""
        self._booked.clear()
        self._work.keep_up("grants", self._ask)

    async def _ask(self) -> None:
        """Asks for times until there is one for each who waits."""
        while self._missing() > 0:
            if self._booked:
                await asyncio.sleep(max(0.0, self._booked[-1].ready - median(self._round_trips) - self._now()))
            if (missing := self._missing()) > 0:
                try:
                    await self._book(missing)
                except (UnreachableError, RefusedError) as error:
                    self._do_without(error)

    def _missing(self) -> int:
        while self._waiting and self._waiting[0].done():
            self._waiting.popleft()
        return sum(not waiter.done() for waiter in self._waiting) - len(self._booked)

    async def _book(self, missing: int) -> None:
        terms, rate = self._membership.terms, self._rate
        if self._membership.link.lost_for >= terms.patience and self._alone is not None:
            self._book_alone(self._alone, missing)
            return
        sent_at = self._now()
        closed_for, *waits = await self._membership.ask(
            RESERVE,
            lambda: (missing, rate.ahead, rate.requests, rate.burst, micro(rate.period)),
            patience=terms.patience,
        )
        self._alone = None
        came_at = self._now()
        self._round_trips.append(came_at - sent_at)
        if self._membership.heed(closed_for):
            self._hand_over_all(PASS_THE_GATE)
        # The time may have come when the answer set out, and the request goes out once it is here: Redis's clock and
        # this one are never compared.
        lifetime = max(rate.lifetime, 2 * median(self._round_trips))
        for wait in map(seconds_of, waits):
            self._plan(Booking(came_at + wait, sent_at + wait + lifetime))

    def _do_without(self, error: UnreachableError | RefusedError) -> None:
        """Redis has not been reached for too long."""
        terms = self._membership.terms
        if terms.when_unreachable == "error" or isinstance(error, RefusedError):
            self.fail(unreachable(self._membership.link, error, terms.patience))
        else:
            self._alone = Schedule(self._rate.part(terms.processes))
            self._membership.was_alone = True

    def _book_alone(self, schedule: Schedule, missing: int) -> None:
        now = self._now()
        for wait in schedule.reserve(missing, now):
            self._plan(Booking(now + wait, now + wait + self._rate.lifetime))

    def _plan(self, booking: Booking) -> None:
        self._booked.append(booking)
        if booking.ready <= self._now():
            self._hand_over(booking)
        else:
            self._work.at(booking.ready, self._hand_over, booking)

    def _hand_over(self, booking: Booking) -> None:
        if booking not in self._booked:  # what it was a time in is lost
            return
        self._booked.remove(booking)
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(booking.until)
                return
        self._spare.append(booking.until)

    def _hand_over_all(self, until: float) -> None:
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(until)
