"""Keeps so many small uploads under way through a router until its input ends, and prints how many have ended."""

from __future__ import annotations

import asyncio
import sys

import httpx

from ..work import items

ITEMS = 20
CONNECTIONS = 10


async def keep_up(url: str, share: int, name: str, ended: list[str]) -> None:
    """Keeps its share of the uploads under way."""
    async with httpx.AsyncClient(base_url=url, timeout=60) as http:
        turn = 0
        while True:
            names = [f"{name}-{turn}-{each}" for each in range(share)]
            for each in names:
                body = {"id": each, "items": list(items(ITEMS, first=turn * ITEMS))}
                (await http.post("/uploads", json=body)).raise_for_status()
            for each in names:
                answer = await http.get(f"/uploads/{each}/results")
                if '"type":"summary"' not in answer.text.splitlines()[-1]:
                    raise RuntimeError(f"{each} has no summary: {answer.text[-200:]}")
                ended.append(each)
                if len(ended) == 1:
                    print("begun", flush=True)
            turn += 1


async def load(url: str, uploads: int, name: str) -> int:
    ended: list[str] = []
    async with asyncio.TaskGroup() as group:
        shares = [
            group.create_task(keep_up(url, uploads // CONNECTIONS, f"{name}-{each}", ended))
            for each in range(CONNECTIONS)
        ]
        await asyncio.to_thread(sys.stdin.read)
        for share in shares:
            share.cancel()
    return len(ended)


if __name__ == "__main__":
    print(asyncio.run(load(sys.argv[1], int(sys.argv[2]), sys.argv[3])))
