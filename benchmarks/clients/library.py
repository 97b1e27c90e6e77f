"""The library as one uses it, fed with mappings: each item is checked, matched, and gets its own result."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from quartile_async import MASTERLIST, MasterlistItem, QuartileClient

from ..work import HEADERS, Item
from .harness import Claim, main


async def upload(url: str, items: Iterator[Item], in_flight: int) -> Claim:
    return await feed(url, items, in_flight)


def opened(url: str, in_flight: int, **settings: Any) -> QuartileClient:
    return QuartileClient(
        subscription_key=HEADERS["Subscription-Key"],
        auth=HEADERS["Authorization"].removeprefix("Bearer "),
        base_url=url,
        max_in_flight=in_flight,
        **settings,
    )


async def feed(
    url: str, items: Iterable[Item] | Iterable[MasterlistItem], in_flight: int, journal: Path | None = None
) -> Claim:
    results = succeeded = 0
    async with opened(url, in_flight) as client:
        async for result in client.upload(MASTERLIST, items, journal=journal):
            results += 1
            succeeded += result.ok
    return Claim(sent=results, succeeded=succeeded)


if __name__ == "__main__":
    main(upload)
