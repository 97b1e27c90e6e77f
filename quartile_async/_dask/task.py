"""What runs on a worker: a part, with a journal of its own."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from pydantic_core import to_json

from .._errors import QuartileError
from .._results import ItemResult
from .._shared.connection import Link
from .._shared.journal import RedisJournal
from .._upload import Upload
from .blocks import packed
from .channel import BLOCK, Word, WorkerEnd
from .job import Job, journal_of_part
from .parts import Part, items_of
from .results import PartEnd, PartState

BEAT = 1.0
"""Seconds between two times at which a worker tells how far it is, and hears whether to go on."""

PROMPTLY = 0.1
"""Seconds after which results leave, where they do not fill a block."""

FULL_WAIT = 0.1
"""Seconds after which a worker looks for room again."""

logger = logging.getLogger("quartile_async")


def run_part(job: Job, part: Part, data: Any = None) -> PartEnd:
    """Uploads a part; runs in a thread of a Dask worker.

    Results go to the caller by way of Redis. What is returned is small, and goes through the scheduler. `data` is the
    partition, where the part is one of a collection.

    Raises:
        Nothing that concerns the part: that stands in its end.
    """
    return asyncio.run(_run_part(job, part, data))


async def _run_part(job: Job, part: Part, data: Any) -> PartEnd:
    link = Link(job.address())
    try:
        end = await PartRun(job, part, data, WorkerEnd(link, job.name, job.run)).run()
        return replace(end, worker=_worker())
    finally:
        await link.aclose()


def _worker() -> str:
    import distributed

    return str(distributed.get_worker().address)


class PartRun:
    """One part, on a worker."""

    def __init__(self, job: Job, part: Part, data: Any, channel: WorkerEnd) -> None:
        self._job = job
        self._part = part
        self._data = data
        self._channel = channel
        self._run = uuid.uuid4().hex[:8]
        self._upload: Upload[Any] | None = None
        self._waiting: list[ItemResult[Any]] = []
        self._sending = asyncio.Lock()
        self._word = Word.GO_ON
        self._broken: Exception | None = None

    async def run(self) -> PartEnd:
        """Uploads it; whatever goes wrong with it stands in its end."""
        try:
            await self._hear()
            if self._is_over():
                return PartEnd(self._part.number, PartState.NOT_BEGUN)
            await self._uploaded()
        except Exception as error:  # also of a user's own validators, and of damaged files
            expected = isinstance(error, QuartileError | OSError)
            logger.warning("Part %d: %s", self._part.number, error, exc_info=not expected)
            return self._end(PartState.FAILED, error)
        return self._end(PartState.STOPPED if self._is_over() else PartState.FINISHED)

    def _is_over(self) -> bool:
        return self._word is not Word.GO_ON

    async def _uploaded(self) -> None:
        job, part = self._job, self._part
        name = journal_of_part(job.name, part.number)
        journal = RedisJournal(job.address(), name, lease=job.lease, wait=4 * job.lease, durability=job.durability)
        async with job.client_for(part.account) as client:
            items = await asyncio.to_thread(items_of, part, self._data, job.resource)
            upload = self._upload = client.upload(
                job.resource, items, journal=journal, retry=job.retry, max_item_tries=job.max_item_tries
            )
            beside = asyncio.get_running_loop().create_task(self._beside(upload), name="quartile_async part")
            try:
                await self._take_results(upload)
            finally:
                beside.cancel()
                await asyncio.wait([beside])
        if self._broken is not None:
            raise self._broken

    async def _take_results(self, upload: Upload[Any]) -> None:
        try:
            async with upload:
                async for result in upload:
                    self._waiting.append(result)
                    if len(self._waiting) >= BLOCK:
                        await self._send()
        finally:
            await self._send()
            await self._send_unaccounted(upload)

    async def _beside(self, upload: Upload[Any]) -> None:
        """Sends results that do not fill a block, tells how far the part is, and does as it is told."""
        clock = asyncio.get_running_loop().time
        heard_at = clock()
        try:
            while True:
                await asyncio.sleep(PROMPTLY)
                await self._send()
                if clock() - heard_at >= BEAT:
                    heard_at = clock()
                    await self._hear()
        except Exception as error:  # noqa: BLE001  # it is raised where the part ends
            self._broken = error
            await upload.aclose()

    async def _hear(self) -> None:
        await self._obey(await self._channel.tell(self._part.number, self._told()))

    async def _obey(self, word: Word) -> None:
        """What was heard; leaving is not taken back."""
        if self._word is Word.LEAVE or word in (self._word, Word.FULL):
            return
        self._word = word
        if self._upload is None:
            return
        if word is Word.STOP:
            self._upload.stop()
        else:
            await self._upload.aclose()

    async def _send(self) -> None:
        """Sends the results that wait, once there is room for them."""
        async with self._sending:
            while self._waiting:
                block, self._waiting = self._waiting[:BLOCK], self._waiting[BLOCK:]
                await self._hand_over(packed(self._part.number, block, run=self._run))

    async def _send_unaccounted(self, upload: Upload[Any]) -> None:
        left = upload.unaccounted
        for start in range(0, len(left), BLOCK):
            some = left[start : start + BLOCK]
            await self._hand_over(packed(self._part.number, some, run=self._run, accounted=False))

    async def _hand_over(self, blocks: Iterable[bytes]) -> None:
        for block in blocks:
            await self._hand_over_one(block)

    async def _hand_over_one(self, block: bytes) -> None:
        """Ends once the caller can have it, or is not there any more: then the journal keeps it for the next one."""
        while self._word is not Word.LEAVE:
            word = await self._channel.hand_over(block)
            await self._obey(word)
            if word is not Word.FULL:
                return
            await asyncio.sleep(FULL_WAIT)

    def _told(self) -> bytes:
        if self._upload is None:
            return b"{}"
        progress = self._upload.progress
        counts = ("read", "batches_submitted", "batches_finished", "in_flight", "foreign_rows")
        return to_json({name: getattr(progress, name) for name in counts})

    def _end(self, state: PartState, error: Exception | None = None) -> PartEnd:
        if self._upload is None:
            return PartEnd(self._part.number, state, error=_words(error))
        progress, left = self._upload.progress, self._upload.unaccounted
        return PartEnd(
            self._part.number,
            state,
            read=progress.read,
            batches=progress.batches_submitted,
            in_batches=dict(Counter(result.batch_id for result in left if result.batch_id is not None)),
            unsent=sum(result.not_sent for result in left),
            in_doubt=sum(result.batch_id is None and not result.not_sent for result in left),
            foreign_rows=progress.foreign_rows,
            error=_words(error),
        )


def _words(error: Exception | None) -> str:
    return "" if error is None else f"{type(error).__name__}: {error}"
