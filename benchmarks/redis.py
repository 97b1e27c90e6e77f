"""`python -m benchmarks.redis`: what a quota on Redis costs, and how much one Redis gives. It needs a redis-server.

**Uploads**: the library with a quota on Redis that holds nothing back, beside the library with its own slots and gate
alone, against a server that answers at once: so it is dearest. How, stands in the package's docstring.

**Admissions**: processes that do nothing but ask, on a Redis of this machine, with one request at a time in each
(so that each admission is a round trip), and with sixteen (which are asked for together).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from statistics import median

from .honesty import DishonestRunError
from .options import at_least_one, seconds_of
from .questions import spread
from .redis_server import running_redis
from .report import row, table
from .runner import BenchmarkError, Comparison, Setting, client, require_orjson, run_rounds

COMPARISON = Comparison(
    clients=(client("library"), client("library-again", "library"), client("library-redis", "library_redis")),
    references=("library",),
    control="library-again",
)

CROWDS = ((1, 1), (1, 16), (4, 1), (4, 16))
"""Processes, and requests at once in each."""


def main(arguments: Sequence[str] | None = None, comparison: Comparison = COMPARISON) -> int:
    """The command. Returns 1 where a client failed, or its claims are not what the server counted."""
    options = _parser().parse_args(arguments)
    try:
        require_orjson()
        with running_redis() as url:
            os.environ["BENCHMARK_REDIS_URL"] = url
            setting = Setting(options.items, options.in_flight, options.runs)
            print(table(run_rounds(comparison.clients, setting), setting, comparison), end="\n\n", flush=True)
            print(row("admissions from one Redis", "a second", "µs of CPU of the client for each"))
            for processes, at_once in CROWDS:
                print(_admissions(url, processes, at_once, options.seconds, options.runs), flush=True)
    except (BenchmarkError, DishonestRunError) as error:
        print(f"FAILED: {error}", file=sys.stderr)
        return 1
    return 0


def _admissions(url: str, processes: int, at_once: int, seconds: float, runs: int) -> str:
    rates, costs = [], []
    for _ in range(runs):
        told = _asked(url, processes, at_once, seconds)
        rates.append(sum(each["admissions"] / each["seconds"] for each in told))
        costs.append(1e6 * sum(each["cpu"] for each in told) / sum(each["admissions"] for each in told))
    return row(f"  {processes} processes, {at_once} at once", f"{median(rates):,.0f}", spread(costs))


def _asked(url: str, processes: int, at_once: int, seconds: float) -> list[dict[str, float]]:
    command = (sys.executable, "-m", "benchmarks.clients.admissions", url, "--seconds", str(seconds))
    started = [
        subprocess.Popen([*command, "--at-once", str(at_once)], stdout=subprocess.PIPE, text=True)
        for _ in range(processes)
    ]
    answers = [process.communicate()[0] for process in started]
    if any(process.returncode for process in started):
        raise BenchmarkError("a process that asked for admissions has failed")
    return [json.loads(answer) for answer in answers]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.redis", description="What a quota on Redis costs, and how much one Redis gives."
    )
    parser.add_argument("--items", type=at_least_one, default=100_000, help="for each run (default: 100000)")
    parser.add_argument("--in-flight", type=at_least_one, default=16, help="batches at once (default: 16)")
    parser.add_argument("--runs", type=at_least_one, default=9, help="of each (default: 9)")
    parser.add_argument("--seconds", type=seconds_of, default=2.0, help="of asking, in each run (default: 2)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
