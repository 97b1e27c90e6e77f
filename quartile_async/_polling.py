"""When to ask for a batch again."""

from __future__ import annotations

from bisect import bisect_right, insort
from collections import deque

SAMPLES = 100
"""How many processing times are remembered."""

FIRST_WAIT = 0.05
"""Seconds before the first question while nothing has been learned."""

SHARE_OF_AGE = 0.15
"""While nothing has been learned about batches of this age, the next question comes when they are so much older."""

LONGEST_WAIT = 30.0
"""Seconds; no batch goes unasked for longer."""

NEGLIGIBLE = 0.002
"""Seconds; a shorter wait costs more than it saves."""


class ProcessingTimes:
    """How long this server takes, learned from the batches that have ended; one for each client and resource.

    A batch of a certain age is asked for when a quarter of the remembered batches that took longer than that had
    ended. Where too few took longer, the wait is a share of the age: a safe start before anything has been
    learned, and a bound on the damage when the server becomes slower.
    """

    def __init__(self) -> None:
        self._recent: deque[float] = deque()
        self._sorted: list[float] = []

    def learn(self, unfinished: float, finished: float) -> None:
        """A batch was seen unfinished at one age and finished at a later one (seconds)."""
        seconds = (unfinished + finished) / 2
        self._recent.append(seconds)
        insort(self._sorted, seconds)
        if len(self._recent) > SAMPLES:
            self._sorted.remove(self._recent.popleft())

    def wait(self, age: float) -> float:
        """Seconds to wait before asking for a batch of this age (seconds)."""
        longer = len(self._sorted) - (shorter := bisect_right(self._sorted, age))
        if longer < 4:
            return min(max(FIRST_WAIT, age * SHARE_OF_AGE), LONGEST_WAIT)
        wait = self._sorted[shorter + longer // 4] - age
        return min(wait, LONGEST_WAIT) if wait > NEGLIGIBLE else 0.0 if age == 0.0 else NEGLIGIBLE
