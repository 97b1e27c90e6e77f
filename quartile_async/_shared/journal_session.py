"""A journal in Redis while one upload has it: what is written goes there commit by commit, and is read page by page."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from .._errors import JournalError
from .._gathering import Gathering
from .._journal import Contents, ItemsRead, Record, RecordedBatch
from .connection import RefusedError, UnreachableError
from .journal_hold import Hold
from .journal_records import behind, items_read_of, recorded_batch_of
from .scripts import JOURNAL_BATCHES, JOURNAL_ITEMS, Script

PAGE = 64
"""Records that are read in one go."""

CLOSING = 3.0
"""Seconds that what is still to be written has when a journal is closed."""

logger = logging.getLogger("quartile_async")


class Session:
    """One upload's use of a journal that it holds.

    Attributes:
        contents: what the journal held when it was opened.
    """

    def __init__(self, hold: Hold) -> None:
        self.hold = hold
        self.contents: Contents = Contents(0, 0, 0.0, 0.0, None)
        self._gathering = Gathering(self._commit)
        self._commits: deque[tuple[list[Record], Callable[[object, BaseException | None], object]]] = deque()
        self._writing: asyncio.Task[None] | None = None

    async def items_from(self, index: int) -> list[ItemsRead]:
        """See `Journal.items_from`."""
        return items_read_of(index, await self._page(JOURNAL_ITEMS, index, self.contents.items))

    async def batches_from(self, first: int, number: int) -> list[RecordedBatch]:
        """See `Journal.batches_from`."""
        found = await self._page(JOURNAL_BATCHES, behind(first, number), self.contents.batches)
        try:
            return [recorded_batch_of(*batch) for batch in found]
        except ValueError as error:
            raise JournalError(f"{self.hold} holds what nobody wrote there ({error}). Name another journal.") from error

    def write(self, records: Sequence[Record]) -> asyncio.Future[None]:
        """See `Journal.write`."""
        return self._gathering.add(records)

    async def close(self, *, finished: bool) -> None:
        """Ends after all that was written, and gives the journal back; where Redis is away, that is not waited for."""
        try:
            async with asyncio.timeout(CLOSING):
                await self._flush()
                await self.hold.give_back(finished=finished)
        except (UnreachableError, RefusedError, TimeoutError) as error:
            logger.warning("%s was not given back, and will be free once its lease runs out: %s", self.hold, error)
        finally:
            await self._end()

    async def _page(self, script: Script, place: object, known: int) -> list[Any]:
        return await self.hold.read(script, (place, known, PAGE))

    def _commit(self, records: list[Record], tell: Callable[[object, BaseException | None], object]) -> None:
        self._commits.append((records, tell))
        if self._writing is None or self._writing.done():
            self._writing = asyncio.get_running_loop().create_task(self._write(), name="quartile_async journal writer")

    async def _write(self) -> None:
        while self._commits:
            records, tell = self._commits[0]
            failure: BaseException | None = None
            try:
                await self.hold.append(records)
            except Exception as error:  # noqa: BLE001  # whatever it is, those who wait are told
                failure = error
            del self._commits[0]
            tell(None, failure)

    async def _flush(self) -> None:
        self._gathering.commit()
        if self._writing is not None:
            await asyncio.wait([self._writing])

    async def _end(self) -> None:
        await self.hold.end()
        if self._writing is not None and not self._writing.done():
            self._writing.cancel()
            await asyncio.wait([self._writing])
        while self._commits:
            _, tell = self._commits.popleft()
            tell(None, self.hold.fail(JournalError(f"{self.hold} was closed before all was written.")))
        await self.hold.link.aclose()
