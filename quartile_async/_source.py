"""The input, sync or async, as something to read from."""

from __future__ import annotations

import asyncio
import inspect
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from itertools import islice
from typing import Any

import anyio


class Source:
    """Reads items one after another; it is closed in the end.

    Attributes:
        items: the iterator; which of the two it is decides how it is read.
    """

    def __init__(self, items: Iterable[Any] | AsyncIterable[Any]) -> None:
        # Where it is both, it is taken for async.
        self.items: AsyncIterator[Any] | Iterator[Any] = (
            aiter(items) if isinstance(items, AsyncIterable) else iter(items)
        )

    async def read(self, count: int, into: list[Any]) -> bool:
        """Reads so many items, or fewer where there are no more, and gives whether there were as many.

        What was read before an error is there, too. Somebody else may have taken from the list meanwhile.
        """
        if isinstance(self.items, AsyncIterator):
            for _ in range(count):
                try:
                    into.append(await anext(self.items))
                except StopAsyncIteration:
                    return False
            return True
        before = len(into)
        # Not `extend`, which does not promise to keep what was read before an error.
        deque(map(into.append, islice(self.items, count)), maxlen=0)
        all_there = len(into) == before + count
        # Reading never waits here; without this, other tasks would stand still for as long as there is room.
        await asyncio.sleep(0)
        return all_there

    async def aclose(self) -> None:
        if inspect.isasyncgen(self.items):
            # Nobody else can end it now; left to the garbage collector it would end in a stray task.
            with anyio.CancelScope(shield=True):
                await self.items.aclose()
