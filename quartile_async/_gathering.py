"""Records that are written at about the same time share a commit."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from ._journal import Record

TURNS = 4
"""Of the event loop, from the first record to the commit. A batch that ends makes way for the next one, whose first
record comes a few turns after the last one of its own; the two should share a commit."""


class Gathering:
    """On the event loop: gathers what is written in a few turns of it, and while an earlier commit is under way.

    `commit`: writes records, and tells what came of it: the result, or what was raised.
    """

    def __init__(
        self, commit: Callable[[list[Record], Callable[[object, BaseException | None], object]], object]
    ) -> None:
        self._commit = commit
        self._records: list[Record] = []
        self._futures: list[asyncio.Future[None]] = []
        self._planned: asyncio.Handle | None = None
        self._under_way = 0

    def add(self, records: Sequence[Record]) -> asyncio.Future[None]:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._records += records
        self._futures.append(future)
        self._plan()
        return future

    def commit(self) -> None:
        """Commits what was gathered."""
        if self._planned is not None:
            self._planned.cancel()
            self._planned = None
        if not self._futures:
            return
        self._under_way += 1
        records, futures, self._records, self._futures = self._records, self._futures, [], []
        self._commit(records, partial(self._came_back, futures))

    def _plan(self) -> None:
        if self._futures and self._planned is None and not self._under_way:
            self._commit_after(TURNS)

    def _commit_after(self, turns: int) -> None:
        if turns:
            self._planned = asyncio.get_running_loop().call_soon(self._commit_after, turns - 1)
        else:
            self.commit()

    def _came_back(self, futures: list[asyncio.Future[None]], result: object, failure: BaseException | None) -> None:
        self._under_way -= 1
        tell_all(futures, result, failure)
        self._plan()


def tell_all(futures: Sequence[asyncio.Future[Any]], result: object, failure: BaseException | None) -> None:
    """Ends the waiting of all who were not cancelled meanwhile."""
    for future in futures:
        if future.done():  # whoever waited was cancelled
            continue
        if failure is not None:
            future.set_exception(failure)
        else:
            future.set_result(result)
