"""Leaving is clean: no task, connection, slot or warning is left, and no further request goes out."""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import anyio
import pytest

from quartile_async import MASTERLIST, ClientClosedError, LoginAuth, QuartileClient, TransportError, Upload
from quartile_async._delivery import Delivery
from quartile_async._http import Http
from quartile_async.emulator import Emulator, Fault

from .conftest import client_for, item, items, nothing_is_left, until


class OwnError(Exception):
    pass


async def by_break(client: QuartileClient, upload: Upload[Any], ready: Callable[[], bool]) -> None:
    async with upload:
        async for _ in upload:
            await until(ready)
            break


async def by_an_exception(client: QuartileClient, upload: Upload[Any], ready: Callable[[], bool]) -> None:
    with pytest.raises(OwnError):
        async with upload:
            async for _ in upload:
                await until(ready)
                raise OwnError


async def by_cancellation(client: QuartileClient, upload: Upload[Any], ready: Callable[[], bool]) -> None:
    task = asyncio.ensure_future(upload.collect())
    await until(ready)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def by_a_cancel_scope(client: QuartileClient, upload: Upload[Any], ready: Callable[[], bool]) -> None:
    async with anyio.create_task_group() as group:
        group.start_soon(upload.collect)
        await until(ready)
        group.cancel_scope.cancel()


async def by_a_timeout(client: QuartileClient, upload: Upload[Any], ready: Callable[[], bool]) -> None:
    async def collect_and_wait() -> None:
        async with asyncio.timeout(0.3):
            await upload.collect()

    with pytest.raises(TimeoutError):
        await collect_and_wait()


async def by_closing_the_client(client: QuartileClient, upload: Upload[Any], ready: Callable[[], bool]) -> None:
    task = asyncio.ensure_future(upload.collect())
    await until(ready)
    await client.aclose()
    with pytest.raises(ClientClosedError):
        await task


async def by_a_bare_break(client: QuartileClient, upload: Upload[Any], ready: Callable[[], bool]) -> None:
    async for _ in upload:
        await until(ready)
        break
    await until(lambda: upload._supervisor.ended)


async def by_closing_the_generator(client: QuartileClient, upload: Upload[Any], ready: Callable[[], bool]) -> None:
    iteration = aiter(upload)
    await anext(iteration)
    await until(ready)
    await iteration.aclose()


WAYS = [
    by_break,
    by_an_exception,
    by_cancellation,
    by_a_cancel_scope,
    by_a_timeout,
    by_closing_the_client,
    by_a_bare_break,
    by_closing_the_generator,
]
Way = Callable[[QuartileClient, Upload[Any], Callable[[], bool]], Awaitable[None]]


def one_quick_then_slow(rng: Any, batch: list[dict[str, Any]]) -> float:
    return 0.0 if batch[0]["asin"] == item(0)["asin"] else 60.0


@pytest.mark.parametrize("way", WAYS)
async def test_leaving_while_batches_are_polled(way: Way) -> None:
    async with Emulator(processing=one_quick_then_slow) as emulator:
        async with nothing_is_left(emulator), client_for(emulator, max_in_flight=4) as client:
            upload = client.upload(MASTERLIST, items(2_000))
            await way(client, upload, lambda: len(emulator.batches) >= 5)
            assert client._traffic.slots.in_use == 0
            assert not client._shared.orders[None, "process/masterlist"]._last
    assert emulator.violations == []


@pytest.mark.parametrize("way", WAYS)
async def test_leaving_while_a_submit_is_on_the_wire_learns_its_batchs_id(way: Way) -> None:
    async with Emulator(processing=0.0) as emulator:
        emulator.add(Fault(on="submit", after=1, times=None, delay=0.4))
        async with nothing_is_left(emulator), client_for(emulator, max_in_flight=3) as client:
            upload = client.upload(MASTERLIST, items(2_000))
            await way(client, upload, lambda: len(emulator.requests) >= 4)
            known = {result.batch_id for result in upload.unaccounted if result.batch_id}
            assert upload.unaccounted
    assert known <= {batch.id for batch in emulator.batches}
    assert len(emulator.batches) - 1 <= len(known), "each batch that the server took is known"


