"""The meters with which a client is judged: each must show the breach that it is for, and nothing else."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest

from quartile_async.emulator import Emulator, Fault

from .calls import Direct, item, items, submit

PATH = "/amazon/v2/process/masterlist"


def test_every_request_is_recorded() -> None:
    direct = Direct(processing=1.0)
    batch_id = direct.taken(items(1))
    direct.clock.move(1.0)
    direct.poll(batch_id)
    direct.ask("GET", "/nowhere")
    assert [
        (record.time, record.kind, record.method, record.path, record.status, record.batch_id)
        for record in direct.emulator.requests
    ] == [
        (1000.0, "submit", "PATCH", PATH, 200, batch_id),
        (1001.0, "poll", "GET", f"/amazon/v2/batch/{batch_id}", 200, batch_id),
        (1001.0, "other", "GET", "/nowhere", 404, None),
    ]


def test_a_batch_is_in_flight_until_its_end_was_told() -> None:
    direct = Direct(processing=1.0)
    first, second = direct.taken([item(0)]), direct.taken([item(1)])
    direct.clock.move(1.0)
    assert direct.emulator.in_flight == 2, "both have ended, and nobody has been told"
    direct.poll(first)
    direct.poll(second)
    direct.taken([item(2)])
    assert (direct.emulator.in_flight, direct.emulator.max_in_flight) == (1, 2)


def test_a_poll_after_the_end_was_told_is_counted() -> None:
    direct = Direct(processing=1.0)
    batch_id = direct.taken(items(1))
    direct.poll(batch_id)
    direct.clock.move(1.0)
    for _ in range(3):
        direct.poll(batch_id)
    batch = direct.emulator.batches[0]
    assert (batch.polls, batch.polls_after_the_end) == (4, 2)
    assert (batch.taken_at, batch.ends_at, batch.told_at) == (1000.0, 1001.0, 1001.0)


@pytest.mark.parametrize(
    "fault",
    [
        Fault(on="poll", drop="after"),
        Fault(on="poll", drop="before"),
        Fault(on="poll", status=502, taken=True),
        Fault(on="poll", status=200, body={"status": "RUNNING", "detail": "processing"}),
        Fault(on="poll", status=200, body="<html></html>"),
        Fault(on="poll", rewrite=lambda payload: {"status": "RUNNING"}),
    ],
)
def test_an_end_that_did_not_reach_the_client_was_not_told(fault: Fault) -> None:
    direct = Direct(processing=0.0, faults=[fault])
    batch_id = direct.taken(items(1))
    direct.poll(batch_id)
    assert (direct.emulator.in_flight, direct.emulator.batches[0].end_told) == (1, False)
    direct.poll(batch_id)
    assert (direct.emulator.in_flight, direct.emulator.batches[0].end_told) == (0, True)
    assert direct.emulator.batches[0].polls_after_the_end == 0


@pytest.mark.parametrize(
    "fault",
    [
        Fault(on="poll", status=200, body={"status": "FAILED"}),
        Fault(on="poll", status=206, body=b'{"status": "PARTIAL", "data": []}'),
        Fault(on="poll", rewrite=lambda payload: {"status": "HALF", "data": []}),
    ],
)
def test_an_end_that_is_a_lie_was_told_all_the_same(fault: Fault) -> None:
    direct = Direct(processing=60.0, faults=[fault])
    batch_id = direct.taken(items(1))
    direct.poll(batch_id)
    direct.poll(batch_id)
    assert direct.emulator.in_flight == 0
    assert direct.emulator.batches[0].polls_after_the_end == 1


def test_items_in_two_batches_in_flight_are_overlaps() -> None:
    direct = Direct(processing=1.0)
    first = direct.taken([item(0), item(1)])
    second = direct.taken([item(1, 30.0), item(2)])
    assert direct.emulator.overlaps == [(item(1)["asin"], "US")]
    direct.clock.move(1.0)
    direct.poll(second)
    direct.taken([item(1, 31.0)])
    assert len(direct.emulator.overlaps) == 2, "the first one's end is not told yet"
    direct.poll(first)
    direct.taken([item(0), item(2)])
    assert len(direct.emulator.overlaps) == 2, "these were told"


def test_letter_case_hides_no_overlap_and_another_resource_makes_none() -> None:
    direct = Direct(processing=1.0)
    direct.taken([{"asin": "B0X", "countryCode": "US", "percACoS": 2}])
    direct.taken([{"asin": "B0X", "countryCode": "US", "percACoS": 2}], "/amazon/v2/unmanaged/asins")
    direct.taken([{"asin": "B0X", "countryCode": "US", "percACoS": 2}], "/amazon/v2/unmanaged/campaigns")
    direct.taken([{"asin": "B0X", "countryCode": "CA", "percACoS": 2}])
    assert direct.emulator.overlaps == []
    direct.taken([{"asin": "b0x", "countryCode": "US", "percACoS": 2}])
    assert direct.emulator.overlaps == [("b0x", "US")]


def test_what_was_submitted_twice_is_found() -> None:
    direct = Direct(processing=0.0)
    direct.taken(items(3))
    direct.taken(items(2))
    again = direct.taken(items(3))
    direct.submit(items(3), "/amazon/v2/unmanaged/asins")
    assert [batch.id for batch in direct.emulator.resubmitted] == [again]
    assert direct.emulator.items_received == 11


async def test_a_client_that_hung_up_before_its_answer_never_learnt_the_id() -> None:
    async with Emulator() as emulator:
        emulator.add(Fault(on="submit", delay=30.0))
        with pytest.raises(asyncio.TimeoutError):
            async with asyncio.timeout(0.05):
                await submit(emulator, items(1))
        async with asyncio.timeout(5.0):
            while emulator.in_flight:
                await asyncio.sleep(0.001)
        assert emulator.batches[0].orphaned
        await submit(emulator, items(1))
        assert (emulator.overlaps, emulator.max_in_flight) == ([], 1)


async def test_half_a_request_is_no_request() -> None:
    async with Emulator() as emulator:
        _, writer = await asyncio.open_connection("127.0.0.1", emulator.port)
        writer.write(f"PATCH {PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n[".encode())
        await writer.drain()
        await asyncio.sleep(0.01)
        writer.close()
        await writer.wait_closed()
        async with aiohttp.ClientSession() as session, session.get(emulator.url) as response:
            assert response.status == 404
        assert [record.method for record in emulator.requests] == ["GET"]
