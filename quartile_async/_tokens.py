"""Access and refresh tokens as data: what the server answers, and when a token is due to be replaced. No I/O."""

from __future__ import annotations

import enum
import hashlib
import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from ._answers import Answer, object_of
from ._errors import ConfigurationError, ProtocolError

ADVISORY, MANDATORY = 300.0, 30.0
"""Seconds before its end from which a token is replaced beside its use, and from which it is waited for."""

ADVISORY_SHARE, MANDATORY_SHARE = 0.25, 0.1
"""Both are at most such a share of the token's lifetime."""


@dataclass(slots=True, frozen=True)
class StoredTokens:
    """What a token store keeps.

    Attributes:
        access_token: goes out with each request.
        expires_at: when it ends, in seconds of Unix time; None where the server did not say.
        lifetime: for how many seconds it was given; None likewise.
        refresh_token: works once; None where there is none.
        server: the base URL that gave them; they are sent to no other.
        user: a digest of the user name; empty where it is not known.
    """

    access_token: str = field(repr=False)
    expires_at: float | None = None
    lifetime: float | None = None
    refresh_token: str | None = field(default=None, repr=False)
    server: str = ""
    user: str = ""


class Freshness(enum.Enum):
    """How a token stands with its end."""

    FRESH = enum.auto()
    ADVISORY = enum.auto()
    """One request replaces it, the others go on with it."""
    MANDATORY = enum.auto()
    """All wait until it has been replaced."""
    EXPIRED = enum.auto()


def freshness_of(tokens: StoredTokens, now: float) -> Freshness:
    """How an access token stands at a Unix time, in seconds."""
    if tokens.expires_at is None:
        return Freshness.FRESH
    left = tokens.expires_at - now
    lifetime = math.inf if tokens.lifetime is None else tokens.lifetime
    if left <= 0:
        return Freshness.EXPIRED
    if left <= min(MANDATORY, lifetime * MANDATORY_SHARE):
        return Freshness.MANDATORY
    return Freshness.ADVISORY if left <= min(ADVISORY, lifetime * ADVISORY_SHARE) else Freshness.FRESH


def tokens_of(answer: Answer, *, sent_at: float, server: str, user: str) -> StoredTokens:
    """Reads the answer to a login or a refresh (contract, "Tokens"), which was asked for at a Unix time.

    Raises:
        ProtocolError: there is no usable access token in it. Its text has no excerpt: it may hold tokens.
    """
    content = object_of(answer, quote=False)
    access, refresh = content.get("authorization"), content.get("refresh")
    try:
        token = checked_secret(_field(access, "token"), "access token")
        refresh_token = checked_secret(_field(refresh, "token"), "refresh token") if refresh is not None else None
    except ConfigurationError as error:
        raise ProtocolError(f"{answer.request} was answered without usable tokens: {error}") from None
    lifetime = _lifetime(access, sent_at)
    return StoredTokens(
        token,
        expires_at=None if lifetime is None else sent_at + lifetime,
        lifetime=lifetime,
        refresh_token=refresh_token,
        server=server,
        user=user,
    )


def digest_of(username: str) -> str:
    """What stands for a user in a token store."""
    return hashlib.sha256(username.encode()).hexdigest()[:16]


def checked_secret(value: object, what: str) -> str:
    """A key or token that can stand in a header.

    Raises:
        ConfigurationError: it cannot; the message does not contain it.
    """
    if not isinstance(value, str) or not value:
        raise ConfigurationError(f"The {what} is missing: give it as a string that is not empty.")
    if not value.isascii() or not value.isprintable() or " " in value:
        raise ConfigurationError(
            f"The {what} has a line break, a blank or another character that cannot stand in a header. "
            "Check how it was copied or read; a file's last line break has to be cut off."
        )
    return value


def _field(part: Any, name: str) -> Any:
    return part.get(name) if isinstance(part, Mapping) else None


def _lifetime(access: Any, sent_at: float) -> float | None:
    """Seconds from the request; the spellings differ, and what makes no sense is not believed."""
    seconds = _field(access, "expiresIn")
    seconds = _field(access, "expires_in") if seconds is None else seconds
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        seconds = _seconds_until(_field(access, "expiresAt") or _field(access, "expires_at"), sent_at)
    return float(seconds) if seconds is not None and 0 < seconds <= sys.float_info.max else None


def _seconds_until(date: Any, now: float) -> float | None:
    try:
        parsed = datetime.fromisoformat(date)
    except (ValueError, TypeError):
        return None
    zoned = parsed if parsed.tzinfo is not None else parsed.replace(tzinfo=UTC)
    return zoned.timestamp() - now
