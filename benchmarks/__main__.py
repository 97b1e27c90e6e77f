"""`python -m benchmarks`: the library beside raw aiohttp and a naive script, as ratios.

What is measured, how, and what is not, stands in the package's docstring.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path

from .honesty import DishonestRunError
from .report import as_json, table
from .runner import CLIENTS, BenchmarkError, Client, Run, Setting, require_orjson, run_round, running_server

FULL = {"items": 100_000, "runs": 9}
QUICK = {"items": 20_000, "runs": 3}


def main(arguments: Sequence[str] | None = None, clients: Sequence[Client] = CLIENTS) -> int:
    """The command. Returns 1 where a client failed, or its claims are not what the server counted."""
    options = _parser().parse_args(arguments)
    setting = _setting(options)
    try:
        require_orjson()
        rounds = _measure(clients, setting)
    except (BenchmarkError, DishonestRunError) as error:
        print(f"FAILED: {error}", file=sys.stderr)
        return 1
    print(table(rounds, setting))
    if options.json:
        options.json.write_text(json.dumps(as_json(rounds, setting), indent=2) + "\n", encoding="utf-8")
    return 0


def _measure(clients: Sequence[Client], setting: Setting) -> list[dict[str, Run]]:
    rounds = []
    with running_server(setting) as server:
        for number in range(setting.runs):
            print(f"round {number + 1} of {setting.runs}", file=sys.stderr, flush=True)
            rounds.append(run_round(server, clients, number, setting))
    return rounds


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Runs the library beside raw aiohttp and a naive script on the same work; prints ratios.",
    )
    parser.add_argument("--items", type=_at_least_one, help=f"for each run (default: {FULL['items']})")
    parser.add_argument("--in-flight", type=_at_least_one, default=32, help="batches at once (default: 32)")
    parser.add_argument("--runs", type=_at_least_one, help=f"of each client (default: {FULL['runs']})")
    quick = f"a first look: {QUICK['items']} items, {QUICK['runs']} runs"
    parser.add_argument("--quick", action="store_true", help=quick)
    parser.add_argument("--processing", type=_seconds, default=0.0, help="seconds that a batch takes")
    parser.add_argument("--submit-latency", type=_seconds, default=0.0, help="seconds that a submit takes")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there, too")
    return parser


def _at_least_one(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is less than 1")
    return number


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 <= seconds < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is no number of seconds")
    return seconds


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
