"""Runs one client once, measures it, and prints one line of JSON.

Measured from the start of the event loop to its end: time on the clock, and CPU time (user and system, with
all threads). The imports are done before, and the garbage collector has just gone over what they have made: else it
would be chance whether it does so in so short a run, and it takes as long as some thousand items. Peak memory is that
of the whole process.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import resource
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeAlias

from ..pinning import pin
from ..work import Item, items


@dataclass(slots=True, frozen=True)
class Claim:
    """What a client says it has done."""

    sent: int
    succeeded: int


@dataclass(slots=True, frozen=True)
class Figures:
    """What one run of a client took: seconds, seconds, megabytes."""

    wall: float
    cpu: float
    peak_mb: float


Upload: TypeAlias = Callable[[str, Iterator[Item], int], Awaitable[Claim]]
"""Of the server's URL, the items, and how many batches may be in flight at once."""


def main(upload: Upload) -> None:
    """The whole command of a client."""
    parser = argparse.ArgumentParser(description="One client of the benchmark, once.")
    parser.add_argument("--url", required=True)
    parser.add_argument("--items", type=int, required=True)
    parser.add_argument("--in-flight", type=int, default=32)
    parser.add_argument("--core", type=int, help="the core to stay on")
    options = parser.parse_args()
    pin(options.core)
    claim, figures = measured(upload, options.url, options.items, options.in_flight)
    print(json.dumps(asdict(claim) | asdict(figures)))


def measured(upload: Upload, url: str, count: int, in_flight: int) -> tuple[Claim, Figures]:
    async def work() -> Claim:
        return await upload(url, items(count), in_flight)

    if "anyio" in sys.modules:
        asyncio.run(_use_anyio())
    gc.collect()
    cpu_before, before = _cpu_seconds(), time.perf_counter()
    claim = asyncio.run(work())
    wall, cpu = time.perf_counter() - before, _cpu_seconds() - cpu_before
    return claim, Figures(wall=wall, cpu=cpu, peak_mb=peak_mb())


async def _use_anyio() -> None:
    """Has it import its parts, which it does when they are first used: imports are not what is measured here."""
    import anyio

    async with anyio.create_task_group():
        anyio.CapacityLimiter(1)
        await anyio.sleep(0.001)


def _cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def peak_mb() -> float:
    """The most that was resident of this process, in megabytes."""
    # From /proc where there is one: under Linux a new process inherits the `ru_maxrss` of the one that
    # started it, so that under a large parent every client would look as large.
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    except FileNotFoundError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak / 2**20 if sys.platform == "darwin" else peak / 2**10
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 2**10
