"""Asks a quota on Redis for as many admissions as it gives, for some seconds; prints how many, and their CPU."""

from __future__ import annotations

import argparse
import asyncio
import json
import time

from quartile_async.redis import RedisQuota


async def asked(url: str, rate: str, seconds: float, at_once: int) -> dict[str, float]:
    share = RedisQuota(url, rate=rate).share_of("a key of a benchmark", closed_elsewhere=lambda pause: None)
    await share.admission()
    clock = asyncio.get_running_loop().time
    end, cpu, count = clock() + seconds, time.process_time(), 0

    async def ask() -> None:
        nonlocal count
        while clock() < end:
            await share.admission()
            count += 1

    await asyncio.gather(*(ask() for _ in range(at_once)))
    told = {"admissions": count, "seconds": seconds, "cpu": time.process_time() - cpu}
    await share.aclose()
    return told


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("--rate", default="1000000/second")
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--at-once", type=int, default=16)
    options = parser.parse_args()
    print(json.dumps(asyncio.run(asked(options.url, options.rate, options.seconds, options.at_once))))


if __name__ == "__main__":
    main()
