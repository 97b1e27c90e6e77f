"""Workers that a terminal's own command has started: they neither end by its Ctrl-C, nor write to it."""

from __future__ import annotations

import logging
import signal

import distributed

LOGGERS = ("distributed", "tornado", "bokeh", "asyncio")
"""What would write over the progress: an end is told by the upload itself."""


class OfTheTerminal(distributed.WorkerPlugin):
    """Lets workers live through Ctrl-C, which a terminal sends to all processes: the upload stops them by itself."""

    name = "quartile-async"

    def setup(self, worker: distributed.Worker) -> None:
        """Called on each worker, also on one that takes another one's place."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        be_quiet("quartile_async")  # what ends a part comes with its end


def be_quiet(*others: str) -> None:
    """Has loggers, and those below them, say nothing."""
    known = list(logging.Logger.manager.loggerDict)
    for name in (*LOGGERS, *others):
        for each in (name, *(other for other in known if other.startswith(f"{name}."))):
            logging.getLogger(each).setLevel(logging.CRITICAL + 1)
