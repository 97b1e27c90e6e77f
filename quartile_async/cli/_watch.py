"""What the client tells of its work while an upload runs: said to people, and gathered for the report."""

from __future__ import annotations

import time
from collections.abc import Callable

from rich.console import Console

from ..events import BatchFinished, Event, OutageBegan, OutageEnded, Throttled
from ._display import PLAIN_EVERY
from ._report import ReportGatherer
from ._words import say

SHORTEST_SAID = 1.0
"""Seconds; a shorter pause is over before it is read."""


class Watch:
    """Is called with each event of a client.

    Attributes:
        console: where people look.
        gathered: what a report is made of, once the upload runs.
    """

    def __init__(self, console: Console, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.console = console
        self.gathered: ReportGatherer | None = None
        self._clock = clock
        self._closed_until = self._silent_until = 0.0

    def __call__(self, event: Event) -> None:
        if isinstance(event, BatchFinished):
            if self.gathered is not None and event.seconds is not None and event.status is not None:
                self.gathered.batch_finished(event.seconds)
        elif isinstance(event, Throttled):
            self._throttled(event.seconds)
        elif isinstance(event, OutageBegan):
            say(self.console, f"No request gets through: waiting, for {event.limit:g} s at most. {event.reason}")
        elif isinstance(event, OutageEnded) and event.recovered:
            say(self.console, f"Requests get through again, after {event.seconds:.1f} s.")

    def _throttled(self, seconds: float) -> None:
        # What was on the wire together is refused together: only what makes the pause longer counts.
        now = self._clock()
        longer = now + seconds - max(now, self._closed_until)
        if longer <= 0.0:
            return
        self._closed_until = now + seconds
        if self.gathered is not None:
            self.gathered.throttled(longer)
        # With a tight limit there are many short pauses: one line now and then tells of them.
        if seconds >= SHORTEST_SAID and now >= self._silent_until:
            self._silent_until = now + PLAIN_EVERY
            say(self.console, f"Paused by the server for {seconds:.0f} s.")
