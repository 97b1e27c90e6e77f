"""The naive script, with httpx instead of aiohttp."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import httpx

from ..work import BATCH_PATH, HEADERS, PATH, Item, chunks
from .harness import Claim, main


async def upload(url: str, items: Iterator[Item], in_flight: int) -> Claim:
    semaphore = asyncio.Semaphore(in_flight)
    async with httpx.AsyncClient(headers=HEADERS, base_url=url) as client:
        batches = await asyncio.gather(*[upload_chunk(client, semaphore, chunk) for chunk in chunks(items)])
    results = [row for rows in batches for row in rows]
    return Claim(sent=len(results), succeeded=len([row for row in results if row["status"]["success"]]))


async def upload_chunk(client: httpx.AsyncClient, semaphore: asyncio.Semaphore, chunk: list[Item]) -> list[Item]:
    async with semaphore:
        response = await client.patch(PATH, json=chunk)
        response.raise_for_status()
        batch_id = response.json()["batchId"]
        while True:
            response = await client.get(BATCH_PATH + batch_id)
            response.raise_for_status()
            answer = response.json()
            if answer["status"] not in ("PENDING", "RUNNING"):
                rows: list[Item] = answer["data"]
                return rows
            await asyncio.sleep(1)


if __name__ == "__main__":
    main(upload)
