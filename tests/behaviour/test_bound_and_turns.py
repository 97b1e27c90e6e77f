"""Never more than `max_in_flight` batches under way, over all uploads; uploads take turns; chunks are full."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from quartile_async import MASTERLIST, UNMANAGED_CAMPAIGNS
from quartile_async.emulator import Emulator

from .conftest import client_for, item, items, until


@pytest.mark.parametrize("max_in_flight", [1, 3, 16])
async def test_the_bound_holds_over_all_uploads_and_is_used(max_in_flight: int) -> None:
    async with (
        Emulator(processing=0.05) as emulator,
        client_for(emulator, max_in_flight=max_in_flight) as client,
    ):
        campaigns = ({"campaign": number} for number in range(1_500))
        await asyncio.gather(
            client.upload(MASTERLIST, items(1_500)).collect(),
            client.upload(MASTERLIST, ({**each, "countryCode": "DE"} for each in items(1_500))).collect(),
            client.upload(UNMANAGED_CAMPAIGNS, campaigns).collect(),
        )

    assert emulator.max_in_flight == max_in_flight


async def test_a_small_upload_beside_a_huge_one_gets_its_turn() -> None:
    async with Emulator(processing=0.02) as emulator, client_for(emulator, max_in_flight=2) as client:
        huge = client.upload(MASTERLIST, items(10_000))
        huge_results = asyncio.ensure_future(huge.collect())
        await until(lambda: len(emulator.batches) >= 6)
        started_at = len(emulator.batches)

        await client.upload(MASTERLIST, [item(50_000)]).collect()

        assert len(emulator.batches) - started_at <= 6, "it waited for a turn, not for the end of the other"
        huge.stop()
        await huge_results


async def test_uploads_that_start_together_end_together() -> None:
    async with Emulator(processing=0.005) as emulator, client_for(emulator, max_in_flight=4) as client:
        loop, ends = asyncio.get_running_loop(), []

        async def one(number: int) -> None:
            await client.upload(MASTERLIST, [item(number * 1_000 + each) for each in range(1_000)]).collect()
            ends.append(loop.time())

        start = loop.time()
        await asyncio.gather(*(one(number) for number in range(8)))

    assert min(ends) - start >= 0.5 * (max(ends) - start)


def sizes(emulator: Emulator) -> list[int]:
    return [len(batch.items) for batch in emulator.batches]


async def test_chunks_are_full_where_the_input_allows() -> None:
    async with Emulator(processing=0.01) as emulator, client_for(emulator, max_in_flight=1) as client:
        source: list[Any] = items(250)
        source[10:10] = [None] * 7  # invalid items take no place in a chunk
        await client.upload(MASTERLIST, source).collect()

    assert sizes(emulator) == [100, 100, 50]


async def test_chunks_stay_full_behind_a_slow_consumer_and_a_slow_server() -> None:
    async def quick() -> AsyncIterator[dict[str, Any]]:
        for each in items(2_000):
            yield each

    async with Emulator(processing=0.05) as emulator, client_for(emulator, max_in_flight=2, linger=0.01) as client:
        async for result in client.upload(MASTERLIST, quick()):
            if result.index % 100 == 0:
                await asyncio.sleep(0.03)

    assert sizes(emulator) == [100] * 20


async def test_a_slow_input_is_not_held_back_to_fill_a_chunk() -> None:
    may_go_on = asyncio.Event()

    async def slow() -> AsyncIterator[dict[str, Any]]:
        for each in items(3):
            yield each
        await may_go_on.wait()
        for each in items(5)[3:]:
            yield each

    async with Emulator(processing=0.01) as emulator, client_for(emulator, linger=0.05) as client:
        results = []
        async for result in client.upload(MASTERLIST, slow()):
            results.append(result)
            if len(results) == 3:
                may_go_on.set()  # only now: the three came out although the input had not ended

    assert all(result.ok for result in results)
    assert sizes(emulator) == [3, 2]


async def test_an_input_that_trickles_for_ever_is_served_within_the_linger() -> None:
    delays: list[float] = []
    loop = asyncio.get_running_loop()

    async def trickle() -> AsyncIterator[dict[str, Any]]:
        for number in range(12):
            yield {**item(number), "readAt": loop.time()}
            await asyncio.sleep(0.03)

    async with Emulator(processing=0.0) as emulator, client_for(emulator, linger=0.1) as client:
        async for result in client.upload(MASTERLIST, trickle()):
            delays.append(loop.time() - result.item["readAt"])

    assert max(delays) < 1.0
    assert 1 < len(emulator.batches) < 12
