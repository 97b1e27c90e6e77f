"""One run of an upload with a journal in a file that stays: `python -m benchmarks.clients.journaled`.

It prints what it claims and what it took as one line of JSON. With `--stop-after` it stops when so many results
have come, and ends when what was in flight then has.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from quartile_async import MASTERLIST

from ..pinning import pin
from ..work import items
from .harness import peak_mb
from .library import opened


@dataclass(slots=True, frozen=True)
class Told:
    """What a run came to: results, those from earlier runs among them, successes; megabytes."""

    results: int
    replayed: int
    succeeded: int
    peak_mb: float


def main() -> None:
    """The whole command."""
    parser = argparse.ArgumentParser(description="One run of an upload with a journal that stays.")
    parser.add_argument("--url", required=True)
    parser.add_argument("--items", type=int, required=True)
    parser.add_argument("--in-flight", type=int, required=True)
    parser.add_argument("--journal", type=Path, required=True)
    parser.add_argument("--stop-after", type=int)
    parser.add_argument("--core", type=int)
    options = parser.parse_args()
    pin(options.core)
    print(json.dumps(asdict(asyncio.run(_upload(options)))))


async def _upload(options: argparse.Namespace) -> Told:
    results = replayed = succeeded = 0
    async with opened(options.url, options.in_flight) as client:
        upload = client.upload(MASTERLIST, items(options.items), journal=options.journal)
        async for result in upload:
            results += 1
            replayed += result.replayed
            succeeded += result.ok
            if results == options.stop_after:
                upload.stop()
    return Told(results, replayed, succeeded, peak_mb())


if __name__ == "__main__":
    main()
