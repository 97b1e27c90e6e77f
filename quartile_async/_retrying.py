"""Which failures are worth another try, and when; the only file that imports backoff."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable, Generator
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Generic, TypeVar

from ._answers import LongPauseError, UnusableEndError
from ._clock import LoopClock
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


@dataclass(slots=True)
class Attempt(Generic[R]):
    """One try.

    Attributes:
        value: what it gave.
        error: or why it failed.
        pause: seconds that the server asked for.
        held: seconds that it was held back by a gate or an outage; they are not the request's own.
    """

    value: R | None = None
    error: QuartileError | None = None
    pause: float | None = None
    held: float = 0.0


class RetryBudget:
    """Keeps the retries of a whole client from multiplying the load when nearly everything fails.

    Retries are paid for: from a purse, which each success fills a little, and time a little too. A retry that
    succeeds is paid back: it was worth it. Once the purse is empty, retries wait until there is enough for them.

    Args:
        capacity: retries that the purse holds.
        per_success: retries that a success is worth.
        per_second: retries that come in by time alone; else, with everything failing, there would be none.
    """

    def __init__(
        self,
        *,
        capacity: float = 50.0,
        per_success: float = 0.1,
        per_second: float = 0.5,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self._clock = clock or LoopClock()
        self._capacity = capacity
        self._per_success = per_success
        self._per_second = per_second
        self._left = capacity
        self._counted_at: float | None = None

    def earn(self) -> None:
        """A request has succeeded."""
        if self._left < self._capacity:
            self._left = min(self._capacity, self._left + self._per_success)

    def pay_back(self) -> None:
        """A retry has succeeded."""
        self._left = min(self._capacity, self._left + 1.0)

    def delay(self) -> float:
        """Seconds until there is enough for one more retry."""
        now = self._clock()
        if self._counted_at is not None:
            self._left = min(self._capacity, self._left + (now - self._counted_at) * self._per_second)
        self._counted_at = now
        return max(0.0, (1.0 - self._left) / self._per_second)

    def spend(self) -> float:
        """Pays for one retry, which may go out after so many seconds."""
        delay = self.delay()
        self._left -= 1.0
        return delay


def is_worth_another_try(error: QuartileError | None, *, may_send_again: bool) -> bool:
    """Whether the same request may succeed later, and may be sent again although it may have arrived."""
    if error is None or (error.may_have_been_sent and not may_send_again):
        return False
    if isinstance(error, LongPauseError | UnusableEndError):  # the latter is for whoever waits for the batch
        return False
    if isinstance(error, APIError):
        return error.status in RETRIED
    return isinstance(error, TransportError | ProtocolError)


def waits(budget: RetryBudget) -> Generator[float, Attempt[Any], None]:
    """Seconds before each further try, given the try before it: full jitter, upwards from a pause that was named."""
    import backoff

    longest = BASE
    attempt = yield 0.0
    while True:
        jitter = backoff.full_jitter(longest)
        attempt = yield max(jitter + (attempt.pause or 0.0), budget.spend())
        longest = min(LONGEST, longest * 2)


async def retried(
    once: Callable[[], Awaitable[Attempt[R]]],
    first: Attempt[R],
    *,
    begun: float,
    limits: RetryLimits,
    budget: RetryBudget,
    may_send_again: bool,
    is_hopeless: Callable[[], bool] = lambda: False,
    on_retry: Callable[[str, float, int], object] | None = None,
) -> Attempt[R]:
    """Tries on after the first try until one succeeds, or there is no point in going on; gives the last try.

    `begun`: when the first try did, on the loop's clock.
    `is_hopeless`: whether further tries are pointless for now, for a reason beyond this request.
    `on_retry`: is told, before each further try, why the last one failed, seconds to wait, and the tries so far.
    """
    clock = asyncio.get_running_loop().time
    give_up_at = begun + limits.seconds + first.held

    def goes_on(attempt: Attempt[R]) -> bool:
        return (
            is_worth_another_try(attempt.error, may_send_again=may_send_again)
            and (attempt.pause or 0.0) <= limits.longest_pause
            and not is_hopeless()
            and clock() + budget.delay() < give_up_at
        )

    if not goes_on(first):
        return first
    # The first try is made without backoff, which costs as much as a small request, and is imported late for that.
    import backoff

    made = [first]

    async def attempt() -> Attempt[R]:
        nonlocal give_up_at
        if made:
            return made.pop()
        tried = await once()
        give_up_at += tried.held
        return tried

    def tell(details: Any) -> None:
        if on_retry is not None:
            on_retry(str(details["value"].error), details["wait"], details["tries"])

    again = backoff.on_predicate(
        functools.partial(waits, budget), goes_on, max_tries=limits.tries, jitter=None, logger=None, on_backoff=tell
    )
    last = await again(attempt)()
    if last.error is None:
        budget.pay_back()
    return last
