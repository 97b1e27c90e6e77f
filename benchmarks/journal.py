"""`python -m benchmarks.journal`: what a journal costs, in time, CPU, memory and bytes.

**Time and CPU**: the library with a journal beside the library without one, on a server that takes 50 ms to accept
a batch, and on one that accepts at once. How, stands in the package's docstring. The journal lies in the folder for
temporary files: what its disk takes to make a write durable is part of the figures (TMPDIR chooses another one).

**Bytes**: of the file of a finished upload, for each item, beside the JSON of the items and of the server's rows.

**Memory**: the most that was resident in a first run; in a run that was stopped halfway and the one that resumes it;
and in one that replays it all. Each for an upload, and for one that is four times as large.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from .honesty import DishonestRunError
from .journal_runs import Story, story
from .options import at_least_one
from .report import row, table
from .runner import BenchmarkError, Comparison, Server, Setting, client, require_orjson, run_rounds, running_server

COMPARISON = Comparison(
    clients=(client("library"), client("library-again", "library"), client("library-journal", "library_journal")),
    references=("library",),
    control="library-again",
)

LATENCIES = (0.05, 0.0)
"""Seconds that the server takes to accept a batch."""

TIMES_AS_LARGE = 4


def main(arguments: Sequence[str] | None = None, comparison: Comparison = COMPARISON) -> int:
    """The command. Returns 1 where a client failed, or its claims are not what the server counted."""
    options = _parser().parse_args(arguments)
    try:
        require_orjson()
        for latency in LATENCIES:
            setting = Setting(options.items, options.in_flight, options.runs, submit_latency=latency)
            print(table(run_rounds(comparison.clients, setting), setting, comparison), end="\n\n", flush=True)
        print("\n".join(_memory_and_bytes(Setting(options.items, options.in_flight, 1))))
    except (BenchmarkError, DishonestRunError) as error:
        print(f"FAILED: {error}", file=sys.stderr)
        return 1
    return 0


def _memory_and_bytes(setting: Setting) -> Iterator[str]:
    sizes = (setting.items, setting.items * TIMES_AS_LARGE)
    with running_server(setting) as server:
        told = [_story(server, size, setting.in_flight) for size in sizes]
    yield row("peak memory, MB", *(f"{size:,} items" for size in sizes))
    for name in told[0].peak_mb:
        yield row(f"  {name}", *(f"{each.peak_mb[name]:.1f}" for each in told))
    yield ""
    yield row("bytes for each item", *(f"{size:,} items" for size in sizes))
    yield row("  file of a finished journal", *(f"{each.journal_bytes:.1f}" for each in told))
    yield row("  the items, as JSON", *(f"{each.item_bytes:.1f}" for each in told))
    yield row("  the server's rows, as JSON", *(f"{each.row_bytes:.1f}" for each in told))


def _story(server: Server, items: int, in_flight: int) -> Story:
    with TemporaryDirectory() as folder:
        return story(server, Path(folder), items, in_flight)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.journal", description="What a journal costs: time, CPU, memory and bytes."
    )
    parser.add_argument("--items", type=at_least_one, default=100_000, help="for each run (default: 100000)")
    parser.add_argument("--in-flight", type=at_least_one, default=16, help="batches at once (default: 16)")
    parser.add_argument("--runs", type=at_least_one, default=9, help="of each client (default: 9)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
