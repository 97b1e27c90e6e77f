"""The library with a journal, in a new file in the folder for temporary files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from ..work import Item
from .harness import Claim, main
from .library import feed


async def upload(url: str, items: Iterator[Item], in_flight: int) -> Claim:
    with TemporaryDirectory() as folder:
        return await feed(url, items, in_flight, Path(folder) / "catalogue.journal")


if __name__ == "__main__":
    main(upload)
