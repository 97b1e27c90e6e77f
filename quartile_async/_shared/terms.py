"""What a quota allows, and how a client's part of it reaches the scripts."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from .._errors import SharedQuotaError
from .connection import Link, RefusedError, UnreachableError
from .rate import Rate
from .scripts import Keys, Script

DAY = 24 * 3600.0

SHORTEST_PATIENCE = 10.0
"""Seconds: a restart is waited for, however short the leases are."""

RETURN_TIME = 3.0
"""Seconds after a start of Redis in which all who were there before are back; a tenth of it, where it kept running."""

WhenUnreachable = Literal["error", "share"]


@dataclass(slots=True, frozen=True)
class Terms:
    """What a quota allows.

    Attributes:
        rate: None: as many requests as the gate lets through.
        max_in_flight: batches.
        lease: seconds after which what a dead process held is free again.
        when_unreachable: where Redis is not reached: an error, or a part for each process.
        processes: so many parts are made.
        outage_limit: seconds for which Redis may not be reached; None: the lease, at least ten.
    """

    rate: Rate | None
    max_in_flight: int
    lease: float
    when_unreachable: WhenUnreachable = "error"
    processes: int = 1
    outage_limit: float | None = None

    @property
    def patience(self) -> float:
        """Seconds for which Redis may not be reached. By then, what dead processes held has run out."""
        return max(self.lease, SHORTEST_PATIENCE) if self.outage_limit is None else self.outage_limit


@dataclass(slots=True)
class Membership:
    """One client among those who share a quota: who it is, what it knows, and how it asks.

    Attributes:
        closed_elsewhere: is told for how many seconds the gate is closed.
        generation: which state of the quota it has seen; a state that is lost, as by a restart, is followed by another.
        was_alone: whether it has gone on without Redis, with a part of its own, since it was last reached.
        lost: called when it has been followed by another.
    """

    link: Link
    keys: Keys
    terms: Terms
    closed_elsewhere: Callable[[float], object]
    process: str = field(default_factory=lambda: uuid.uuid4().hex[:16])
    generation: str = ""
    was_alone: bool = False
    lost: list[Callable[[], object]] = field(default_factory=list)

    @property
    def inbox(self) -> str:
        return self.keys.inbox + self.process

    async def ask(self, script: Script, arguments: Callable[[], Sequence[object]], *, patience: float) -> list[Any]:
        """Runs a script of the quota; see `Link.insist`.

        Returns:
            What it says behind the generation.
        """
        reply = await self.link.insist(
            script, self.keys.all, lambda: (*self._beginning(), *arguments()), patience=patience
        )
        generation = reply[0].decode() if isinstance(reply[0], bytes) else str(reply[0])
        if self.generation not in ("", generation):
            for each in self.lost:
                each()
        self.generation, self.was_alone = generation, False
        return list(reply[1:])

    def heed(self, closed_for: object) -> bool:
        """Closes the gate where a script says so; `closed_for` is in microseconds."""
        seconds = seconds_of(closed_for)
        if seconds > 0.0:
            self.closed_elsewhere(seconds)
        return seconds > 0.0

    def _beginning(self) -> tuple[object, ...]:
        rate, lease = self.terms.rate, self.terms.lease
        kept = max(DAY, 0.0 if rate is None else 2 * rate.period)
        known = "alone" if self.was_alone else self.generation
        return known, micro(0.0 if rate is None else rate.spread), micro(lease), round(kept * 1000), micro(RETURN_TIME)


def micro(seconds: float) -> int:
    """Microseconds."""
    return round(seconds * 1e6)


def seconds_of(microseconds: Any) -> float:
    """Seconds."""
    return int(microseconds) / 1e6


def unreachable(link: Link, error: UnreachableError | RefusedError, patience: float) -> SharedQuotaError:
    """The error that a request or an upload ends with; one each."""
    if isinstance(error, RefusedError):
        why = f"Redis at {link.name} does not do its part: {error}. Check the address, the password and the rights."
    else:
        why = (
            f"Redis at {link.name} has not been reached for {patience:g} s: {error}. Check the address and the "
            "server; RedisQuota(..., when_unreachable='share', processes=...) goes on without it, with a part of the "
            "rate."
        )
    return SharedQuotaError(f"{why} Nothing more is sent without a place in the quota that is shared.")
