"""A slow consumer stops the reading, and holds no slot and no key."""

from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from quartile_async import MASTERLIST
from quartile_async.emulator import Emulator

from .conftest import client_for, item, items, until


class Counted:
    """An endless input that counts what was read of it."""

    def __init__(self, make: Any = item) -> None:
        self.read = 0
        self.make = make

    def __iter__(self) -> Iterator[Any]:
        while True:
            self.read += 1
            yield self.make(self.read)


class CountedSlowly(Counted):
    async def __aiter__(self) -> AsyncIterator[Any]:
        for each in Counted.__iter__(self):
            yield each


CountedSlowly.__iter__ = None  # type: ignore[assignment]  # an async iterable only


@pytest.mark.parametrize("kind", [Counted, CountedSlowly])
@pytest.mark.parametrize("max_in_flight", [1, 4])
async def test_never_more_than_the_slots_and_eight_chunks_are_read_ahead(kind: Any, max_in_flight: int) -> None:
    source = kind()
    async with (
        Emulator(processing=0.0) as emulator,
        client_for(emulator, max_in_flight=max_in_flight) as client,
        client.upload(MASTERLIST, source) as upload,
    ):
        taken = 0
        async for _ in upload:
            taken += 1
            if taken % 150 == 0:
                await asyncio.sleep(0.05)  # long enough to read on, were it allowed
                assert source.read - taken <= (max_in_flight + 8) * 100
            if taken == 1_500:
                break


async def test_rejected_items_do_not_run_ahead_either() -> None:
    source = Counted(make=lambda number: None)
    async with Emulator() as emulator, client_for(emulator, max_in_flight=2) as client:
        async with client.upload(MASTERLIST, source) as upload:
            async for _ in upload:
                await asyncio.sleep(0.1)
                assert source.read <= (2 + 8) * 100
                break


async def test_a_consumer_that_stands_still_holds_no_slot_and_no_key() -> None:
    async with Emulator(processing=0.0) as emulator, client_for(emulator, max_in_flight=2) as client:
        async with client.upload(MASTERLIST, items(10_000)) as upload:
            async for _ in upload:
                break_at = asyncio.get_running_loop().time() + 5
                await until(lambda: upload.progress.in_flight == 0)
                async with asyncio.timeout_at(break_at):
                    results = await client.upload(MASTERLIST, (item(each, 99.0) for each in range(2_000))).collect()
                assert all(result.ok for result in results)
                break


async def test_a_huge_input_goes_through_in_flat_memory() -> None:
    async with Emulator(processing=0.0) as emulator, client_for(emulator) as client:
        seen = 0
        upload = client.upload(MASTERLIST, (item(number) for number in range(30_000)))
        tracemalloc.start()
        try:
            async for _ in upload:
                seen += 1
                if seen == 10_000:
                    emulator_grows, _ = held_by_the_library()
                    assert emulator_grows < 4_000_000
        finally:
            tracemalloc.stop()
    assert seen == 30_000


def held_by_the_library() -> tuple[int, int]:
    snapshot = tracemalloc.take_snapshot().filter_traces([tracemalloc.Filter(True, "*/quartile_async/_*.py")])
    statistics = snapshot.statistics("filename")
    return sum(each.size for each in statistics), sum(each.count for each in statistics)


async def test_where_many_uploads_wait_in_line_each_reads_little_ahead() -> None:
    async with Emulator(processing=60.0) as emulator, client_for(emulator, max_in_flight=2) as client:
        sources = [Counted(make=lambda number, first=each * 100_000: item(first + number)) for each in range(30)]
        uploads = [asyncio.ensure_future(client.upload(MASTERLIST, source).collect()) for source in sources]
        await until(lambda: len(emulator.batches) == 2 and all(source.read for source in sources))
        await asyncio.sleep(0.1)  # long enough to read on, were it allowed
        read = sorted(source.read for source in sources)
        for upload in uploads:
            upload.cancel()
        await asyncio.gather(*uploads, return_exceptions=True)

    assert read[0] >= 100, "each has a chunk ready for its turn"
    assert read[-1] <= 400, "not the eight that one alone would read ahead"


async def test_a_chunk_that_lingered_while_uploads_were_in_line_leaves_as_soon_as_it_can() -> None:
    async with (
        Emulator(processing=0.1) as emulator,
        client_for(emulator, max_in_flight=1, linger=0.1) as client,
    ):
        firsts = [10_000 * (number + 1) for number in range(10)]
        others = [
            asyncio.ensure_future(client.upload(MASTERLIST, [item(first + number) for number in range(300)]).summary())
            for first in firsts
        ]
        await until(lambda: emulator.batches)

        async def source() -> AsyncIterator[dict[str, Any]]:
            for number in range(10):
                yield item(number)
            for number in range(100):
                yield item(number) | {"percACoS": 30.0}  # ten products get a second target
            await asyncio.Event().wait()  # and the input is silent

        async with client.upload(MASTERLIST, source()) as upload:
            results = aiter(upload)
            async with asyncio.timeout(30):
                seen = [await anext(results) for _ in range(110)]
        await asyncio.gather(*others)

    assert all(result.ok for result in seen)
