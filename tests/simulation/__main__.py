"""`python -m tests.simulation`: any number of simulated worlds, or one again.

python -m tests.simulation --seeds 10000
python -m tests.simulation --seed 4711 --trace
"""

from __future__ import annotations

import argparse
import logging
import multiprocessing
import sys
import time
import traceback

from .run import simulated


def main() -> int:
    options = _parser().parse_args()
    if options.seed is not None:
        logging.basicConfig(level=logging.DEBUG if options.trace else logging.ERROR, format="%(message)s")
        world = simulated(options.seed, trace=options.trace)
        print(f"seed {options.seed}: {len(world.http.seen)} requests, all promises kept")
        return 0
    started, seeds = time.monotonic(), range(options.first, options.first + options.seeds)
    with multiprocessing.Pool(options.processes) as pool:
        failures = [failure for failure in pool.imap_unordered(_failure, seeds, chunksize=20) if failure]
    for failure in failures[:10]:
        print(failure)
    seconds = time.monotonic() - started
    print(f"{len(seeds)} seeds, {len(failures)} failed, {seconds:.1f} s, {len(seeds) / seconds:.0f} a second")
    return 1 if failures else 0


def _failure(seed: int) -> str | None:
    try:
        simulated(seed)
    except BaseException:  # noqa: BLE001  # whatever it is, its seed is what counts
        return f"{traceback.format_exc(limit=-3)}Again: python -m tests.simulation --seed {seed} --trace\n"
    return None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1_000, help="how many worlds (default: 1000)")
    parser.add_argument("--first", type=int, default=0, help="the first one's seed")
    parser.add_argument("--seed", type=int, help="only this one")
    parser.add_argument("--trace", action="store_true", help="print each request of that one")
    parser.add_argument("--processes", type=int, help="default: one for each core")
    return parser


if __name__ == "__main__":
    sys.exit(main())
