"""How an `Upload` behaves as an object: started once, warns when forgotten, tells its progress."""

from __future__ import annotations

import asyncio
import gc
import logging
from typing import Any

import pytest

from quartile_async import MASTERLIST, ConfigurationError, MasterlistItem, QuartileClient, QuartileError
from quartile_async.emulator import Emulator, RateLimit

from .conftest import client_for, item, items


async def test_an_upload_that_nobody_starts_warns(client: QuartileClient) -> None:
    with pytest.warns(RuntimeWarning, match="process/masterlist.*never started"):
        client.upload(MASTERLIST, items(3))
        gc.collect()


async def test_an_upload_that_was_entered_or_started_does_not_warn(client: QuartileClient) -> None:
    async with client.upload(MASTERLIST, items(3)):
        pass
    async for _ in client.upload(MASTERLIST, items(3)):
        break
    gc.collect()


@pytest.mark.parametrize("again", ["iterate", "collect", "summary"])
async def test_an_upload_is_started_once(client: QuartileClient, again: str) -> None:
    upload = client.upload(MASTERLIST, items(3))
    await upload.collect()

    with pytest.raises(QuartileError, match=r"client\.upload") as caught:
        await (
            {"collect": upload.collect, "summary": upload.summary}[again]()
            if again != "iterate"
            else anext(aiter(upload))
        )

    assert isinstance(caught.value, RuntimeError)


async def test_an_upload_that_was_left_cannot_be_started(client: QuartileClient) -> None:
    async with client.upload(MASTERLIST, items(3)) as upload:
        pass

    with pytest.raises(QuartileError):
        await upload.collect()


@pytest.mark.parametrize("source", [{"asin": "B0"}, "B01N5IB20Q", b"B0", 3, None, MasterlistItem(**item(0))])
async def test_what_is_no_iterable_of_items_is_refused_at_once(client: QuartileClient, source: Any) -> None:
    with pytest.raises(ConfigurationError):
        client.upload(MASTERLIST, source)


async def test_progress_counts_and_ends_complete() -> None:
    async with Emulator(processing=0.02, fail_share=0.3, seed=5) as emulator, client_for(emulator) as client:
        source: list[Any] = [*items(950), *[None] * 50]
        upload, seen = client.upload(MASTERLIST, source), []
        assert upload.progress.read == 0
        async for _ in upload:
            seen.append(upload.progress)

    last = upload.progress
    assert (last.read, last.done, last.rejected, last.unknown) == (1_000, 1_000, 50, 0)
    assert last.succeeded + last.failed == 950
    assert last.failed > 0
    assert (last.batches_submitted, last.batches_finished, last.in_flight) == (10, 10, 0)
    assert last.time_left == 0.0
    assert last.rate > 0
    assert [each.done for each in seen] == sorted(each.done for each in seen)
    assert any(each.in_flight for each in seen)
    assert all(each.done == each.succeeded + each.failed + each.rejected + each.unknown for each in seen)


async def test_the_time_left_is_not_known_without_a_length(client: QuartileClient) -> None:
    upload = client.upload(MASTERLIST, iter(items(10)))
    await upload.collect()

    assert upload.progress.time_left is None


async def test_a_429_closes_the_gate_for_all_and_loses_nothing() -> None:
    async with (
        Emulator(processing=0.0, rate_limit=RateLimit(requests=10, seconds=1.0)) as emulator,
        client_for(emulator, max_in_flight=8) as client,
    ):
        results = await client.upload(MASTERLIST, items(1_000)).collect()

    assert all(result.ok for result in results)
    refused = [request for request in emulator.requests if request.status == 429]
    assert len(refused) <= 8 * 4, "only what was on the wire when the gate closed"


async def test_logs_are_structured_and_hold_no_secret(
    emulator: Emulator, client: QuartileClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    await client.upload(MASTERLIST, items(3)).collect()

    records = [record for record in caplog.records if record.name == "quartile_async"]
    assert {record.__dict__.get("batch_id") for record in records} == {emulator.batches[0].id}
    assert {record.__dict__.get("resource") for record in records} == {"process/masterlist"}
    assert emulator.subscription_key not in caplog.text
    assert emulator.access_token not in caplog.text


async def test_wait_asks_until_the_batch_has_ended() -> None:
    async with Emulator(processing=0.1) as emulator, client_for(emulator) as client:
        batch_id = await client.submit(MASTERLIST, items(3))
        assert not (await client.get_batch(batch_id)).finished
        status = await client.wait(batch_id)

    assert (status.batch_id, status.status, status.finished, len(status.rows)) == (batch_id, "SUCCESS", True, 3)


async def test_many_uploads_on_one_client_at_once(emulator: Emulator, client: QuartileClient) -> None:
    results = await asyncio.gather(*(client.upload(MASTERLIST, [item(number)]).collect() for number in range(200)))

    assert all(result.ok for (result,) in results)
    assert emulator.max_in_flight <= 16
