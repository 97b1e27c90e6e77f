"""What stands before the API: the subscription key, access tokens, the rate limit (contract, "Base" and "Tokens")."""

from __future__ import annotations

import base64
import json
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
    """Lets requests through that have a key and a token, as long as the rate limit allows."""

    def __init__(
        self,
        *,
        rng: random.Random,
        clock: Callable[[], float],
        token_lifetime: float | None,
        rate_limit: RateLimit | None,
    ) -> None:
        self._rng = rng
        self._clock = clock
        self._lifetime = math.inf if token_lifetime is None else token_lifetime
        self._limit = rate_limit
        self._recent: deque[float] = deque()
        self._expiry: dict[str, float] = {}
        self.refused_by_limit = 0
        self.subscription_key = "".join(rng.choices(string.ascii_letters + string.digits, k=32))

    def issue_token(self, lifetime: float | None = None) -> str:
        """A further valid access token in the form of a JWT; `lifetime` in seconds."""
        expires = self._clock() + (self._lifetime if lifetime is None else lifetime)
        claims = {"sub": "emulator", "jti": f"{self._rng.getrandbits(64):016x}"}
        parts = ({"alg": "HS256", "typ": "JWT"}, claims, {"sig": f"{self._rng.getrandbits(128):032x}"})
        token = ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts)
        self._expiry[token] = expires
        return token

    def expire_token(self, token: str) -> None:
        if token not in self._expiry:
            raise ValueError("this emulator has not issued that token")
        self._expiry[token] = -math.inf

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

    def refused_token(self, headers: Mapping[str, str]) -> tuple[Reply | None, bool]:
        """The refusal, and whether a token that was valid once has only expired."""
        scheme, _, token = headers.get("Authorization", "").partition(" ")
        if scheme != "Bearer" or token not in self._expiry:
            return refusal(401, "Unauthorized. The access token is missing or invalid."), False
        if self._clock() >= self._expiry[token]:
            return refusal(401, "Unauthorized. The access token has expired."), True
        return None, False

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

    def without_secrets(self, text: str) -> str:
        """The text with the key and every token that was issued taken out."""
        for secret in (self.subscription_key, *self._expiry):
            if secret in text:
                text = text.replace(secret, "[secret]")
        return text
