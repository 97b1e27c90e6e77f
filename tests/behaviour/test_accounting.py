"""Every item read from the input gives exactly one result, delivered or unaccounted for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quartile_async import (
    MASTERLIST,
    UNMANAGED_ASINS,
    AuthenticationError,
    ClientClosedError,
    MasterlistItem,
    Outcome,
    QuartileClient,
    QuartileError,
)
from quartile_async.emulator import Emulator, Fault

from .conftest import client_for, item, items


async def test_every_item_has_one_result_that_is_true_to_what_the_server_applied() -> None:
    async with (
        Emulator(processing=0.01, fail_share=0.1, missing_row_share=0.05, shuffle_rows=True, seed=7) as emulator,
        client_for(emulator) as client,
    ):
        results = await client.upload(MASTERLIST, items(2_345)).collect()

    assert [result.index for result in results] == list(range(2_345))
    assert {result.outcome for result in results} == {Outcome.SUCCEEDED, Outcome.FAILED, Outcome.UNKNOWN}
    for result in results:
        applied = (result.item["asin"], "US") in emulator.applied
        if result.outcome is Outcome.SUCCEEDED:
            assert applied
        elif result.outcome is Outcome.FAILED:
            assert not applied
            assert result.message
        else:
            assert result.row is None
    assert emulator.violations == []


async def test_models_and_mappings_sync_and_async_inputs_all_go(client: QuartileClient, emulator: Emulator) -> None:
    async def trickle() -> AsyncIterator[MasterlistItem]:
        for number in range(150):
            yield MasterlistItem(**item(number))

    for source in (trickle(), items(150), iter(items(150)), (item(number) for number in range(150))):
        results = await client.upload(MASTERLIST, source).collect()
        assert [result.index for result in results] == list(range(150))
        assert all(result.ok for result in results)
    assert len(emulator.applied) == 150


async def test_an_empty_input_ends_at_once(client: QuartileClient) -> None:
    assert await client.upload(MASTERLIST, []).collect() == []


async def test_invalid_items_are_rejected_in_their_place_and_never_sent(
    client: QuartileClient, emulator: Emulator
) -> None:
    source: list[Any] = [item(0), None, {"asin": "B0"}, item(1), ValueError("line 9 is torn"), item(2)]

    results = await client.upload(MASTERLIST, source).collect()

    assert [result.outcome for result in results] == [
        Outcome.SUCCEEDED,
        Outcome.REJECTED,
        Outcome.REJECTED,
        Outcome.SUCCEEDED,
        Outcome.REJECTED,
        Outcome.SUCCEEDED,
    ]
    assert results[4].message == "line 9 is torn"
    assert not any(result.not_sent for result in results)
    assert len(emulator.applied) == 3


async def test_a_row_as_it_was_passed_in_is_on_its_result(client: QuartileClient) -> None:
    given = {"asin": "B01N5IB20Q", "countryCode": "US", "percACoS": "27.5", "note": "mine"}

    (result,) = await client.upload(MASTERLIST, [given]).collect()

    assert result.item is given
    assert result.ok
    assert result.process == "INSERT"
    assert result.id
    assert result.row is not None
    assert result.row["percACoS"] == 27.5


async def test_the_whole_object_is_the_key_where_none_is_named(client: QuartileClient, emulator: Emulator) -> None:
    objects = [{"asin": f"B{number}", "tags": ["a", {"n": number}]} for number in range(120)]

    results = await client.upload(UNMANAGED_ASINS, objects).collect()

    assert all(result.ok for result in results)
    assert len(emulator.applied_to("unmanaged/asins")) == 120


async def test_after_a_break_what_was_read_and_not_handed_over_is_unaccounted_for(client: QuartileClient) -> None:
    upload, delivered = client.upload(MASTERLIST, items(5_000)), []
    async with upload:
        async for result in upload:
            delivered.append(result)
            if len(delivered) == 150:
                break

    left = upload.unaccounted
    assert {result.outcome for result in left} == {Outcome.UNKNOWN}
    assert sorted(result.index for result in delivered + left) == list(range(upload.progress.read))
    assert upload.progress.done == 150
    for result in left:
        assert result.not_sent is (result.batch_id is None)
        assert result.message


async def test_when_an_error_ends_the_upload_the_rest_is_on_it(emulator: Emulator) -> None:
    emulator.add(Fault(on="submit", after=5, times=None, status=401, body={"statusCode": 401, "message": KEY_REFUSED}))
    delivered = []
    async with client_for(emulator, max_in_flight=2) as client:
        upload = client.upload(MASTERLIST, items(3_000))
        with pytest.raises(AuthenticationError) as caught:
            async for result in upload:
                delivered.append(result)

    error = caught.value
    assert len(delivered) >= 300, "what had finished comes first"
    assert error.unaccounted == upload.unaccounted
    assert sorted(result.index for result in delivered + error.unaccounted) == list(range(upload.progress.read))
    assert any(result.not_sent for result in error.unaccounted)


KEY_REFUSED = "Access denied due to invalid subscription key. Make sure to provide a valid key."


async def test_collect_keeps_what_was_there_before_the_error(emulator: Emulator) -> None:
    emulator.add(Fault(on="submit", after=3, times=None, status=401, body={"statusCode": 401, "message": KEY_REFUSED}))
    async with client_for(emulator, max_in_flight=1) as client:
        with pytest.raises(AuthenticationError) as caught:
            await client.upload(MASTERLIST, items(1_000)).collect()

    assert [result.index for result in caught.value.results] == list(range(300))
    assert all(result.ok for result in caught.value.results)


class TornFileError(Exception):
    pass


def torn(count: int) -> Iterator[dict[str, Any]]:
    yield from items(count)
    raise TornFileError("the file is torn")


async def torn_slowly(count: int) -> AsyncIterator[dict[str, Any]]:
    for each in items(count):
        yield each
    raise TornFileError("the file is torn")


@pytest.mark.parametrize("source", [torn, torn_slowly])
async def test_what_the_input_raises_arrives_as_itself_after_what_was_in_flight(
    client: QuartileClient, source: Any
) -> None:
    upload, delivered = client.upload(MASTERLIST, source(1_050)), []
    with pytest.raises(TornFileError, match="the file is torn") as caught:
        async for result in upload:
            delivered.append(result)

    left = caught.value.unaccounted  # type: ignore[attr-defined]  # put there by the upload
    assert all(result.ok for result in delivered)
    assert all(result.not_sent for result in left)
    assert sorted(result.index for result in delivered + left) == list(range(1_050))


async def test_an_input_that_is_cancelled_from_within_does_not_hang_the_upload(client: QuartileClient) -> None:
    async def cancelled_within() -> AsyncIterator[dict[str, Any]]:
        yield item(0)
        raise asyncio.CancelledError

    async with asyncio.timeout(5):
        with pytest.raises(QuartileError, match="cancelled"):
            await client.upload(MASTERLIST, cancelled_within()).collect()


async def test_a_stopped_upload_ends_normally_and_says_what_was_not_sent(client: QuartileClient) -> None:
    upload, delivered = client.upload(MASTERLIST, items(10_000)), []
    async for result in upload:
        delivered.append(result)
        upload.stop()

    assert all(result.ok for result in delivered)
    assert upload.unaccounted
    assert all(result.not_sent for result in upload.unaccounted)
    assert sorted(result.index for result in delivered + upload.unaccounted) == list(range(upload.progress.read))
    assert upload.progress.read < 10_000


async def test_an_upload_that_is_stopped_before_it_starts_reads_nothing(client: QuartileClient) -> None:
    upload = client.upload(MASTERLIST, items(10))
    upload.stop()

    assert await upload.collect() == []
    assert upload.progress.read == 0


async def test_the_consumer_of_an_upload_whose_client_closes_gets_an_error_with_the_rest(emulator: Emulator) -> None:
    client = client_for(emulator)
    upload, delivered = client.upload(MASTERLIST, items(5_000)), []
    with pytest.raises(ClientClosedError) as caught:
        async for result in upload:
            delivered.append(result)
            if len(delivered) == 120:
                await client.aclose()

    left = caught.value.unaccounted
    assert sorted(result.index for result in delivered + left) == list(range(upload.progress.read))


async def test_the_summary_counts_what_was_delivered(emulator: Emulator) -> None:
    async with client_for(emulator) as client:
        source: list[Any] = [*items(120), None, None]
        summary = await client.upload(MASTERLIST, source).summary()

    assert (summary.items, summary.succeeded, summary.rejected) == (122, 120, 2)
    assert (summary.failed, summary.unknown, summary.batches, summary.problems_omitted) == (0, 0, 2, 0)
    assert [result.index for result in summary.problems] == [120, 121]
    assert list(summary.messages.values()) == [2]
    assert summary.seconds > 0


kinds = st.sampled_from(["new", "same key", "same key in another case", "invalid", "torn", "model"])


def made(kind: str, number: int) -> Any:
    return {
        "new": item(number),
        "same key": item(0, target=1.0 + number),
        "same key in another case": {**item(0, target=1.0 + number), "asin": "b000000000"},
        "invalid": {"asin": "B0"},
        "torn": ValueError("torn"),
        "model": MasterlistItem(**item(number)),
    }[kind]


@settings(max_examples=25)
@given(st.lists(kinds, max_size=250), st.integers(1, 4), st.integers(0, 2**16))
def test_whatever_the_input_each_item_has_its_result(kinds: list[str], max_in_flight: int, seed: int) -> None:
    source = [made(kind, number) for number, kind in enumerate(kinds)]

    async def upload() -> None:
        async with (
            Emulator(processing=0.001, fail_share=0.2, shuffle_rows=True, seed=seed) as emulator,
            client_for(emulator, max_in_flight=max_in_flight) as client,
        ):
            results = await client.upload(MASTERLIST, source).collect()
        assert [(result.index, result.item) for result in results] == list(enumerate(source))
        for kind, result in zip(kinds, results, strict=True):
            assert (result.outcome is Outcome.REJECTED) is (kind in ("invalid", "torn"))
        assert emulator.violations == []
        assert emulator.overlaps == []

    asyncio.run(upload())
