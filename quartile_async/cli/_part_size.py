"""How large the parts of an upload are, where nobody has said it. No I/O."""

from __future__ import annotations

import math

from .._chunking import CHUNK_SIZE
from .._dask.ranges import PART_ITEMS

PARTS_FOR_EACH = 4
"""Parts for each thread of the workers: whoever is done early finds another one."""

LEAST = 1_000
"""The fewest items of a part, of which each costs some tenths of a second; the last one may have less."""


def part_items_for(records: int, threads: int) -> int:
    """The most items of a part, where so many are to be uploaded in so many threads: whole batches."""
    batches = math.ceil(records / (PARTS_FOR_EACH * threads * CHUNK_SIZE))
    return min(PART_ITEMS, max(LEAST, batches * CHUNK_SIZE))
