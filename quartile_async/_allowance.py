"""How many questions a client may ask where its requests have a rate. No I/O."""

from __future__ import annotations

from collections.abc import Callable

SHARE = 0.5
"""What questions may have of the rate, and of what may go out at once: a batch costs one submit and one question at
least, and where there are more batches than requests, that is all it should cost."""


def gap_between(level: float, capacity: float, per_second: float, batches: int) -> float:
    """Seconds between two questions for one batch, at least; `level` and `capacity` are in questions.

    None where the purse is full. Where it is empty, or in debt, as many as it takes for one question for each batch
    to come in: then no more are asked than come in. In between it grows with the square of what is missing: a few
    questions cost nothing yet, and the purse is not empty before the gaps are long.
    """
    return batches / per_second * (1.0 - max(0.0, level) / capacity) ** 2


class Allowance:
    """Keeps the questions of one client from using up the requests that its submits need.

    Before a client has learned how long the server takes, it would ask for each batch every few milliseconds: a few
    batches use up in half a second what may go out at once, and then everything waits for the rate. So questions are
    paid from a purse that holds a part of the burst, and into which the same part of the rate comes.

    That others take their part of the same rate is not known here: where that is so, requests wait for their turn,
    and questions become dearer.

    Args:
        per_second: requests that may go out, in the long run.
        burst: requests that may go out at once.
        clock: gives the time in seconds.

    Attributes:
        batches: how many are asked for.
    """

    def __init__(self, per_second: float, burst: int, clock: Callable[[], float]) -> None:
        self._per_second = SHARE * per_second
        self._capacity = max(1.0, SHARE * burst)
        self._clock = clock
        self._level = self._capacity
        self._counted_at: float | None = None
        self.batches: int = 0

    def spend(self) -> float:
        """Pays for one question.

        Returns:
            Seconds between it and the last one for the same batch, at least.
        """
        now = self._clock()
        if self._counted_at is not None:
            self._level = min(self._capacity, self._level + (now - self._counted_at) * self._per_second)
        self._counted_at = now
        gap = gap_between(self._level, self._capacity, self._per_second, self.batches)
        # In debt by a question for each batch at most: those are the ones that have been paid for, and not been asked.
        self._level = max(-float(self.batches), self._level - 1.0)
        return gap
