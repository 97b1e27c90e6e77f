"""`python -m benchmarks.speed`: the library beside raw aiohttp and naive scripts, as ratios; with more settings.

What is measured, how, and what is not, stands in the package's docstring.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from .honesty import DishonestRunError
from .options import at_least_one, seconds_of
from .questions import Answer, Verdict
from .ratios import CPU, THROUGHPUT, ratio
from .report import as_json, table
from .runner import LIBRARY, BenchmarkError, Comparison, Setting, require_orjson, run_rounds

FULL = {"items": 100_000, "runs": 9}
QUICK = {"items": 20_000, "runs": 3}


GOALS = (
    (CPU, "library", "raw", 2.0),
    (CPU, "library", "naive", 1.2),
    (CPU, "library-models", "raw", 2.5),
    (THROUGHPUT, "library", "naive-httpx", 6.0),
    (THROUGHPUT, "library", "raw", 0.5),
)
"""By how many times, in which measure, beside whom."""


def answer(quick: bool) -> Answer:
    setting = _setting(_parser().parse_args(["--quick"] if quick else []))
    rounds = run_rounds(LIBRARY.clients, setting)
    verdicts = [
        Verdict(
            f"{measure.name}, {client} against {reference}",
            ratio(rounds, measure, client, reference).median,
            goal,
            at_most=not measure.more_is_better,
        )
        for measure, client, reference, goal in GOALS
    ]
    return Answer(table(rounds, setting, LIBRARY), as_json(rounds, setting, LIBRARY), verdicts)


def main(arguments: Sequence[str] | None = None, comparison: Comparison = LIBRARY) -> int:
    """The command. Returns 1 where a client failed, or its claims are not what the server counted."""
    options = _parser().parse_args(arguments)
    setting = _setting(options)
    try:
        require_orjson()
        rounds = run_rounds(comparison.clients, setting)
    except (BenchmarkError, DishonestRunError) as error:
        print(f"FAILED: {error}", file=sys.stderr)
        return 1
    print(table(rounds, setting, comparison))
    if options.json:
        figures = as_json(rounds, setting, comparison)
        options.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.speed",
        description="Runs the library beside raw aiohttp and naive scripts on the same work; prints ratios.",
    )
    parser.add_argument("--items", type=at_least_one, help=f"for each run (default: {FULL['items']})")
    parser.add_argument("--in-flight", type=at_least_one, default=32, help="batches at once (default: 32)")
    parser.add_argument("--runs", type=at_least_one, help=f"of each client (default: {FULL['runs']})")
    quick = f"a first look: {QUICK['items']} items, {QUICK['runs']} runs"
    parser.add_argument("--quick", action="store_true", help=quick)
    parser.add_argument("--processing", type=seconds_of, default=0.0, help="seconds that a batch takes")
    parser.add_argument("--submit-latency", type=seconds_of, default=0.0, help="seconds that a submit takes")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there, too")
    return parser


def _setting(options: argparse.Namespace) -> Setting:
    default = QUICK if options.quick else FULL
    return Setting(
        items=options.items or default["items"],
        in_flight=options.in_flight,
        runs=options.runs or default["runs"],
        processing=options.processing,
        submit_latency=options.submit_latency,
    )


if __name__ == "__main__":
    sys.exit(main())
