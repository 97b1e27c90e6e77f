"""Any number of simulated worlds, each decided by its seed, or one again: what the commands that simulate share."""

from __future__ import annotations

import argparse
import functools
import logging
import multiprocessing
import time
import traceback
from collections.abc import Callable
from typing import TypeVar

W = TypeVar("W")


def run_seeds(
    command: str,
    description: str | None,
    simulated: Callable[[int], W],
    tell: Callable[[W], object],
    *,
    traced: Callable[[int], W] | None = None,
) -> int:
    """Lives through as many worlds as the arguments of the command say, and prints which of them failed; gives 1 then.

    Args:
        command: by which it is run, as `tests.simulation`.
        simulated: lives through one world, and raises where a promise was broken. It can be pickled.
        tell: what is printed of a single world.
        traced: the same as `simulated`, and prints what happens.
    """
    options = _parser(command, description, has_trace=traced is not None).parse_args()
    if options.seed is not None:
        is_traced = traced is not None and options.trace
        level = logging.DEBUG if is_traced else logging.ERROR
        logging.basicConfig(level=level, format="%(message)s")
        world = traced(options.seed) if traced is not None and is_traced else simulated(options.seed)
        print(f"seed {options.seed}: {tell(world)}, all promises kept")
        return 0
    logging.getLogger("quartile_async").setLevel(logging.CRITICAL)
    again = f"Again: python -m {command} --seed {{}}{' --trace' if traced is not None else ''}\n"
    started, seeds = time.monotonic(), range(options.first, options.first + options.seeds)
    with multiprocessing.Pool(options.processes) as pool:
        one = functools.partial(_failure, simulated, again)
        failures = [failure for failure in pool.imap_unordered(one, seeds, chunksize=10) if failure]
    for failure in failures[:10]:
        print(failure)
    seconds = time.monotonic() - started
    print(f"{len(seeds)} seeds, {len(failures)} failed, {seconds:.1f} s, {len(seeds) / seconds:.0f} a second")
    return 1 if failures else 0


def _failure(simulated: Callable[[int], object], again: str, seed: int) -> str | None:
    try:
        simulated(seed)
    except BaseException:  # noqa: BLE001  # whatever it is, its seed is what counts
        return f"{traceback.format_exc(limit=-4)}{again.format(seed)}"
    return None


def _parser(command: str, description: str | None, *, has_trace: bool) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=f"python -m {command}", description=description)
    parser.add_argument("--seeds", type=int, default=1_000, help="how many worlds (default: 1000)")
    parser.add_argument("--first", type=int, default=0, help="the first one's seed")
    parser.add_argument("--seed", type=int, help="only this one")
    parser.add_argument("--processes", type=int, help="default: one for each core")
    if has_trace:
        parser.add_argument("--trace", action="store_true", help="print what happens in that one")
    return parser
