"""One core for the client, another for the server."""

from __future__ import annotations

import os
import sys


def cores() -> list[int]:
    """The cores that this process may use; empty where the platform does not say."""
    return sorted(os.sched_getaffinity(0)) if sys.platform == "linux" else []


def pin(core: int | None) -> None:
    """Keeps this process, and what it starts, on one core; None leaves it where it is."""
    if core is not None and sys.platform == "linux":
        os.sched_setaffinity(0, {core})
