"""The library with a quota on Redis that is wide enough; its address comes from BENCHMARK_REDIS_URL."""

from __future__ import annotations

import os
from collections.abc import Iterator

from quartile_async import MASTERLIST
from quartile_async._shared import terms
from quartile_async.redis import RedisQuota

from ..work import Item
from .harness import Claim, main
from .library import opened

# The benchmark's Redis is new: nobody has to come back to it, and a first pause is not what is measured.
terms.RETURN_TIME = 0.0


async def upload(url: str, items: Iterator[Item], in_flight: int) -> Claim:
    quota = RedisQuota(os.environ["BENCHMARK_REDIS_URL"], rate="1000000/second", max_in_flight=in_flight)
    results = succeeded = 0
    async with opened(url, in_flight, quota=quota) as client:
        async for result in client.upload(MASTERLIST, items):
            results += 1
            succeeded += result.ok
    return Claim(sent=results, succeeded=succeeded)


if __name__ == "__main__":
    main(upload)
