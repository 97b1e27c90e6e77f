"""Reads a file of items, cleans them, and prints what that took; opening it does not count, which is done once."""

from __future__ import annotations

import asyncio
import json
import sys
import time

from quartile_async import MASTERLIST
from quartile_async.files import Row, read_items

from .harness import peak_mb


async def read(path: str) -> tuple[int, float]:
    source = await asyncio.to_thread(read_items, path, resource=MASTERLIST)
    rows, begun = 0, time.process_time()
    async for record in source:
        rows += isinstance(record, Row)
    return rows, time.process_time() - begun


def main() -> None:
    rows, cpu = asyncio.run(read(sys.argv[1]))
    print(json.dumps({"rows": rows, "cpu": cpu, "peak_mb": peak_mb()}))


if __name__ == "__main__":
    main()
