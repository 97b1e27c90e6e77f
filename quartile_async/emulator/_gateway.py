"""What stands before the API: the subscription key and the rate limit (contract, "Base")."""

from __future__ import annotations

import math
import random
import string
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ._replies import Reply, refusal


@dataclass(frozen=True, slots=True)
class RateLimit:
    """At most `requests` in any `seconds`. Requests that are refused do not count."""

    requests: int
    seconds: float

    def __post_init__(self) -> None:
        if self.requests < 1 or self.seconds <= 0:
            raise ValueError("a rate limit needs at least 1 request in more than 0 seconds")


class Gateway:
    """Lets requests through that have the key, as long as the rate limit allows."""

    def __init__(
        self,
        *,
        rng: random.Random,
        clock: Callable[[], float],
        rate_limit: RateLimit | None,
    ) -> None:
        self._clock = clock
        self._limit = rate_limit
        self._recent: deque[float] = deque()
        self.refused_by_limit = 0
        self.subscription_key = "".join(rng.choices(string.ascii_letters + string.digits, k=32))

    def refused_key(self, headers: Mapping[str, str]) -> Reply | None:
        key = headers.get("Subscription-Key")
        if key is None:
            return refusal(
                401,
                "Access denied due to missing subscription key. "
                "Make sure to include subscription key when making requests to an API.",
            )
        if key != self.subscription_key:
            return refusal(
                401,
                "Access denied due to invalid subscription key. "
                "Make sure to provide a valid key for an active subscription.",
            )
        return None

    def over_the_limit(self) -> Reply | None:
        """Counts a request; refuses it, uncounted, where there were too many."""
        if self._limit is None:
            return None
        now = self._clock()
        while self._recent and self._recent[0] <= now - self._limit.seconds:
            self._recent.popleft()
        if len(self._recent) < self._limit.requests:
            self._recent.append(now)
            return None
        self.refused_by_limit += 1
        wait = max(1, math.ceil(self._recent[0] + self._limit.seconds - now))
        reply = refusal(429, f"Rate limit is exceeded. Try again in {wait} seconds.")
        return reply.with_headers({"Retry-After": str(wait), **self.rate_headers()})

    def rate_headers(self) -> dict[str, str]:
        """The hints that newer versions of the API name; none without a limit."""
        if self._limit is None:
            return {}
        left = self._limit.requests - len(self._recent)
        reset = self._recent[0] + self._limit.seconds - self._clock() if self._recent else 0.0
        return {
            "RateLimit-Limit": str(self._limit.requests),
            "RateLimit-Remaining": str(max(0, left)),
            "RateLimit-Reset": str(max(0, math.ceil(reset))),
        }
