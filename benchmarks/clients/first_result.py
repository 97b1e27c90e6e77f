"""How long until the first result is there; the upload is left then. Prints one line of JSON."""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterable

from quartile_async import MASTERLIST

from ..pinning import pin
from ..work import Item, items
from .library import opened


def main() -> None:
    parser = argparse.ArgumentParser(description="The first result of an upload.")
    parser.add_argument("--url", required=True)
    parser.add_argument("--items", type=int, required=True)
    parser.add_argument("--in-flight", type=int, required=True)
    parser.add_argument("--asynchronous", action="store_true", help="whether the input is an async iterator")
    parser.add_argument("--core", type=int)
    options = parser.parse_args()
    pin(options.core)
    print(json.dumps(asyncio.run(first_result(options))))


async def first_result(options: argparse.Namespace) -> dict[str, object]:
    source: Iterable[Item] = items(options.items)
    async with opened(options.url, options.in_flight) as client:
        begun = time.perf_counter()
        async with client.upload(MASTERLIST, _awaited(source) if options.asynchronous else source) as upload:
            async for result in upload:
                return {"seconds": time.perf_counter() - begun, "ok": result.ok}
    raise SystemExit("There was no result.")


async def _awaited(source: Iterable[Item]) -> AsyncIterator[Item]:
    for item in source:
        yield item


if __name__ == "__main__":
    main()
