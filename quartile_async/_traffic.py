"""What the answers say about the server, and what a client makes of it: all that its requests share."""

from __future__ import annotations

import enum
import logging
import math
from collections.abc import Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Literal

from . import _tracing
from ._allowance import Allowance
from ._clock import LoopClock
from ._outage import Outage
from ._pacing import Gate, Slots
from ._retrying import RetryBudget
from ._turns import Turns

if TYPE_CHECKING:
    from ._hook import Hook
    from ._quota import Share, ShareOf

logger = logging.getLogger("quartile_async")

LONGEST_HINT = 60.0
"""Seconds; a hint that no request is left closes the gate for no longer. A 429 would."""

MOST_PRICE = 64.0
"""What a poll is worth at most, in the usual prices, when requests are scarce: then waits are 8 times as long."""

SCARCE = 0.5
"""Seconds; a longer wait for a place in a shared quota makes polls dearer."""

ANSWERS_IN_A_TURN = 3
"""How many large answers are read in one turn of the event loop."""


class Signal(enum.Enum):
    """What an answer says about the server."""

    THROUGH = enum.auto()
    """The API itself has answered."""
    FAILED = enum.auto()
    """It has not."""
    CONGESTED = enum.auto()
    """It has not, and may have too much to do."""
    LIMITED = enum.auto()
    """There were too many requests."""


def signal_of(status: int) -> Signal:
    """What an HTTP status says about the server."""
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return Signal.LIMITED
    if status in (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.GATEWAY_TIMEOUT):
        return Signal.CONGESTED
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST or status == HTTPStatus.TOO_EARLY:
        return Signal.FAILED
    return Signal.THROUGH if status < HTTPStatus.INTERNAL_SERVER_ERROR else Signal.FAILED


def requests_left(headers: Mapping[str, str]) -> tuple[float, float] | None:
    """How many requests are left, and in how many seconds there are more; None where the headers do not say.

    `RateLimit-Remaining` and `RateLimit-Reset` are hints (contract, "Base"): what is no sensible number is ignored.
    """
    remaining = headers.get("RateLimit-Remaining")
    if remaining is None:
        return None
    try:
        left, reset = float(remaining), float(headers.get("RateLimit-Reset", "0"))
    except ValueError:
        return None
    return (left, reset) if left >= 0 and 0 <= reset < math.inf else None


def _allowance_of(share: Share | None) -> Allowance | None:
    if share is None or share.rate is None:
        return None
    return Allowance(share.rate.per_second, share.rate.burst, LoopClock())


class Traffic:
    """The slots, the gate, the outage, the retry budget and the turns of one client, kept by what its requests meet.

    Attributes:
        poll_price: what a poll is worth, in the usual prices; more than 1 where requests are scarce.
        share: of a quota that others share; None: there is none.
        allowance: what there is for polls, where the share has a rate.
    """

    def __init__(
        self, *, max_in_flight: int, outage_limit: float, hook: Hook | None = None, share_of: ShareOf | None = None
    ) -> None:
        self.share: Share | None = None if share_of is None else share_of(self._closed_elsewhere)
        self.allowance: Allowance | None = _allowance_of(self.share)
        self.slots: Slots = Slots(max_in_flight, self.share)
        self.gate: Gate = Gate(share=self.share)
        self.outage: Outage = Outage(outage_limit, hook=hook)
        self.budget: RetryBudget = RetryBudget()
        # One upload is cheaper with few, full turns of the loop; with many at once, each turn is full as it is.
        self.turns: Turns = Turns(lambda: 1 if self.slots.in_line > 1 else ANSWERS_IN_A_TURN)
        self.poll_price: float = 1.0
        self._raised_at = -math.inf
        self._outage_limit = outage_limit
        self._hook = hook
        self._now = LoopClock()

    async def admission(self, share: Share) -> float:
        """See `Share.admission`. Where it takes long, requests are scarce."""
        asked = self._now()
        until = await share.admission()
        if self._now() - asked > SCARCE:
            self._raise_the_price(self._now())
        return until

    async def admitted(self) -> None:
        """Waits until a request may go out that neither an outage nor a token holds back."""
        until = -math.inf
        while True:
            await self.gate.passed()
            if self.share is None or self._now() <= until:
                return
            until = await self.admission(self.share)

    def note(self, signal: Signal, *, sent_at: float, headers: Mapping[str, str] | None = None) -> None:
        """A request sent at that time has met with this; not for what is limited."""
        if signal is Signal.CONGESTED:
            self.slots.congested(sent_at=sent_at, now=self._now())
        if signal is not Signal.THROUGH:
            self.outage.failed()
        else:
            self.outage.got_through()
            self.gate.accepted()
            self.slots.succeeded()
            self.budget.earn()
            self._heed(requests_left(headers) if headers is not None else None)

    def note_limited(self, pause: float | None, *, sent_at: float) -> bool:
        """A request sent at that time was refused because there were too many, and this pause asked for.

        Returns:
            Whether everything has been refused for so long that there is no hope.
        """
        now = self._now()
        self.slots.congested(sent_at=sent_at, now=now)
        self._raise_the_price(now)
        closed_for = self.gate.seconds_left
        refused_for = self.gate.refused(pause, sent_at=sent_at)
        self._tell_throttled("429", closed_for)
        return refused_for > self._outage_limit

    def _closed_elsewhere(self, seconds: float) -> None:
        logger.warning("Another process was refused: a pause of %.3g s for all.", seconds, extra={"pause": seconds})
        self.gate.closed_elsewhere(seconds)

    def note_overdue(self) -> None:
        """A batch has not ended by its deadline."""
        now = self._now()
        self.slots.congested(sent_at=now, now=now)

    def _tell_throttled(self, reason: Literal["429", "RateLimit-Remaining"], before: float) -> None:
        """The gate is closed; `before` is for how many seconds it was, before the answer that closed it."""
        if self._hook is not None:
            self._hook.throttled(self.gate.seconds_left, reason)
        if _tracing.active is not None:
            _tracing.active.throttled(max(0.0, self.gate.seconds_left - before), reason)

    def _heed(self, left: tuple[float, float] | None) -> None:
        if left is None:
            self.poll_price = max(1.0, self.poll_price * 0.96)
            return
        remaining, reset = left
        if remaining == 0 and reset > 0:
            closed_for = self.gate.seconds_left
            self.gate.close_for(min(reset, LONGEST_HINT))
            self._tell_throttled("RateLimit-Remaining", closed_for)
        if remaining < self.slots.in_use:
            self._raise_the_price(self._now())
        else:
            self.poll_price = max(1.0, self.poll_price * 0.96)

    def _raise_the_price(self, now: float) -> None:
        # Once a second: what is on the wire together says the same thing many times.
        if now - self._raised_at >= 1.0:
            self._raised_at = now
            self.poll_price = min(MOST_PRICE, self.poll_price * 2.25)
