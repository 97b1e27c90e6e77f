"""Who may come in, and for how long (contract, "Tokens"): users, access tokens, refresh tokens that work once."""

from __future__ import annotations

import base64
import json
import math
import random
import string
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from ._replies import Reply, refusal

REFRESH_LIFETIME = 14 * 24 * 3600.0
"""Seconds that a refresh token is valid for."""

EVER = 12 * 3600.0
"""Seconds that are announced for an access token that is valid for ever."""


@dataclass(slots=True)
class _Refresh:
    user: str
    expires: float
    spent: bool = False


class Authority:
    """Issues tokens and knows whose they are.

    A refresh token works once. Whoever uses one again is refused, and with it every refresh token of that user is
    spent: only a login helps.
    """

    def __init__(
        self,
        *,
        rng: random.Random,
        clock: Callable[[], float],
        wall_clock: Callable[[], float],
        lifetime: float | None,
        announced: float | None,
    ) -> None:
        self._rng = rng
        self._clock = clock
        self._wall_clock = wall_clock
        self._lifetime = math.inf if lifetime is None else lifetime
        self._announced = announced
        self._passwords: dict[str, str] = {}
        self._access: dict[str, tuple[str, float]] = {}
        self._refresh: dict[str, _Refresh] = {}
        self.username = "seller@example.com"
        self.password = "".join(rng.choices(string.ascii_letters + string.digits, k=20))
        self.add_user(self.username, self.password)

    def add_user(self, username: str, password: str) -> None:
        self._passwords[username] = password

    def issue_access(self, lifetime: float | None = None, user: str | None = None) -> str:
        """A further valid access token in the form of a JWT; `lifetime` in seconds."""
        token = self._signed(user or self.username)
        self._access[token] = (
            user or self.username,
            self._clock() + (self._lifetime if lifetime is None else lifetime),
        )
        return token

    def issue_refresh(self, user: str | None = None) -> str:
        token = self._signed(user or self.username)
        self._refresh[token] = _Refresh(user or self.username, self._clock() + REFRESH_LIFETIME)
        return token

    def expire(self, token: str) -> None:
        """Ends the life of an access or refresh token now."""
        if token in self._access:
            self._access[token] = (self._access[token][0], -math.inf)
        elif token in self._refresh:
            self._refresh[token].expires = -math.inf
        else:
            raise ValueError("this emulator has not issued that token")

    def user_of(self, headers: Mapping[str, str]) -> str | None:
        """Whose access token this is, valid or not."""
        return self._access.get(_bearer(headers), (None, 0.0))[0]

    def refused_token(self, headers: Mapping[str, str]) -> tuple[Reply | None, bool]:
        """The refusal, and whether a token that was valid once has only expired."""
        token = _bearer(headers)
        if token not in self._access:
            return refusal(401, "Unauthorized. The access token is missing or invalid."), False
        if self._clock() >= self._access[token][1]:
            return refusal(401, "Unauthorized. The access token has expired."), True
        return None, False

    def login(self, username: str, password: str) -> tuple[Reply, str | None]:
        """The answer, and whose tokens they are where there are any."""
        if self._passwords.get(username) != password:
            return refusal(401, "The username or the password is wrong."), None
        return self._both(username), username

    def refresh(self, token: str) -> tuple[Reply, str | None, bool]:
        """The answer, whose tokens they are where there are any, and whether a spent token was used again."""
        known = self._refresh.get(token)
        if known is None or self._clock() >= known.expires:
            return refusal(401, "The refresh token is not valid."), None, False
        if known.spent:
            for other in self._refresh.values():
                other.spent = other.spent or other.user == known.user
            return refusal(401, "The refresh token has been used already. Log in again."), None, True
        known.spent = True
        return self._both(known.user), known.user, False

    def without_secrets(self, text: str) -> str:
        for secret in (*self._passwords.values(), *self._access, *self._refresh):
            if secret in text:
                text = text.replace(secret, "[secret]")
        return text

    def _both(self, user: str) -> Reply:
        lifetime = self._lifetime if self._announced is None else self._announced
        access = self._described(self.issue_access(user=user), EVER if math.isinf(lifetime) else lifetime)
        refresh = self._described(self.issue_refresh(user), REFRESH_LIFETIME)
        access |= {"type": "Bearer", "notBefore": self._spelled(0.0)}
        return Reply(201, {"authorization": access, "refresh": refresh})

    def _described(self, token: str, seconds: float) -> dict[str, Any]:
        return {"token": token, "expiresIn": seconds, "expiresAt": self._spelled(seconds), "note": "This can change."}

    def _spelled(self, seconds: float) -> str:
        """A time so many seconds from now: UTC, without a zone."""
        now = datetime.fromtimestamp(self._wall_clock(), UTC)
        return (now + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S")

    def _signed(self, user: str) -> str:
        claims = {"sub": user, "jti": f"{self._rng.getrandbits(64):016x}"}
        parts = ({"alg": "HS256", "typ": "JWT"}, claims, {"sig": f"{self._rng.getrandbits(128):032x}"})
        return ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts)


def _bearer(headers: Mapping[str, str]) -> str:
    scheme, _, token = headers.get("Authorization", "").partition(" ")
    return token if scheme == "Bearer" else ""
