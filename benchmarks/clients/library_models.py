"""The library fed with models. Making them is in the figures, as it is in a program that uses them."""

from __future__ import annotations

from collections.abc import Iterator

from quartile_async import MasterlistItem

from ..work import Item
from .harness import Claim, main
from .library import feed


async def upload(url: str, items: Iterator[Item], in_flight: int) -> Claim:
    return await feed(url, (MasterlistItem(**item) for item in items), in_flight)


if __name__ == "__main__":
    main(upload)
