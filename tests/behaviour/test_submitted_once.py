"""A batch whose id is known is only polled; one that has ended is never asked for again; `status` decides."""

from __future__ import annotations

from typing import Any

import pytest

from quartile_async import MASTERLIST, UNMANAGED_ASINS, Outcome
from quartile_async.emulator import Emulator, Fault

from .conftest import client_for, item, items


async def test_no_batch_is_sent_twice_and_none_is_asked_for_after_its_end() -> None:
    async with Emulator(processing=0.02, fail_share=0.2, seed=1) as emulator, client_for(emulator) as client:
        emulator.add(Fault(on="poll", share=0.3, times=None, status=503))
        results = await client.upload(MASTERLIST, items(1_000)).collect()

    assert len(results) == 1_000
    assert len(emulator.batches) == 10
    assert [batch.polls_after_the_end for batch in emulator.batches] == [0] * 10
    assert not any(result.resent for result in results)


@pytest.mark.parametrize("lost", [{"drop": "after"}, {"status": 502, "taken": True}, {"drop": "before"}])
async def test_a_submit_whose_answer_was_lost_is_sent_again_where_that_is_harmless(lost: dict[str, Any]) -> None:
    async with Emulator(processing=0.0) as emulator, client_for(emulator) as client:
        emulator.add(Fault(on="submit", times=1, **lost))
        results = await client.upload(MASTERLIST, items(5)).collect()

    assert all(result.ok and result.resent for result in results)
    assert {result.batch_id for result in results} == {emulator.batches[-1].id}


async def test_a_submit_whose_answer_was_lost_is_not_sent_again_where_that_may_harm(emulator: Emulator) -> None:
    async with client_for(emulator) as client:
        await client.upload(UNMANAGED_ASINS, [{"asin": "first"}]).collect()
        emulator.add(Fault(on="submit", times=1, drop="after"))
        (result,) = await client.upload(UNMANAGED_ASINS, [{"asin": "second"}]).collect()

    assert result.outcome is Outcome.UNKNOWN
    assert not result.not_sent
    assert len(emulator.batches) == 2


@pytest.mark.parametrize(
    ("failing", "status", "http_status", "outcomes"),
    [
        ((), "SUCCESS", 200, [Outcome.SUCCEEDED] * 3),
        ((1,), "PARTIAL", 206, [Outcome.SUCCEEDED, Outcome.FAILED, Outcome.SUCCEEDED]),
        ((0, 1, 2), "FAILED", 206, [Outcome.FAILED] * 3),
    ],
)
async def test_a_206_carries_finished_batches_too(
    failing: tuple[int, ...], status: str, http_status: int, outcomes: list[Outcome]
) -> None:
    asins = {item(number)["asin"] for number in failing}

    def fails(each: dict[str, Any]) -> str | None:
        return "The target is too low." if each["asin"] in asins else None

    async with Emulator(processing=0.03, fail=fails) as emulator, client_for(emulator) as client:
        results = await client.upload(MASTERLIST, items(3)).collect()
        answer = await client.get_batch(emulator.batches[0].id)

    assert answer.status == status
    assert emulator.requests[-1].status == http_status
    assert [result.outcome for result in results] == outcomes
    assert all(result.message == "The target is too low." for result in results if not result.ok)


def another_batch(payload: dict[str, Any]) -> dict[str, Any]:
    return {**payload, "batchId": "000000000000000000000000"}


def foreign_rows(payload: dict[str, Any]) -> dict[str, Any]:
    return {**payload, "data": [{**row, "asin": f"X{row['asin']}"} for row in payload.get("data", [])]}


def no_rows(payload: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in payload.items() if name != "data"}


def unknown_status(payload: dict[str, Any]) -> dict[str, Any]:
    return {**payload, "status": "ARCHIVED"}


def yes_as_a_word(payload: dict[str, Any]) -> dict[str, Any]:
    return {**payload, "data": [{**row, "status": {**row["status"], "success": "true"}} for row in payload["data"]]}


@pytest.mark.looptime
@pytest.mark.parametrize("lie", [another_batch, foreign_rows, no_rows, unknown_status, yes_as_a_word])
async def test_an_end_that_cannot_be_trusted_is_never_a_success_and_not_waited_for_for_ever(lie: Any) -> None:
    async with Emulator(processing=0.0) as emulator, client_for(emulator) as client:
        emulator.add(Fault(on="poll", times=None, rewrite=lie))
        results = await client.upload(MASTERLIST, items(3)).collect()

    assert {result.outcome for result in results} == {Outcome.UNKNOWN}
    assert {result.batch_id for result in results} == {emulator.batches[0].id}
    assert 1 <= emulator.batches[0].polls <= 6


@pytest.mark.looptime
@pytest.mark.parametrize("lie", [another_batch, foreign_rows, no_rows])
async def test_an_end_that_is_wrong_once_is_asked_for_again(lie: Any) -> None:
    async with Emulator(processing=0.0) as emulator, client_for(emulator) as client:
        emulator.add(Fault(on="poll", times=1, rewrite=lie))
        results = await client.upload(MASTERLIST, items(3)).collect()

    assert all(result.ok for result in results)


async def test_an_id_that_is_no_plain_token_never_becomes_a_url() -> None:
    async with Emulator(processing=0.0) as emulator, client_for(emulator, max_tries=1) as client:
        await client.upload(MASTERLIST, [item(7)]).collect()
        emulator.add(Fault(on="submit", times=None, rewrite=lambda payload: {"batchId": "../../auth/v2/login"}))
        (result,) = await client.upload(MASTERLIST, [item(0)]).collect()

    assert result.outcome is Outcome.UNKNOWN
    assert not result.not_sent
    assert not any("login" in request.path for request in emulator.requests)


async def test_foreign_rows_are_counted(emulator: Emulator) -> None:
    def one_more(payload: dict[str, Any]) -> dict[str, Any]:
        return {**payload, "data": [*payload["data"], {**payload["data"][0], "asin": "B0FOREIGN1"}]}

    emulator.add(
        Fault(on="poll", when=lambda request: True, times=None, rewrite=lambda p: one_more(p) if "data" in p else p)
    )
    async with client_for(emulator) as client:
        upload = client.upload(MASTERLIST, items(3))
        results = await upload.collect()

    assert all(result.ok for result in results)
    assert upload.progress.foreign_rows == 1
