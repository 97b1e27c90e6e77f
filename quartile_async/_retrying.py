"""Which failures are worth another try, and when; the only file that imports backoff."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Generic, TypeVar

import backoff

from ._errors import APIError, ProtocolError, QuartileError, TransportError

R = TypeVar("R")

RETRIED = frozenset(
    {
        HTTPStatus.REQUEST_TIMEOUT,
        HTTPStatus.TOO_EARLY,
        HTTPStatus.INTERNAL_SERVER_ERROR,
        HTTPStatus.BAD_GATEWAY,
        HTTPStatus.SERVICE_UNAVAILABLE,
        HTTPStatus.GATEWAY_TIMEOUT,
    }
)
"""Statuses worth another try. 429 is none of them: it closes the gate, and is not the request's own failure."""

BASE, LONGEST = 0.5, 8.0
"""Seconds; the wait before try n + 1 is random between 0 and the lesser of LONGEST and BASE × 2^(n - 1)."""


@dataclass(slots=True, frozen=True)
class RetryLimits:
    """When to give up.

    Attributes:
        tries: at most so many, the first included.
        seconds: no further try starts after so long.
        longest_pause: seconds; where the server asks for a longer one, there is no further try.
    """

    tries: int = 5
    seconds: float = 60.0
    longest_pause: float = 300.0


@dataclass(slots=True, frozen=True)
class Attempt(Generic[R]):
    """One try: what it gave, or why it failed and the pause in seconds that the server asked for."""

    value: R | None = None
    error: QuartileError | None = None
    pause: float | None = None


def is_worth_another_try(error: QuartileError | None, *, may_send_again: bool) -> bool:
    """Whether the same request may succeed later, and may be sent again although it may have arrived."""
    if error is None or (error.may_have_been_sent and not may_send_again):
        return False
    if isinstance(error, APIError):
        return error.status in RETRIED
    return isinstance(error, TransportError | ProtocolError)


def waits() -> Generator[float, Attempt[Any], None]:
    """Seconds before each further try, given the try before it: full jitter, upwards from a pause that was named."""
    longest = BASE
    attempt = yield 0.0
    while True:
        jitter = backoff.full_jitter(longest)
        attempt = yield jitter if attempt.pause is None else attempt.pause + jitter
        longest = min(LONGEST, longest * 2)


async def retried(
    once: Callable[[], Awaitable[Attempt[R]]], *, limits: RetryLimits, may_send_again: bool
) -> Attempt[R]:
    """Tries until it succeeds, or there is no point in going on; gives the last try."""
    clock = asyncio.get_running_loop().time
    give_up_at = clock() + limits.seconds

    def goes_on(attempt: Attempt[R]) -> bool:
        return (
            is_worth_another_try(attempt.error, may_send_again=may_send_again)
            and (attempt.pause or 0.0) <= limits.longest_pause
            and clock() < give_up_at
        )

    first = await once()
    if not goes_on(first):
        return first
    # Only now, because most requests succeed at once and backoff costs as much as a small request.
    made = [first]

    async def attempt() -> Attempt[R]:
        return made.pop() if made else await once()

    again = backoff.on_predicate(waits, goes_on, max_tries=limits.tries, jitter=None, logger=None)
    return await again(attempt)()
