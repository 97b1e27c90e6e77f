"""Ctrl-C and SIGTERM, while something runs."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import Callable, Iterator

# The event loop of Windows knows no signals: there Ctrl-C arrives as KeyboardInterrupt.
HEARD = () if sys.platform == "win32" else (signal.SIGINT, signal.SIGTERM)


@contextlib.contextmanager
def interrupts_heard(by: Callable[[signal.Signals], object]) -> Iterator[None]:
    """Calls a function with each; also where a shell started this in the background, which ignores Ctrl-C."""
    loop = asyncio.get_running_loop()
    for each in HEARD:
        loop.add_signal_handler(each, by, each)
    try:
        yield
    finally:
        for each in HEARD:
            loop.remove_signal_handler(each)
