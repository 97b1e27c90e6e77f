"""Requests per time: what was asked for, and the times at which they may go out."""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass

from .._errors import ConfigurationError

UNITS = {"second": 1.0, "minute": 60.0, "hour": 3600.0, "day": 86_400.0}

BURSTS = 10
"""So many bursts are in a period: what may go out at once is a tenth of what may go out in all of it."""

FEW = 5
"""A period with fewer requests than these is taken for a tenth longer: one more of them would be too many."""

LIFETIME = 0.05
"""For this share of a period a request may be late. With a burst that is a tenth, the server then sees at most a fifth
more than the rate in any period, however the delays fall."""

AHEAD, MOST_AHEAD = 0.1, 32
"""A process has times for as many requests as go out in so many seconds, 32 at most: others come in between."""


@dataclass(slots=True, frozen=True)
class Rate:
    """At most `requests` in any `seconds`; within that, at most `burst` in any `spread`."""

    requests: int
    seconds: float

    @property
    def period(self) -> float:
        return self.seconds * (1.1 if self.requests < FEW else 1.0)

    @property
    def per_second(self) -> float:
        return self.requests / self.period

    @property
    def burst(self) -> int:
        return max(1, self.requests // BURSTS)

    @property
    def spread(self) -> float:
        """In seconds."""
        return self.period * self.burst / self.requests

    @property
    def lifetime(self) -> float:
        """For how many seconds a time that has come may be used."""
        return self.seconds * LIFETIME

    @property
    def ahead(self) -> int:
        """How many times that are still to come one process has at most."""
        return max(1, min(MOST_AHEAD, int(self.requests / self.seconds * AHEAD)))

    def part(self, processes: int) -> Rate:
        """What each of so many processes may do by itself."""
        return Rate(self.requests // processes, self.seconds)

    def __str__(self) -> str:
        return f"{self.requests}/{self.seconds:g} seconds"


def parsed_rate(text: str) -> Rate:
    """Reads a rate such as "600/minute", "10/second" or "30/20 seconds".

    Raises:
        ConfigurationError: it is none.
    """
    found = re.fullmatch(r"\s*(\d+)\s*/\s*(\d+(?:\.\d+)?)?\s*(second|minute|hour|day)s?\s*", str(text))
    requests = int(found[1]) if found else 0
    seconds = float(found[2] or 1) * UNITS[found[3]] if found else 0.0
    if not requests or not seconds:
        raise ConfigurationError(
            f"rate={text!r} cannot be used: write how many requests in which time, such as '600/minute' or "
            "'30/20 seconds'."
        )
    return Rate(requests, seconds)


class Schedule:
    """The times at which the requests of one process may go out; in words of Python what the script does for all."""

    def __init__(self, rate: Rate) -> None:
        self._rate = rate
        self._times: deque[float] = deque(maxlen=rate.requests)

    def reserve(self, want: int, now: float) -> list[float]:
        """Seconds from now until each of up to `want` requests may go out; one at least."""
        rate, times, ahead = self._rate, self._times, self._rate.ahead
        waits: list[float] = []
        for _ in range(want):
            at = max(now, times[-1]) if times else now
            if len(times) >= rate.burst:
                at = max(at, times[-rate.burst] + rate.spread)
            if len(times) >= rate.requests:
                at = max(at, times[0] + rate.period)
            if at > now:
                if not ahead:
                    break
                ahead -= 1
            times.append(at)
            waits.append(at - now)
        return waits
