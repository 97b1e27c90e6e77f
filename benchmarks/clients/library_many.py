"""Many uploads at once on one client, as handlers of web requests start them. Prints one line of JSON."""

from __future__ import annotations

import argparse
import asyncio
import json
import time

from quartile_async import MASTERLIST, QuartileClient

from ..pinning import pin
from ..work import items
from .library import opened


def main() -> None:
    parser = argparse.ArgumentParser(description="Many uploads at once.")
    parser.add_argument("--url", required=True)
    parser.add_argument("--items", type=int, required=True, help="of all uploads together")
    parser.add_argument("--uploads", type=int, required=True)
    parser.add_argument("--in-flight", type=int, required=True)
    parser.add_argument("--core", type=int)
    options = parser.parse_args()
    pin(options.core)
    print(json.dumps(asyncio.run(upload_all(options))))


async def upload_all(options: argparse.Namespace) -> dict[str, object]:
    size = options.items // options.uploads
    begun = time.perf_counter()
    async with opened(options.url, options.in_flight) as client:
        told = await asyncio.gather(*[upload(client, number * size, size) for number in range(options.uploads)])
    return {
        "wall": time.perf_counter() - begun,
        "sent": sum(sent for sent, _, _ in told),
        "succeeded": sum(succeeded for _, succeeded, _ in told),
        "seconds": [seconds for _, _, seconds in told],
    }


async def upload(client: QuartileClient, first: int, count: int) -> tuple[int, int, float]:
    """Results, successes, and seconds from its start to its end."""
    results = succeeded = 0
    begun = time.perf_counter()
    async for result in client.upload(MASTERLIST, items(count, first)):
        results += 1
        succeeded += result.ok
    return results, succeeded, time.perf_counter() - begun


if __name__ == "__main__":
    main()
