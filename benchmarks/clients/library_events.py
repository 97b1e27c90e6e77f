"""The library with a function that is called with each event, and counts them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from quartile_async import MASTERLIST
from quartile_async.events import Event

from ..work import Item
from .harness import Claim, main
from .library import opened

heard: Counter[str] = Counter()


def note(event: Event) -> None:
    heard[type(event).__name__] += 1


async def upload(url: str, items: Iterator[Item], in_flight: int) -> Claim:
    results = succeeded = 0
    async with opened(url, in_flight, on_event=note) as client:
        async for result in client.upload(MASTERLIST, items):
            results += 1
            succeeded += result.ok
    assert heard["BatchFinished"] >= results // 100, "it was told"
    return Claim(sent=results, succeeded=succeeded)


if __name__ == "__main__":
    main(upload)