REFUSALS = {
    "the token": (401, {"statusCode": 401, "message": "The token has expired."}),
    "an item": (422, {"detail": [{"loc": ["body", 0, "asin"], "msg": "no", "type": "value_error"}]}),
    "the whole": (422, {"detail": "no"}),
    "too many": (429, {"message": "Rate limit is exceeded. Try again in 1 seconds."}),
    "not now": (503, {"message": "busy"}),
}


@pytest.mark.parametrize("refusal", REFUSALS)
@pytest.mark.parametrize("way", [by_cancellation, by_closing_the_client])
async def test_nothing_more_is_sent_when_the_submit_on_the_wire_is_refused_after_leaving(
    way: Way, refusal: str
) -> None:
    status, body = REFUSALS[refusal]
    async with Emulator(processing=0.0) as emulator:
        emulator.add(Fault(on="submit", times=None, delay=0.3, status=status, body=body))
        auth = LoginAuth(emulator.username, emulator.password)
        async with nothing_is_left(emulator), client_for(emulator, auth=auth, max_in_flight=2) as client:
            upload = client.upload(MASTERLIST, items(2_000))
            await way(client, upload, lambda: sum(each.kind == "submit" for each in emulator.requests) == 2)
            asked = len(emulator.requests)
            assert upload.unaccounted
            assert sum(result.not_sent for result in upload.unaccounted) >= len(upload.unaccounted) - (
                200 if refusal == "not now" else 0
            )
    assert len(emulator.requests) == asked


async def test_a_submit_on_the_wire_is_given_no_more_than_a_moment() -> None:
    async with Emulator() as emulator:
        emulator.add(Fault(on="submit", times=None, delay=30.0))
        async with nothing_is_left(emulator), client_for(emulator, max_in_flight=2) as client:
            upload = client.upload(MASTERLIST, items(300))
            started = asyncio.get_running_loop().time()
            await by_cancellation(client, upload, lambda: len(emulator.requests) >= 2)
            assert 2.0 <= asyncio.get_running_loop().time() - started < 10.0
            in_doubt = [result for result in upload.unaccounted if not result.not_sent]
            assert [result.batch_id for result in in_doubt] == [None] * 200
            assert "may have taken it" in in_doubt[0].message


async def test_a_submit_of_ones_own_ends_at_once_when_it_is_cancelled() -> None:
    async with Emulator() as emulator:
        emulator.add(Fault(on="submit", times=None, delay=30.0))
        async with nothing_is_left(emulator), client_for(emulator) as client:
            started = asyncio.get_running_loop().time()
            with anyio.move_on_after(0.2):
                await client.submit(MASTERLIST, items(3))
            assert asyncio.get_running_loop().time() - started < 1.5, "sooner than an upload's moment"


@pytest.mark.parametrize("way", [by_cancellation, by_a_cancel_scope, by_a_timeout, by_closing_the_client])
async def test_leaving_while_a_failed_submit_waits_for_its_next_try(way: Way) -> None:
    async with Emulator() as emulator:
        emulator.add(Fault(on="submit", times=None, status=503, headers={"Retry-After": "60"}))
        async with nothing_is_left(emulator), client_for(emulator, max_in_flight=2) as client:
            upload = client.upload(MASTERLIST, items(500))
            await way(client, upload, lambda: len(emulator.requests) >= 2)


@pytest.mark.parametrize("way", [by_cancellation, by_a_cancel_scope, by_a_timeout, by_closing_the_client])
async def test_leaving_while_the_gate_is_closed(way: Way) -> None:
    async with Emulator() as emulator:
        emulator.add(Fault(on="submit", times=1, status=429, headers={"Retry-After": "60"}))
        async with nothing_is_left(emulator), client_for(emulator, max_in_flight=2) as client:
            upload = client.upload(MASTERLIST, items(500))
            await way(client, upload, lambda: len(emulator.requests) >= 1)
            # What went out beside the first, before the gate closed, was taken; of that the id is known.
            assert all(result.not_sent or result.batch_id for result in upload.unaccounted)


