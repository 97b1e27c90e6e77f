"""How much may be under way at once, and when nothing may be: the slots and the gate that a client's uploads share."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import TYPE_CHECKING

import anyio

from ._clock import LoopClock

if TYPE_CHECKING:
    from ._quota import Share

SPREAD = 0.5
"""Seconds after the gate opens over which those who waited start again, so that they do not come all at once."""

PAUSE_WITHOUT_A_NAME = 5.0
"""Seconds that the gate closes for after a 429 that names no time."""

SHORTEST_PAUSE = 0.5
"""Seconds that the gate closes for at least; doubled with each refusal in a row, up to PAUSE_WITHOUT_A_NAME."""

WORTH_TELLING = 0.05
"""Seconds by which a pause must have become longer, so that the others are told of it once more."""


class Slots:
    """The batches that may be submitted or polled at once.

    Slots are given out in the order of asking. An upload asks for one at a time, and asks again only when it has
    got it, so uploads take turns however large they are.

    How many there are adapts between 1 and the limit, as TCP's window does: halved when the server is congested, and
    once for all requests that had been sent by then; one more for as many successes as there are slots.

    Where there is a share of a quota, each slot is also one of all who share it.
    """

    def __init__(self, limit: int, share: Share | None = None) -> None:
        self.limit: int = limit
        self._share = share
        self._limiter = anyio.CapacityLimiter(limit)
        self.in_line: int = 0
        """How many wait for a slot."""
        self._allowance = float(limit)
        self._lowered_at = -math.inf

    @property
    def allowed(self) -> int:
        """How many there are now."""
        return int(self._allowance)

    @property
    def in_use(self) -> int:
        return self._limiter.borrowed_tokens

    async def take(self, borrower: object) -> None:
        """Waits for a slot. `borrower` gives it back; it is any object, used once at a time."""
        try:
            self._limiter.acquire_on_behalf_of_nowait(borrower)  # spared a turn of the loop; nobody is overtaken
        except anyio.WouldBlock:
            self.in_line += 1
            try:
                await self._limiter.acquire_on_behalf_of(borrower)
            finally:
                self.in_line -= 1
        if self._share is not None:
            await self._take_shared(self._share, borrower)

    def give_back(self, borrower: object) -> None:
        self._limiter.release_on_behalf_of(borrower)
        if self._share is not None:
            self._share.give_back(borrower)

    async def _take_shared(self, share: Share, borrower: object) -> None:
        self.in_line += 1
        try:
            await share.take(borrower)
        except BaseException:
            self._limiter.release_on_behalf_of(borrower)
            raise
        finally:
            self.in_line -= 1

    def congested(self, *, sent_at: float, now: float) -> None:
        """A request sent at that time has found the server congested."""
        if sent_at >= self._lowered_at:
            self._lowered_at = now
            self._allow(max(1.0, min(self._allowance, self.in_use) / 2))

    def succeeded(self) -> None:
        """A request was answered."""
        if self._allowance < self.limit:
            self._allow(min(float(self.limit), self._allowance + 1.0 / self._allowance))

    def _allow(self, slots: float) -> None:
        self._allowance = slots
        if self._limiter.total_tokens != self.allowed:
            self._limiter.total_tokens = self.allowed


class Gate:
    """Closed for every request of the client from a 429 until the time that it named.

    `share`: is told, so that it is closed for all who share a quota.
    """

    def __init__(self, *, clock: Callable[[], float] | None = None, share: Share | None = None) -> None:
        self._clock = clock or LoopClock()
        self._share = share
        self._opens_at = -math.inf
        self._closed_at = -math.inf
        self._refusals = 0
        self._refused_since: float | None = None

    @property
    def is_open(self) -> bool:
        return self._closed_at == -math.inf or self._clock() >= self._opens_at

    @property
    def seconds_left(self) -> float:
        """How long it is still closed."""
        return max(0.0, self._opens_at - self._clock())

    def close_for(self, seconds: float) -> None:
        """Closes the gate; a gate that is closed for longer stays so."""
        before = self._opens_at
        self.closed_elsewhere(seconds)
        if self._share is not None and self._opens_at > before + WORTH_TELLING:
            self._share.gate_closed(self.seconds_left)

    def closed_elsewhere(self, seconds: float) -> None:
        """The same, where those who share a quota know it already."""
        self._closed_at = self._clock()
        self._opens_at = max(self._opens_at, self._closed_at + seconds)

    def refused(self, pause: float | None, *, sent_at: float) -> float:
        """A request sent at that time was refused, and this pause asked for: closes the gate.

        Refusals in a row (what was on the wire when the gate closed is one with the refusal that closed it) make the
        pause longer, should the server name ones that are too short.

        Returns:
            For how many seconds the server has refused everything.
        """
        now = self._clock()
        if self._refused_since is None:
            self._refused_since = now
        if sent_at >= self._closed_at:
            self._refusals += 1
        least = min(PAUSE_WITHOUT_A_NAME, SHORTEST_PAUSE * 2.0 ** (self._refusals - 1))
        self.close_for(PAUSE_WITHOUT_A_NAME if pause is None else max(pause, least))
        return now - self._refused_since

    def accepted(self) -> None:
        """A request was let through."""
        self._refusals = 0
        self._refused_since = None

    async def passed(self) -> None:
        """Waits until the gate is open.

        Those who waited start spread over a short time after the opening, never before it.
        """
        if self.is_open:
            return
        upwards = random.uniform(0.0, SPREAD)
        while (left := self._opens_at - self._clock()) > 0:  # noqa: ASYNC110  # the time may be put off meanwhile
            await anyio.sleep(left + upwards)
