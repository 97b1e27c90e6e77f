"""What Redis keeps of an upload: whether all of its parts have finished."""

from __future__ import annotations

import time
from collections.abc import Iterable

import pytest

from quartile_async import JournalError
from quartile_async._dask.channel import CallerEnd, Word
from quartile_async._dask.job import journal_of_part
from quartile_async._dask.kept import finished_at
from quartile_async._dask.parts import Part, Partition
from quartile_async._dask.plan import Origin, Plan
from quartile_async._dask.removal import removed
from quartile_async._journal import Subject
from quartile_async._shared.connection import Link
from quartile_async._shared.journal import RedisJournal

from ..redis.server import RedisServer

NAME = "a catalogue"
SUBJECT = Subject("process/masterlist", "https://there", "acme")


async def kept(server: RedisServer, plan: bytes) -> None:
    link = Link(server.url)
    channel = CallerEnd(link, NAME, "a run", 15.0)
    await channel.begin()
    assert await channel.keep_plan(plan)
    await channel.keep(Word.OVER)
    await link.aclose()


def plan_of(parts: int) -> bytes:
    numbers = range(parts)
    items = tuple(Part(number, None, Partition(number)) for number in numbers)
    origin = Origin((), f"a bag of {parts} partitions", ("process/masterlist", "asin"), "{}")
    return Plan(origin, (), 100, items, tuple((number,) for number in numbers)).to_json()


async def run(server: RedisServer, parts: Iterable[int], *, finished: bool) -> None:
    for part in parts:
        journal = RedisJournal(server.url, journal_of_part(NAME, part))
        await journal.open(SUBJECT)
        await journal.close(finished=finished)


async def test_an_upload_has_finished_once_each_of_its_parts_has(server: RedisServer) -> None:
    assert await finished_at(server.url, NAME) is None, "there is none"
    await kept(server, plan_of(3))
    assert await finished_at(server.url, NAME) is None, "nothing was begun"
    await run(server, [0, 2], finished=True)
    assert await finished_at(server.url, NAME) is None, "one was not begun"
    await run(server, [1], finished=False)
    assert await finished_at(server.url, NAME) is None, "one has not finished"

    before = time.time()
    await run(server, [1], finished=True)

    at = await finished_at(server.url, NAME)
    assert at is not None
    assert before - 1.0 <= at <= time.time() + 1.0, "the last one's end"
    await run(server, [2], finished=False)
    assert await finished_at(server.url, NAME) == at, "looking at it once more changes nothing"


async def test_an_upload_without_items_has_finished_and_one_that_was_removed_has_not(server: RedisServer) -> None:
    await kept(server, plan_of(0))
    assert await finished_at(server.url, NAME) == 0.0

    await removed(server.url, NAME)
    assert await finished_at(server.url, NAME) is None


async def test_a_plan_of_another_version_is_an_error(server: RedisServer) -> None:
    await kept(server, b"{}")

    with pytest.raises(JournalError, match="another version of quartile_async may have written it"):
        await finished_at(server.url, NAME)
    with pytest.raises(JournalError, match="another version"):
        await removed(server.url, NAME)
