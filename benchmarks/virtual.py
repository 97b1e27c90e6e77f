"""The library in virtual time, against a server that is given what each batch takes, and counts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import looptime
import orjson

from quartile_async import MASTERLIST
from quartile_async._answers import Answer

from .clients.library import opened
from .honesty import DishonestRunError
from .oracle import Point
from .server import final_answer
from .work import BATCH_PATH, CHUNK_SIZE, items
from .worlds import ACCEPTING, ROUND_TRIP


@dataclass(slots=True)
class Batch:
    """A batch whose end nobody has seen."""

    answer: bytes
    ends_at: float


@dataclass
class VirtualServer:
    """Stands in for `quartile_async._http.Http`; half a round trip passes on the way to it, and half on the way back.

    Attributes:
        times: what the batches take, in the order in which they come.
        polls: how many questions it was asked.
        delays: seconds from each end until it was told.
        last_told_at: when it told the last one, and the answer had arrived.
    """

    times: Sequence[float]
    base_url: str = "http://127.0.0.1:1"
    polls: int = 0
    delays: list[float] = field(default_factory=list)
    last_told_at: float = 0.0
    _batches: dict[str, Batch] = field(default_factory=dict)
    _accepted: int = 0

    async def exchange(
        self,
        method: str,
        path: str,
        *,
        headers: object,
        body: bytes | None = None,
        goes_out: Callable[[], object] = lambda: None,
    ) -> Answer:
        goes_out()
        await asyncio.sleep(ROUND_TRIP / 2)
        answer = self._told(path.removeprefix(BATCH_PATH)) if body is None else await self._taken(body)
        await asyncio.sleep(ROUND_TRIP / 2)
        self.last_told_at = asyncio.get_running_loop().time()
        return Answer(f"{method} {path}", 200, {}, answer)

    async def aclose(self) -> None:
        pass

    async def _taken(self, body: bytes) -> bytes:
        number = self._accepted
        self._accepted += 1
        await asyncio.sleep(ACCEPTING)
        batch_id = f"{number:024x}"
        answer = final_answer(batch_id, number, orjson.loads(body))
        self._batches[batch_id] = Batch(answer, asyncio.get_running_loop().time() + self.times[number])
        return orjson.dumps({"batchId": batch_id})

    def _told(self, batch_id: str) -> bytes:
        self.polls += 1
        now, batch = asyncio.get_running_loop().time(), self._batches[batch_id]
        if now < batch.ends_at:
            return b'{"status":"RUNNING"}'
        del self._batches[batch_id]
        self.delays.append(now - batch.ends_at)
        return batch.answer


def run(times: Sequence[float], slots: int) -> Point:
    """What came of an upload of so many batches, counted by the server.

    Raises:
        DishonestRunError: a batch's end was not seen, or not every item succeeded.
    """
    server = VirtualServer(times)
    loop = looptime.new_event_loop(start=0.0, noop_cycles=1)
    try:
        asyncio.set_event_loop(loop)
        succeeded = loop.run_until_complete(_upload(server, len(times) * CHUNK_SIZE, slots))
    finally:
        asyncio.set_event_loop(None)
        loop.close()
    if len(server.delays) != len(times) or succeeded != len(times) * CHUNK_SIZE:
        raise DishonestRunError(f"Of {len(times)} batches {len(server.delays)} were seen; {succeeded} items succeeded.")
    return Point(server.polls / len(times), sum(server.delays) / len(times), server.last_told_at)


async def _upload(server: VirtualServer, count: int, slots: int) -> int:
    async with opened(server.base_url, slots) as client:
        client._transport._http = client._http = server  # type: ignore[assignment]  # a stand-in
        return (await client.upload(MASTERLIST, items(count)).summary()).succeeded
