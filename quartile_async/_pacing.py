"""How much may be under way at once, and when nothing may be: the slots and the gate that a client's uploads share."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

import anyio

SPREAD = 0.5
"""Seconds after the gate opens over which those who waited start again, so that they do not come all at once."""


class Slots:
    """The batches that may be submitted or polled at once.

    Slots are given out in the order of asking. An upload asks for one at a time, and asks again only when it has
    got it, so uploads take turns however large they are.
    """

    def __init__(self, limit: int) -> None:
        self._limiter = anyio.CapacityLimiter(limit)

    @property
    def limit(self) -> int:
        return int(self._limiter.total_tokens)

    @property
    def in_use(self) -> int:
        return self._limiter.borrowed_tokens

    async def take(self, borrower: object) -> None:
        """Waits for a slot. `borrower` gives it back; it is any object, used once at a time."""
        await self._limiter.acquire_on_behalf_of(borrower)

    def give_back(self, borrower: object) -> None:
        self._limiter.release_on_behalf_of(borrower)


class Gate:
    """Closed for every request of the client from a 429 until the time that it named."""

    def __init__(self, *, clock: Callable[[], float] | None = None) -> None:
        self._clock = clock or (lambda: asyncio.get_running_loop().time())
        self._opens_at = 0.0

    def close_for(self, seconds: float) -> None:
        """Closes the gate; a gate that is closed for longer stays so."""
        self._opens_at = max(self._opens_at, self._clock() + seconds)

    async def passed(self) -> None:
        """Waits until the gate is open.

        Those who waited start spread over a short time after the opening, never before it.
        """
        if self._clock() >= self._opens_at:
            return
        upwards = random.uniform(0.0, SPREAD)
        while (left := self._opens_at - self._clock()) > 0:  # noqa: ASYNC110  # the time may be put off meanwhile
            await anyio.sleep(left + upwards)
