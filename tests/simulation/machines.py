"""Machines in one virtual time, each with an event loop of its own: one may stand still, or die, between two turns.

What a machine has sent is on its way whatever becomes of the machine; what comes to one that stands still, it finds
when it goes on.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import math
import random
import selectors
from collections.abc import Callable, Coroutine
from typing import Any

from .virtual import EPOCH


class Time:
    """The one time of all machines, in seconds, and what happens in it outside of them."""

    def __init__(self) -> None:
        self.now = 0.0
        self._numbers = itertools.count()
        self._events: list[tuple[float, int, Callable[[], object]]] = []

    def wall(self) -> float:
        """Unix time."""
        return EPOCH + self.now

    def after(self, seconds: float, happens: Callable[[], object]) -> None:
        heapq.heappush(self._events, (self.now + seconds, next(self._numbers), happens))

    def happen(self) -> bool:
        """Has all happen that is due; whether there was anything."""
        was_due = self.next <= self.now
        while self.next <= self.now:
            heapq.heappop(self._events)[2]()
        return was_due

    @property
    def next(self) -> float:
        return self._events[0][0] if self._events else math.inf


class _Deaf(selectors.SelectSelector):
    """Nothing comes from outside."""

    def select(self, timeout: float | None = None) -> list[Any]:
        return []


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self, clock: Time) -> None:
        self._virtual = clock
        super().__init__(_Deaf())

    def time(self) -> float:
        return self._virtual.now


class Machine:
    """One process.

    Args:
        run: what it does.
        stops: by the number of a turn: seconds for which it stands still before that; infinity: it is killed.
    """

    def __init__(
        self, name: str, clock: Time, run: Callable[[], Coroutine[Any, Any, None]], stops: dict[int, float]
    ) -> None:
        self.name = name
        self.loop = _Loop(clock)
        self.turns = 0
        self.still_until = 0.0
        self.stood_still = 0
        self.is_killed = False
        self._clock = clock
        self._stops = stops
        self.noise: list[dict[str, Any]] = []
        self.loop.set_exception_handler(lambda loop, context: self.noise.append(context))
        self.task = self.loop.create_task(run())

    @property
    def is_over(self) -> bool:
        return self.is_killed or (self.task.done() and not self._has_ready)

    @property
    def next(self) -> float:
        """When it has something to do."""
        if self.is_over:
            return math.inf
        due = self._clock.now if self._has_ready else self._first_timer
        return max(due, self.still_until)

    def turn(self) -> None:
        """One turn of its loop, unless it has to stand still before that."""
        self.turns += 1
        if (seconds := self._stops.pop(self.turns, None)) is not None:
            self.still_until = self._clock.now + seconds
            self.stood_still += 1
            self.is_killed = seconds == math.inf
            return
        self.loop.call_soon(self.loop.stop)
        self.loop.run_forever()

    def bury(self) -> None:
        """Ends what it was doing when it was killed, once nobody looks on any more and it reaches nothing."""
        self.still_until, self._stops = 0.0, {}
        tasks = asyncio.all_tasks(self.loop)
        for task in tasks:
            self.loop.call_soon(task.cancel)
        while not all(task.done() for task in tasks):
            if not self._has_ready:
                self._clock.now = max(self._clock.now, self._first_timer)
            self.turn()
        self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        self.loop.close()

    @property
    def _has_ready(self) -> bool:
        return bool(self.loop._ready)  # type: ignore[attr-defined]  # asyncio's own; nothing else tells

    @property
    def _first_timer(self) -> float:
        timers = self.loop._scheduled  # type: ignore[attr-defined]  # likewise
        return min((each.when() for each in timers if not each.cancelled()), default=math.inf)


def live(clock: Time, machines: list[Machine], rng: random.Random, *, longest: float) -> None:
    """Until nothing is left to be done. Which machine comes first is chance.

    Raises:
        AssertionError: that takes too long.
    """
    while True:
        due = [machine for machine in machines if machine.next <= clock.now]
        if due:
            rng.choice(due).turn()
        elif not clock.happen():
            clock.now = min(clock.next, *(machine.next for machine in machines))
            if clock.now == math.inf:
                return
            assert clock.now < longest, f"still at work: {[each.name for each in machines if not each.is_over]}"
