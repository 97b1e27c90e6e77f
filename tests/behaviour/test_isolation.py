"""One bad item costs itself, one failed batch costs itself, a hopeless error stops the upload at once."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import Any

import pytest

from quartile_async import (
    MASTERLIST,
    UNMANAGED_ASINS,
    APIError,
    AuthenticationError,
    Outcome,
    PermissionDeniedError,
    QuartileClient,
    QuotaExceededError,
    RateLimitError,
    TransportError,
)
from quartile_async.emulator import Emulator, Fault

from .conftest import client_for, item, items


def refuses(*numbers: int) -> Any:
    refused = {item(number)["asin"] for number in numbers}
    return lambda each: "no such product" if each["asin"] in refused else None


async def test_items_that_the_server_refuses_cost_themselves_and_one_extra_request() -> None:
    async with Emulator(processing=0.0, refuse=refuses(3, 50, 99)) as emulator, client_for(emulator) as client:
        results = await client.upload(MASTERLIST, items(100)).collect()

    refused = [result.index for result in results if result.outcome is Outcome.REJECTED]
    assert refused == [3, 50, 99]
    assert all(result.ok for result in results if result.index not in refused)
    assert "no such product" in results[3].message
    assert not results[3].not_sent
    assert sum(request.kind == "submit" for request in emulator.requests) == 2


async def test_a_chunk_of_which_every_item_is_refused_is_not_sent_again() -> None:
    async with Emulator(refuse=lambda each: "no") as emulator, client_for(emulator) as client:
        results = await client.upload(MASTERLIST, items(5)).collect()

    assert {result.outcome for result in results} == {Outcome.REJECTED}
    assert len(emulator.requests) == 1


def points_nowhere(payload: Any) -> Any:
    return {"detail": "the batch is invalid"} if "detail" in payload else payload


async def test_a_refusal_that_points_nowhere_is_halved_until_it_does() -> None:
    async with Emulator(processing=0.0, refuse=refuses(7)) as emulator, client_for(emulator) as client:
        emulator.add(Fault(on="submit", times=None, rewrite=points_nowhere))
        results = await client.upload(MASTERLIST, items(100)).collect()

    assert [result.index for result in results if result.outcome is Outcome.REJECTED] == [7]
    assert sum(result.ok for result in results) == 99
    assert len(emulator.batches) < 10
    assert emulator.overlaps == []


async def test_a_chunk_that_is_too_large_is_halved() -> None:
    async with Emulator(processing=0.0) as emulator, client_for(emulator) as client:
        emulator.add(Fault(on="submit", times=1, status=413, body="<html>too large</html>"))
        results = await client.upload(MASTERLIST, items(100)).collect()

    assert all(result.ok for result in results)
    assert [len(batch.items) for batch in emulator.batches] == [50, 50]


async def test_the_parts_of_a_chunk_keep_its_slot_until_the_last_of_them_has_ended() -> None:
    async with Emulator(processing=0.05) as emulator, client_for(emulator, max_in_flight=1) as client:
        emulator.add(Fault(on="submit", times=1, status=413, body="<html>too large</html>"))
        results = await client.upload(MASTERLIST, items(300)).collect()

    assert all(result.ok for result in results)
    methods = [request.method for request in emulator.requests]
    assert methods[:2] == ["PATCH", "PATCH"], "the first one was too large"
    assert all("GET" in pair for pair in pairwise(methods[1:])), "two batches were under way at once"


async def test_a_single_item_that_is_too_large_is_rejected(emulator: Emulator) -> None:
    emulator.add(Fault(on="submit", times=1, status=413, body="<html>too large</html>"))
    async with client_for(emulator) as client:
        (result,) = await client.upload(MASTERLIST, [item(0)]).collect()

    assert result.outcome is Outcome.REJECTED


async def test_a_batch_that_cannot_be_submitted_costs_its_own_items_and_no_others() -> None:
    async with Emulator(processing=0.0) as emulator, client_for(emulator, max_in_flight=1) as client:
        emulator.add(Fault(on="submit", after=1, times=1, status=400, body={"detail": "a passing cloud"}))
        results = await client.upload(MASTERLIST, items(300)).collect()

    assert [result.ok for result in results] == [True] * 100 + [False] * 100 + [True] * 100
    lost = results[100]
    assert (lost.outcome, lost.not_sent, lost.batch_id) == (Outcome.UNKNOWN, True, None)
    assert "a passing cloud" in lost.message


async def test_a_batch_that_the_server_forgot_is_lost_and_costs_no_other() -> None:
    async with (
        Emulator(processing=0.0) as emulator,
        client_for(emulator, max_in_flight=1, not_visible_grace=0.1) as client,
    ):
        await client.upload(MASTERLIST, [item(999)]).collect()
        emulator.add(
            Fault(
                on="poll", after=0, times=None, when=lambda request: emulator.batches[1].id in request.path, status=404
            )
        )
        results = await client.upload(MASTERLIST, items(200)).collect()

    assert [result.outcome for result in results] == [Outcome.UNKNOWN] * 100 + [Outcome.SUCCEEDED] * 100
    assert results[0].batch_id == emulator.batches[1].id


async def test_a_batch_that_is_not_visible_at_once_is_waited_for() -> None:
    async with Emulator(processing=0.0, visible_after=0.2) as emulator, client_for(emulator) as client:
        (result,) = await client.upload(MASTERLIST, [item(0)]).collect()

    assert result.ok
    assert emulator.violations == []


NOISE = [
    {"status": 502, "body": "<html>Bad Gateway</html>"},
    {"status": 503},
    {"status": 500, "body": {"detail": "oops"}},
    {"drop": "before"},
    {"status": 200, "body": ""},
    {"status": 200, "body": '{"batchId":'},
    {"status": 200, "body": "<html>sign in</html>"},
    {"status": 200, "body": "[]"},
]


@pytest.mark.parametrize("noise", NOISE)
async def test_an_answer_that_is_none_says_nothing_about_the_batch(noise: dict[str, Any]) -> None:
    async with Emulator(processing=0.0) as emulator, client_for(emulator) as client:
        emulator.add(Fault(on="poll", times=1, **noise))
        results = await client.upload(MASTERLIST, items(3)).collect()

    assert all(result.ok for result in results)
    assert len(emulator.batches) == 1


HOPELESS: list[tuple[dict[str, Any], type[APIError]]] = [
    ({"status": 401, "body": {"message": "Access denied due to invalid subscription key."}}, AuthenticationError),
    ({"status": 401, "body": {"message": "The access token has expired."}}, AuthenticationError),
    ({"status": 403, "body": {"message": "Forbidden"}}, PermissionDeniedError),
    (
        {"status": 403, "body": {"message": "Out of call volume quota. Quota will be replenished in 02:12:03."}},
        QuotaExceededError,
    ),
    ({"status": 429, "headers": {"Retry-After": "86400"}}, RateLimitError),
    ({"status": 404, "body": {"detail": "Not Found"}}, APIError),
    ({"status": 405, "body": {"detail": "Method Not Allowed"}}, APIError),
]


@pytest.mark.parametrize(("fault", "kind"), HOPELESS)
async def test_a_hopeless_error_stops_the_upload_at_once(fault: dict[str, Any], kind: type[APIError]) -> None:
    async with Emulator(processing=0.05) as emulator, client_for(emulator, max_in_flight=2) as client:
        emulator.add(Fault(on="submit", after=4, times=None, **fault))
        delivered, upload = [], client.upload(MASTERLIST, items(100_000))
        with pytest.raises(kind) as caught:
            async for result in upload:
                delivered.append(result)

    assert type(caught.value) is kind
    assert len([request for request in emulator.requests if request.kind == "submit"]) <= 6
    assert sorted(result.index for result in delivered + upload.unaccounted) == list(range(upload.progress.read))
    assert all(result.batch_id or result.not_sent for result in upload.unaccounted)


@pytest.mark.parametrize("status", [401, 403])
async def test_a_hopeless_answer_to_a_poll_stops_the_upload_too(status: int) -> None:
    async with Emulator(processing=0.0) as emulator, client_for(emulator) as client:
        emulator.add(Fault(on="poll", times=None, status=status, body={"message": "no"}))
        with pytest.raises(APIError) as caught:
            await client.upload(MASTERLIST, items(10)).collect()

    assert {result.batch_id for result in caught.value.unaccounted} == {emulator.batches[0].id}


@pytest.mark.looptime
async def test_a_server_that_is_not_there_ends_the_upload_with_nothing_sent() -> None:
    async with Emulator() as gone:
        pass
    async with client_for(gone) as client:
        with pytest.raises(TransportError) as caught:
            await client.upload(MASTERLIST, items(5_000)).collect()

    assert asyncio.get_running_loop().time() <= 30
    assert caught.value.unaccounted
    assert all(result.not_sent for result in caught.value.unaccounted)


async def test_the_wrong_spelling_of_the_paths_is_told() -> None:
    async with Emulator(batch_paths="table") as emulator, client_for(emulator) as client:
        with pytest.raises(APIError, match="batch_paths='table'"):
            await client.upload(MASTERLIST, items(10)).collect()
    async with Emulator(batch_paths="table", processing=0.0) as emulator:
        async with client_for(emulator, batch_paths="table") as client:
            assert all(result.ok for result in await client.upload(MASTERLIST, items(10)).collect())
    assert emulator.violations == []


@pytest.mark.parametrize("depth", [250, 1_010])
@pytest.mark.parametrize("on", ["poll", "submit"])
async def test_an_answer_that_is_nested_deeply_costs_itself_at_most(depth: int, on: Any) -> None:
    deep = "[" * depth + "]" * depth
    row = f'{{"asin": "A0", "x": {deep}, "status": {{"success": true, "message": "", "process": ""}}, "id": "1"}}'
    bodies = {"poll": f'{{"status": "SUCCESS", "data": [{row}]}}', "submit": f'{{"batchId": {deep}}}'}
    async with Emulator(processing=0.01) as emulator, client_for(emulator) as client:
        emulator.add(Fault(on=on, times=1, status=200, body=bodies[on].encode()))
        results = await client.upload(UNMANAGED_ASINS, [{"asin": f"A{number}"} for number in range(250)]).collect()

    assert len(results) == 250
    assert sum(not result.ok for result in results) <= 100


async def test_a_refusal_that_is_nested_deeply_points_at_nothing(emulator: Emulator, client: QuartileClient) -> None:
    deep = "[" * 900 + "]" * 900
    detail = f'{{"detail": [{{"loc": ["body", {deep}], "msg": {deep}}}]}}'
    emulator.add(Fault(on="submit", times=1, status=422, body=detail.encode()))

    results = await client.upload(MASTERLIST, [item(number) for number in range(4)]).collect()

    assert all(result.ok for result in results)


async def test_eager_tasks_change_nothing(emulator: Emulator) -> None:
    factory = getattr(asyncio, "eager_task_factory", None)
    if factory is None:
        pytest.skip("Python 3.11 has no eager tasks")
    asyncio.get_running_loop().set_task_factory(factory)
    async with client_for(emulator, max_body_bytes=40) as client:
        results = await client.upload(MASTERLIST, [item(number) for number in range(10)]).collect()

    assert [result.outcome for result in results] == [Outcome.REJECTED] * 10


async def test_an_item_that_cannot_be_written_as_json_costs_itself_in_any_resource() -> None:
    async with Emulator(processing=0.0) as emulator, client_for(emulator) as client:
        odd = [{"asin": f"B0{number:08d}", "note": "\ud800" if number == 3 else "fine"} for number in range(150)]
        results = await client.upload(UNMANAGED_ASINS, odd).collect()

    assert [result.index for result in results if not result.ok] == [3]
    assert results[3].outcome is Outcome.REJECTED
    assert sum(len(batch.items) for batch in emulator.batches) == 149
