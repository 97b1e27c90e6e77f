"""The library with a consumer that is slower than it: 20 ms for each 1,000 results."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from quartile_async import MASTERLIST

from ..work import Item
from .harness import Claim, main
from .library import opened

EVERY, PAUSE = 1_000, 0.02


async def upload(url: str, items: Iterator[Item], in_flight: int) -> Claim:
    results = succeeded = 0
    async with opened(url, in_flight) as client:
        async for result in client.upload(MASTERLIST, items):
            results += 1
            succeeded += result.ok
            if results % EVERY == 0:
                await asyncio.sleep(PAUSE)
    return Claim(sent=results, succeeded=succeeded)


if __name__ == "__main__":
    main(upload)
