"""A run that goes through a journal does so in memory that does not grow with it."""

from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from quartile_async import MASTERLIST, ItemResult, Outcome
from quartile_async._digests import digested
from quartile_async._journal import Ended, Intended, Record, Subject, Taken, packed
from quartile_async._journal_sqlite import JournalFile
from quartile_async.emulator import Emulator

from ..behaviour.conftest import client_for, item

SMALL, LARGE = 5_000, 40_000

MOST_GROWTH = 1_000_000
"""Bytes: 29 for each item more, where a result alone takes several hundred."""


def source(count: int) -> Iterator[Any]:
    return (item(number) for number in range(count))


def write_journal(path: Path, subject: Subject, count: int, *, open_batches: int) -> None:
    """A journal of so many items; the last batches of it were taken, and their end was not read."""
    file = JournalFile(path)
    file.open(subject)
    records: list[Record] = []
    for number, first in enumerate(range(0, count, 100), 1):
        items = [item(place) for place in range(first, first + 100)]
        indexes = range(first, first + 100)
        results = [
            ItemResult(n, each, Outcome.SUCCEEDED, "ok", "INSERT", f"{n:036x}", f"{number:024x}")
            for n, each in zip(indexes, items, strict=True)
        ]
        records += [digested(first, items), Intended(number, indexes), Taken(number, f"{number:024x}", False)]
        if first < count - 100 * open_batches:
            records.append(Ended(number, packed(results)))
    file.append(records)
    file.close(finished=not open_batches)


@pytest.mark.parametrize("open_batches", [0, 3])
async def test_a_replay_and_a_resume_take_as_much_memory_for_a_large_journal_as_for_a_small_one(
    open_batches: int, tmp_path: Path
) -> None:
    peaks = {}
    async with Emulator() as emulator, client_for(emulator, not_visible_grace=0.1) as client:
        subject = client._subject_of(MASTERLIST)
        for count in (SMALL, SMALL, LARGE):  # the first one warms up
            path = tmp_path / f"{len(peaks)}-{count}.journal"
            await asyncio.to_thread(write_journal, path, subject, count, open_batches=open_batches)
            tracemalloc.start()
            replayed = results = 0
            async for result in client.upload(MASTERLIST, source(count), journal=path):
                results += 1
                replayed += result.replayed
            peaks[count] = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            assert (results, replayed) == (count, count - 100 * open_batches)
            await asyncio.to_thread(path.unlink)

    assert peaks[LARGE] < peaks[SMALL] + MOST_GROWTH, peaks
