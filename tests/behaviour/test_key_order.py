"""Two writes to one key are never both under way, and reach the server in input order."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from quartile_async import MASTERLIST, Outcome, Resource
from quartile_async.emulator import Emulator, Fault

from .conftest import client_for, item, items, until


def nasty(rng: random.Random, batch: Any) -> float:
    """Now quick, now slow: what is under way together ends in any order."""
    return rng.choice([0.0, 0.03])


async def test_the_last_write_wins_whatever_the_server_takes() -> None:
    rng = random.Random(3)
    source = [item(rng.randrange(300), target=float(number + 1)) for number in range(3_000)]
    async with Emulator(processing=nasty) as emulator, client_for(emulator, max_in_flight=8) as client:
        results = await client.upload(MASTERLIST, source).collect()

    assert all(result.ok for result in results)
    assert emulator.overlaps == []
    last = {(each["asin"], "US"): each["percACoS"] for each in source}
    assert {key: applied["percACoS"] for key, applied in emulator.applied.items()} == last


async def test_letter_case_does_not_make_another_key(emulator: Emulator) -> None:
    source = [{**item(0), "asin": "B0ABCDEFGH"}, {**item(0, target=30.0), "asin": "b0abcdefgh"}]
    async with client_for(emulator) as client:
        await client.upload(MASTERLIST, source).collect()

    assert [len(batch.items) for batch in emulator.batches] == [1, 1]
    assert emulator.overlaps == []


async def test_uploads_of_one_client_wait_for_each_others_keys() -> None:
    async with Emulator(processing=nasty) as emulator, client_for(emulator, max_in_flight=8) as client:
        await asyncio.gather(
            *(client.upload(MASTERLIST, (item(each, 1.0 + turn) for each in range(500))).collect() for turn in range(4))
        )

    assert emulator.overlaps == []
    assert len(emulator.batches) == 20


async def test_waiting_for_a_key_holds_no_slot_and_stops_no_other_item() -> None:
    def slow_first(rng: random.Random, batch: Any) -> float:
        return 0.5 if batch[0]["asin"] == item(0)["asin"] else 0.0

    async with Emulator(processing=slow_first) as emulator, client_for(emulator, max_in_flight=2) as client:
        source = [item(0), *items(100)[1:], item(0, target=30.0), *items(500)[100:]]  # the key again, in chunk 2
        order = [result.index async for result in client.upload(MASTERLIST, source)]

    assert order.index(450) < order.index(0), "later chunks did not wait for the key"
    assert emulator.overlaps == []
    assert emulator.applied[item(0)["asin"], "US"]["percACoS"] == 30.0


async def test_a_write_after_one_that_was_given_up_says_that_the_older_may_still_land() -> None:
    async with (
        Emulator(processing=60.0) as emulator,
        client_for(emulator, batch_deadline=0.2) as client,
    ):
        (older,) = await client.upload(MASTERLIST, [item(0)]).collect()
        (newer,) = await client.upload(MASTERLIST, [item(0, target=30.0)]).collect()
        (other,) = await client.upload(MASTERLIST, [item(1)]).collect()

    assert older.outcome is Outcome.UNKNOWN
    assert older.batch_id
    assert f"client.wait('{older.batch_id}')" in older.message
    assert f"batch {older.batch_id}" in newer.message
    assert "may still land" in newer.message
    assert "may still land" not in other.message


async def test_a_write_after_one_whose_answer_was_lost_says_so_too(emulator: Emulator) -> None:
    campaigns = Resource("unmanaged/campaigns", key="name", idempotent=False)
    async with client_for(emulator) as client:
        await client.upload(campaigns, [{"name": "a"}]).collect()  # the server is there
        emulator.add(Fault(on="submit", times=1, drop="after"))
        (older,) = await client.upload(campaigns, [{"name": "b", "budget": 1}]).collect()
        (newer,) = await client.upload(campaigns, [{"name": "B", "budget": 2}]).collect()

    assert older.outcome is Outcome.UNKNOWN
    assert not older.not_sent
    assert "idempotent" in older.message
    assert newer.ok
    assert "may still land" in newer.message


async def test_a_batch_that_is_left_alive_is_remembered_by_its_keys() -> None:
    async with Emulator(processing=0.2) as emulator, client_for(emulator) as client:
        upload = client.upload(MASTERLIST, [item(0)])
        async with upload:
            reading = asyncio.ensure_future(anext(aiter(upload)))
            await until(lambda: emulator.batches)
            await until(lambda: upload.progress.batches_submitted)
            reading.cancel()
            await asyncio.wait([reading])
        (newer,) = await client.upload(MASTERLIST, [item(0, target=30.0)]).collect()

    assert "may still land" in newer.message


@pytest.mark.parametrize("count", [1, 60])
async def test_one_key_many_times_in_a_row_goes_through_in_turn(emulator: Emulator, count: int) -> None:
    async with client_for(emulator, max_in_flight=4) as client:
        results = await client.upload(MASTERLIST, (item(0, 1.0 + number) for number in range(count))).collect()

    assert len(results) == count
    assert emulator.applied[item(0)["asin"], "US"]["percACoS"] == float(count)
    assert emulator.overlaps == []
