"""When no request gets through any more: everything waits, and one probe at a time goes out."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import logging
import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from ._clock import LoopClock
from ._errors import TransportError

if TYPE_CHECKING:
    from ._hook import Hook

FIRST_PROBE, LONGEST_BETWEEN_PROBES = 1.0, 5.0
"""Seconds from the beginning of an outage to its first probe, and the most from one probe to the next. They double."""


logger = logging.getLogger("quartile_async")

PAUSE = {"pause": None}
"""Marks the log records that say why everything stands still; how long that takes is not known."""


class OutageError(TransportError):
    """Nothing has got through for longer than the client may wait."""


class Outage:
    """Whether requests get through; for one client.

    Requests ask for their turn. While they get through, they have it at once. In an outage one of them at a time gets
    it, as a probe; when one gets through, all go on.

    Args:
        limit: seconds after which those who wait are told that it is hopeless.
    """

    def __init__(self, limit: float, *, clock: Callable[[], float] | None = None, hook: Hook | None = None) -> None:
        self._limit = limit
        self._hook = hook
        self._clock = clock or LoopClock()
        self._since: float | None = None
        self._reason = ""
        self._probe: object | None = None
        self._interval = FIRST_PROBE
        self._waiting: list[tuple[int, int, object, asyncio.Future[None]]] = []
        self._numbers = itertools.count()
        self._next_probe: asyncio.TimerHandle | None = None
        self._end: asyncio.TimerHandle | None = None
        self._over = asyncio.Event()
        self._given_up_at = -math.inf
        self.last_through: float = -math.inf
        """When a request last got through."""
        self.failures: int = 0
        """How many requests have failed in a row."""
        self.last_ended: float = -math.inf
        """When the last outage ended."""

    @property
    def is_on(self) -> bool:
        return self._since is not None

    @property
    def ever_through(self) -> bool:
        """Whether any request has ever got through."""
        return self.last_through > -math.inf

    def got_through(self) -> None:
        """A request was answered by the API itself."""
        self.last_through = self._clock()
        self.failures = 0
        if self._since is not None:
            logger.warning("Requests get through again, after %.1f s.", self._clock() - self._since, extra=PAUSE)
            self.last_ended = self.last_through
            self._finish(recovered=True)

    def failed(self) -> None:
        """A request was not answered by the API itself."""
        self.failures += 1

    def explains(self, failing_since: float) -> bool:
        """Whether a request that has failed since that time, retries included, did so for no fault of its own.

        It did, if there was an outage, or nothing else has got through either: then there is one now.
        """
        return self.is_on or self.last_ended >= failing_since or self.last_through < failing_since

    def begin(self, reason: str, *, since: float) -> None:
        """Nothing gets through since that time. Does little where that is known.

        Raises:
            OutageError: those who waited have been told since then that it is hopeless.
        """
        self._reason = reason
        if self._given_up_at >= since:
            raise self._hopeless()
        if self._since is None:
            self._since = since
            self._over.clear()
            logger.warning(
                "No request gets through: everything waits, for %g s at most. %s", self._limit, reason, extra=PAUSE
            )
            self._interval = FIRST_PROBE
            loop = asyncio.get_running_loop()
            self._end = loop.call_later(max(0.0, since + self._limit - self._clock()), self._give_up)
            self._plan_probe()
            if self._hook is not None:
                self._hook.outage_began(reason, self._limit)

    async def turn(self, request: object, *, rank: int) -> None:
        """Waits until the request may go out; of those who wait, the one with the lowest rank is the next probe.

        Raises:
            OutageError: nothing has got through for too long.
        """
        if self.lets_through(request):
            return
        waiter = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (rank, next(self._numbers), request, waiter))
        self._plan_probe()
        await waiter

    def lets_through(self, request: object) -> bool:
        """Whether a request need not wait."""
        return self._since is None or self._probe is request

    def done(self, request: object) -> None:
        """The request has ended, or was left: another one may be the probe."""
        if self._probe is request:
            self._probe = None
            self._interval = min(LONGEST_BETWEEN_PROBES, self._interval * 2)
            self._plan_probe()

    def close(self) -> None:
        """Lets everything go; for when the client closes."""
        self._finish(recovered=False)

    async def over(self) -> None:
        """Waits while there is an outage."""
        while self._since is not None:
            await self._over.wait()

    def _plan_probe(self) -> None:
        if self._since is not None and self._probe is None and self._next_probe is None:
            self._next_probe = asyncio.get_running_loop().call_later(self._interval, self._choose_probe)

    def _choose_probe(self) -> None:
        self._next_probe = None
        while self._waiting:
            _, _, request, waiter = heapq.heappop(self._waiting)
            if not waiter.done():
                self._probe = request
                waiter.set_result(None)
                return
        self._interval = FIRST_PROBE  # nobody is left: whoever comes next need not wait for long

    def _finish(self, *, recovered: bool) -> None:
        waiting = self._forget(recovered=recovered)
        for *_, waiter in waiting:
            if not waiter.done():
                waiter.set_result(None)

    def _give_up(self) -> None:
        self._given_up_at = self._clock()
        waiting = self._forget(recovered=False)
        for *_, waiter in waiting:
            if not waiter.done():
                waiter.set_exception(self._hopeless())

    def _hopeless(self) -> OutageError:
        # One each: an upload that ends by an error puts its own items on it.
        return OutageError(
            f"No request has got through for {self._limit:g} s (outage_limit). The last failure: {self._reason} "
            "Batches that were submitted may have completed; `unaccounted` has their ids, and says what was not sent. "
            "Check the network and the server, and send the rest once they are back."
        )

    def _forget(self, *, recovered: bool) -> list[tuple[int, int, object, asyncio.Future[None]]]:
        """Whatever is known of the outage; gives those who waited."""
        if self._since is not None and self._hook is not None:
            self._hook.outage_ended(self._clock() - self._since, recovered=recovered)
        for timer in (self._next_probe, self._end):
            if timer is not None:
                timer.cancel()
        self._since = self._next_probe = self._end = self._probe = None
        self._over.set()
        waiting, self._waiting = self._waiting, []
        return waiting