@pytest.mark.parametrize("way", [by_cancellation, by_a_cancel_scope, by_a_timeout, by_closing_the_client])
async def test_leaving_while_the_input_is_waited_for_ends_the_input(way: Way) -> None:
    ended = []

    async def endless() -> AsyncIterator[dict[str, Any]]:
        try:
            yield item(0)
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    async with Emulator() as emulator:
        async with nothing_is_left(emulator), client_for(emulator) as client:
            upload = client.upload(MASTERLIST, endless())
            await way(client, upload, lambda: upload.progress.read == 1)
            assert ended


@pytest.mark.parametrize("way", [by_cancellation, by_a_cancel_scope, by_a_timeout, by_closing_the_client])
async def test_leaving_while_another_upload_holds_every_slot_leaves_the_other_alone(way: Way) -> None:
    async with Emulator(processing=0.6) as emulator, client_for(emulator, max_in_flight=1) as client:
        other = asyncio.ensure_future(client.upload(MASTERLIST, items(100)).collect())
        await until(lambda: emulator.batches)
        upload = client.upload(MASTERLIST, (item(1_000 + number) for number in range(500)))
        await way(client, upload, lambda: upload.progress.read > 0)
        assert all(result.not_sent for result in upload.unaccounted)
        if way is by_closing_the_client:
            with pytest.raises(ClientClosedError):
                await other
        else:
            assert all(result.ok for result in await other)
            assert len(await client.upload(MASTERLIST, items(3)).collect()) == 3, "no slot was lost"


async def test_a_break_lets_the_client_go_on(emulator: Emulator, client: QuartileClient) -> None:
    for _ in range(20):
        async for _ in client.upload(MASTERLIST, items(300)):
            break
        gc.collect()
    assert len(await client.upload(MASTERLIST, items(300)).collect()) == 300
    await until(lambda: client._traffic.slots.in_use == 0)


async def test_a_client_may_be_entered_in_one_task_and_left_in_another(emulator: Emulator) -> None:
    client = client_for(emulator)
    await asyncio.ensure_future(client.__aenter__())
    upload = client.upload(MASTERLIST, items(300))
    iteration = aiter(upload)
    await asyncio.ensure_future(anext(iteration))
    await asyncio.ensure_future(iteration.aclose())
    await asyncio.ensure_future(client.__aexit__(None, None, None))

    assert upload.unaccounted


async def test_two_uploads_may_be_read_by_one_task_in_turn(client: QuartileClient) -> None:
    first, second = client.upload(MASTERLIST, items(200)), client.upload(MASTERLIST, items(400)[200:])
    pairs = [(aiter(first), aiter(second)) for _ in range(1)]
    counts = [0, 0]
    for _ in range(200):
        for number, iteration in enumerate(pairs[0]):
            await anext(iteration)
            counts[number] += 1
    assert counts == [200, 200]
    for iteration in pairs[0]:
        await iteration.aclose()


async def test_after_the_last_result_nothing_is_left_even_without_a_client_block(emulator: Emulator) -> None:
    async with nothing_is_left(emulator):
        client = client_for(emulator)
        await client.upload(MASTERLIST, items(150)).collect()
        await client.aclose()


@pytest.mark.skipif(
    sys.version_info >= (3, 12),
    reason="aiohttp writes it in the request's own step, which a cancelled task never takes",
)
async def test_a_body_that_must_not_go_out_any_more_does_not(emulator: Emulator) -> None:
    left = Delivery(is_left=True)
    http = Http(base_url=emulator.url, headers={}, timeout=5.0, ssl_context=None, trust_env=False)

    with pytest.raises((asyncio.CancelledError, TransportError)):
        await http.exchange("PATCH", "/amazon/v2/process/masterlist", headers={}, body=b"[]", goes_out=left.goes_out)
    await http.aclose()

    assert not left.on_the_wire
    assert not emulator.requests
