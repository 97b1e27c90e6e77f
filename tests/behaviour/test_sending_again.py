"""Items that have failed are sent again, as the user's function says: in new batches, in order, and within bounds."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from quartile_async import (
    MASTERLIST,
    ConfigurationError,
    ItemResult,
    Outcome,
    QuartileClient,
    QuartileError,
    Resource,
    Upload,
)
from quartile_async._again import OVERTAKEN
from quartile_async.emulator import Emulator, Fault

from .conftest import client_for, item, items, nothing_is_left, until


def fails(times: int, *, every: int = 1, message: str = "It is busy.") -> Callable[[dict[str, Any]], str | None]:
    """Every so many-th item fails so many times, and then succeeds."""
    tries: Counter[str] = Counter()

    def fail(each: dict[str, Any]) -> str | None:
        tries[each["asin"]] += 1
        return message if int(each["asin"][2:]) % every == 0 and tries[each["asin"]] <= times else None

    return fail


def at_once(result: ItemResult[Any]) -> bool:
    return True


async def test_a_failed_item_is_sent_again_and_only_its_last_result_is_given() -> None:
    async with Emulator(fail=fails(1, every=10)) as emulator, client_for(emulator) as client:
        results = await client.upload(MASTERLIST, items(250), retry=at_once).collect()

    assert [result.index for result in results] == list(range(250))
    assert all(result.ok for result in results)
    assert [result.tries for result in results] == [2 if index % 10 == 0 else 1 for index in range(250)]
    assert sum(len(batch.items) for batch in emulator.batches) == 275


async def test_without_a_function_nothing_is_sent_again() -> None:
    async with Emulator(fail=fails(1)) as emulator, client_for(emulator) as client:
        results = await client.upload(MASTERLIST, items(3)).collect()

    assert [(result.outcome, result.tries) for result in results] == [(Outcome.FAILED, 1)] * 3
    assert len(emulator.batches) == 1


async def test_an_item_that_goes_on_failing_has_failed_after_so_many_tries() -> None:
    async with Emulator(fail=fails(9)) as emulator, client_for(emulator, linger=0.0) as client:
        by_default = await client.upload(MASTERLIST, [item(0)], retry=at_once).collect()
        often = await client.upload(MASTERLIST, [item(1)], retry=at_once, max_item_tries=5).collect()
        once = await client.upload(MASTERLIST, [item(2)], retry=at_once, max_item_tries=1).collect()

    found = [(result.outcome, result.tries, result.message) for result in (*by_default, *often, *once)]
    assert found == [(Outcome.FAILED, tries, "It is busy.") for tries in (3, 5, 1)]
    assert len(emulator.batches) == 9


async def test_the_function_is_asked_about_each_failure_with_its_tries_and_about_nothing_else() -> None:
    asked: list[ItemResult[Any]] = []

    def note(result: ItemResult[Any]) -> bool:
        asked.append(result)
        return "busy" in result.message

    async with Emulator(fail=fails(2, every=50)) as emulator, client_for(emulator) as client:
        emulator.add(Fault(on="submit", status=422, body={"detail": [{"loc": ["body", 1, "asin"], "msg": "no"}]}))
        await client.upload(MASTERLIST, [*items(100), {"asin": "x"}], retry=note).collect()

    assert sorted((result.index, result.tries, result.outcome) for result in asked) == [
        (index, tries, Outcome.FAILED) for index in (0, 50) for tries in (1, 2)
    ]
    assert all(result.row and result.batch_id and result.message == "It is busy." for result in asked)


@pytest.mark.parametrize("answer", [None, False])
async def test_an_item_of_which_the_function_says_no_has_failed(answer: bool | None) -> None:
    async with Emulator(fail=fails(1)) as emulator, client_for(emulator) as client:
        results = await client.upload(MASTERLIST, items(2), retry=lambda result: answer).collect()

    assert [(result.outcome, result.tries, result.message) for result in results] == [
        (Outcome.FAILED, 1, "It is busy.")
    ] * 2


async def test_an_item_is_sent_again_after_as_many_seconds_as_the_function_says() -> None:
    async with Emulator(fail=fails(1)) as emulator, client_for(emulator, linger=0.0) as client:
        results = await client.upload(
            MASTERLIST, items(2), retry=lambda result: 0.3 if result.index == 0 else 0
        ).collect()

    assert [result.tries for result in results] == [2, 2]
    first, soon, later = emulator.batches
    assert [each["asin"] for batch in (soon, later) for each in batch.items] == [item(1)["asin"], item(0)["asin"]]
    assert later.taken_at - first.taken_at >= 0.3
    assert soon.taken_at - first.taken_at < 0.3


@pytest.mark.parametrize("answer", ["yes", -1, float("nan"), float("inf"), [1]])
async def test_an_answer_that_cannot_be_used_ends_the_upload_with_an_error_that_names_it(answer: Any) -> None:
    async with Emulator(fail=fails(1)) as emulator, client_for(emulator) as client:
        with pytest.raises(ConfigurationError, match="item with index 0") as raised:
            await client.upload(MASTERLIST, items(2), retry=lambda result: answer).collect()

    assert repr(answer) in str(raised.value)
    assert [result.outcome for result in raised.value.results] == [Outcome.FAILED] * 2


async def test_what_the_function_raises_ends_the_upload_as_it_is_and_no_result_is_lost() -> None:
    class OwnError(Exception):
        results: list[ItemResult[Any]]
        unaccounted: list[ItemResult[Any]]

    def broken(result: ItemResult[Any]) -> bool:
        if result.index == 250:
            raise OwnError
        return True

    async with Emulator(fail=fails(1, every=50), processing=0.02) as emulator:
        async with nothing_is_left(emulator), client_for(emulator, max_in_flight=4) as client:
            with pytest.raises(OwnError) as raised:
                await client.upload(MASTERLIST, (each for each in items(100_000)), retry=broken).collect()

    told = [*raised.value.results, *raised.value.unaccounted]
    assert sorted(result.index for result in told) == list(range(len(told)))
    assert len(told) < 10_000
    assert next(result for result in raised.value.results if result.index == 250).outcome is Outcome.FAILED


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"retry": "yes"}, "a str"),
        ({"retry": True}, "a bool"),
        ({"retry": at_once, "max_item_tries": 0}, "max_item_tries=0"),
        ({"retry": at_once, "max_item_tries": 2.5}, "max_item_tries=2.5"),
        ({"retry": at_once, "max_item_tries": True}, "max_item_tries=True"),
    ],
)
async def test_what_is_no_function_or_no_number_is_refused_at_once(options: dict[str, Any], words: str) -> None:
    async with Emulator() as emulator, client_for(emulator) as client:
        with pytest.raises(ConfigurationError, match=words):
            client.upload(MASTERLIST, [], **options)


async def test_an_async_function_is_refused_at_once() -> None:
    async def later(result: ItemResult[Any]) -> bool:
        return True

    async with Emulator() as emulator, client_for(emulator) as client:
        with pytest.raises(ConfigurationError, match="async"):
            client.upload(MASTERLIST, [], retry=later)  # type: ignore[arg-type]  # on purpose


async def test_items_that_are_sent_again_share_full_batches_with_new_ones() -> None:
    async with Emulator(fail=fails(1, every=4)) as emulator, client_for(emulator, max_in_flight=2) as client:
        results = await client.upload(MASTERLIST, items(4_000), retry=at_once).collect()

    assert all(result.ok for result in results)
    sizes = [len(batch.items) for batch in emulator.batches]
    assert sum(sizes) == 5_000
    assert sum(size == 100 for size in sizes) >= 48
    mixed = [{int(each["asin"][2:]) % 4 == 0 for each in batch.items} for batch in emulator.batches]
    assert any(len(kinds) == 2 for kinds in mixed[3:])
    assert len(emulator.batches) <= 54


async def test_an_input_is_read_to_its_end_while_chunks_leave_that_are_not_full() -> None:
    """Repeated keys stand in each other's way: what is sent again leaves while items are being read."""
    async with (
        Emulator(fail=fails(1, every=2), processing=lambda rng, batch: rng.choice([0.0, 0.01])) as emulator,
        client_for(emulator, max_in_flight=8, linger=0.0) as client,
    ):
        rng = random.Random(1)
        for first in range(0, 3_000, 300):
            source = (item(first + rng.randrange(300)) for _ in range(2_000))
            results = await client.upload(MASTERLIST, source, retry=lambda result: result.index % 7 / 100).collect()
            assert len(results) == 2_000


async def test_a_newer_write_wins_over_an_older_one_that_failed() -> None:
    """The older one is not sent again, and says so."""
    rng = random.Random(7)
    source = [item(rng.randrange(300), target=float(number + 1)) for number in range(3_000)]

    def fail(each: dict[str, Any]) -> str | None:
        return "It is busy." if rng.random() < 0.3 else None

    async with (
        Emulator(processing=lambda rng, batch: rng.choice([0.0, 0.03]), fail=fail) as emulator,
        client_for(emulator, max_in_flight=8) as client,
    ):
        results = await client.upload(
            MASTERLIST, source, retry=lambda result: rng.choice([0, 0.01, 0.1]), max_item_tries=1_000
        ).collect()

    assert emulator.overlaps == []
    assert all(result.ok or result.message == f"It is busy. {OVERTAKEN}" for result in results)
    assert any(OVERTAKEN in result.message for result in results)
    last = {(each["asin"], "US"): each["percACoS"] for each in source}
    assert {key: applied["percACoS"] for key, applied in emulator.applied.items()} == last
    _check_order([each for batch in emulator.batches for each in batch.items])


def _check_order(sent: list[dict[str, Any]]) -> None:
    writes: dict[str, list[float]] = {}
    for each in sent:
        writes.setdefault(each["asin"], []).append(each["percACoS"])
    for each in writes.values():
        assert all(earlier <= later for earlier, later in pairwise(each)), "an older write was sent after a newer one"


async def test_a_newer_write_that_comes_while_the_older_waits_for_its_time_takes_its_place() -> None:
    read: list[ItemResult[Any]] = []

    async def source() -> AsyncIterator[dict[str, Any]]:
        yield item(0, target=10.0)
        await until(lambda: asked)
        yield item(0, target=20.0)
        await until(lambda: read)  # the older one's failure, long before its time

    asked: list[ItemResult[Any]] = []

    def much_later(result: ItemResult[Any]) -> float:
        asked.append(result)
        return 3600.0

    async with Emulator(fail=lambda each: "no" if each["percACoS"] == 10.0 else None) as emulator:
        async with client_for(emulator, linger=0.01) as client:
            async for result in client.upload(MASTERLIST, source(), retry=much_later):
                read.append(result)

    older, newer = sorted(read, key=lambda result: result.index)
    assert (older.outcome, older.message, older.tries) == (Outcome.FAILED, f"no {OVERTAKEN}", 1)
    assert newer.ok
    assert emulator.applied[item(0)["asin"], "US"]["percACoS"] == 20.0


async def test_a_newer_write_of_another_upload_takes_its_place_as_well() -> None:
    asked: list[ItemResult[Any]] = []

    def later(result: ItemResult[Any]) -> float:
        asked.append(result)
        return 0.2

    async with Emulator(fail=lambda each: "no" if each["percACoS"] == 10.0 else None) as emulator:
        async with client_for(emulator) as client:
            first = asyncio.ensure_future(client.upload(MASTERLIST, [item(0, target=10.0)], retry=later).collect())
            await until(lambda: asked)
            (newer,) = await client.upload(MASTERLIST, [item(0, target=20.0)]).collect()
            (older,) = await first

    assert newer.ok
    assert older.message == f"no {OVERTAKEN}"
    assert len(emulator.batches) == 2


async def test_an_overtaken_item_in_a_chunk_that_leaves_late_hides_no_newer_write_of_another_upload() -> None:
    """Three uploads write one key; the first fails, and stands in a chunk when the second comes, which fails too."""
    asked_of_first, asked_of_second = asyncio.Event(), asyncio.Event()
    first_told: list[ItemResult[Any]] = []
    may_end = asyncio.Event()

    async def source() -> AsyncIterator[dict[str, Any]]:
        for each in range(100):
            yield item(each, target=10.0)
        await may_end.wait()

    def at_once_of_first(result: ItemResult[Any]) -> bool:
        asked_of_first.set()
        return True

    def later(result: ItemResult[Any]) -> float:
        asked_of_second.set()
        return 3.0

    def fail(each: dict[str, Any]) -> str | None:
        return "no" if each["asin"] == item(7)["asin"] and each["percACoS"] < 30.0 else None

    async def read_first(client: QuartileClient) -> None:
        async for result in client.upload(MASTERLIST, source(), retry=at_once_of_first):
            first_told.append(result)

    async with Emulator(fail=fail) as emulator, client_for(emulator, linger=3.0) as client:
        first = asyncio.ensure_future(read_first(client))
        await asked_of_first.wait()  # it stands in a chunk that is being filled until the input ends
        second = asyncio.ensure_future(client.upload(MASTERLIST, [item(7, target=20.0)], retry=later).collect())
        await asked_of_second.wait()
        may_end.set()
        await first
        (newest,) = await client.upload(MASTERLIST, [item(7, target=30.0)]).collect()
        (newer,) = await second

    assert newest.ok
    assert [result.message for result in (first_told[-1], newer)] == [f"no {OVERTAKEN}"] * 2
    sent = [each for batch in emulator.batches for each in batch.items]
    assert [each["percACoS"] for each in sent if each["asin"] == item(7)["asin"]] == [10.0, 20.0, 30.0]


async def test_an_overtaken_item_in_a_chunk_does_not_take_the_place_of_a_newer_one_of_its_upload() -> None:
    """Both have failed, and stand in chunks that are being filled."""
    asked: list[float] = []
    told: list[ItemResult[Any]] = []
    tries: Counter[float] = Counter()

    def retry(result: ItemResult[Any]) -> float:
        asked.append(result.item["percACoS"])
        return 0.1 if result.item["percACoS"] == 10.0 else 0.0

    def fail(each: dict[str, Any]) -> str | None:
        if each["asin"] != item(7)["asin"]:
            return None
        tries[each["percACoS"]] += 1
        return "no" if tries[each["percACoS"]] == 1 else None

    async def source() -> AsyncIterator[dict[str, Any]]:
        for each in range(100):
            yield item(each, target=10.0)
        await until(lambda: asked)
        yield item(7, target=20.0)
        for each in range(200, 298):
            yield item(each, target=10.0)
        yield item(200, target=30.0)  # its key is in the open chunk: what was read goes into chunks
        await asyncio.sleep(0.3)  # the older one is due, and goes into the second chunk
        yield item(298, target=10.0)  # fills the first
        await until(lambda: len(asked) == 2)  # the newer one has failed, too

    async with Emulator(fail=fail) as emulator, client_for(emulator, linger=60.0) as client:
        async for result in client.upload(MASTERLIST, source(), retry=retry):
            told.append(result)

    older, newer = (result for result in sorted(told, key=lambda each: each.index) if result.index in (7, 100))
    assert (older.outcome, older.message, older.tries) == (Outcome.FAILED, f"no {OVERTAKEN}", 1)
    assert (newer.ok, newer.tries) == (True, 2)
    sent = [each for batch in emulator.batches for each in batch.items]
    assert [each["percACoS"] for each in sent if each["asin"] == item(7)["asin"]] == [10.0, 20.0, 20.0]
    assert emulator.applied[item(7)["asin"], "US"]["percACoS"] == 20.0
    assert len(told) == 201


async def test_an_overtaken_item_in_a_chunk_has_its_result_long_before_the_chunk_leaves() -> None:
    """Also where the upload ends before that: it is not among what nothing is known of."""
    told: list[ItemResult[Any]] = []

    async def source() -> AsyncIterator[dict[str, Any]]:
        for each in range(100):
            yield item(each, target=10.0)
        await asyncio.Event().wait()

    def fail(each: dict[str, Any]) -> str | None:
        return "no" if int(each["asin"][2:]) in (7, 8) and each["percACoS"] == 10.0 else None

    async def read(upload: Upload[Any]) -> None:
        async for result in upload:
            told.append(result)

    async with Emulator(fail=fail) as emulator, client_for(emulator, linger=60.0) as client:
        async with client.upload(MASTERLIST, source(), retry=at_once) as upload:
            reading = asyncio.ensure_future(read(upload))
            await until(lambda: len(told) == 98)
            await client.upload(MASTERLIST, [item(7, target=20.0)]).collect()
            await until(lambda: len(told) == 99)
            reading.cancel()
            await asyncio.wait([reading])

    assert (told[-1].index, told[-1].outcome, told[-1].message) == (7, Outcome.FAILED, f"no {OVERTAKEN}")
    assert [result.index for result in upload.unaccounted] == [8]
    assert len(emulator.batches) == 2


async def test_waiting_holds_no_slot_and_no_key_of_others() -> None:
    async with (
        Emulator(fail=fails(1, every=1_000)) as emulator,
        client_for(emulator, max_in_flight=1) as client,
    ):
        async with client.upload(MASTERLIST, items(300), retry=lambda result: 60.0) as upload:
            done = [await anext(results) for results in (aiter(upload),) for _ in range(299)]
            assert upload.progress.in_flight == 0
            assert upload.progress.done == 299
            others = await client.upload(MASTERLIST, items(300)).collect()

    assert len(done) == 299
    assert all(result.ok for result in others)


async def test_no_more_is_read_ahead_than_without_it_however_many_wait() -> None:
    read = 0

    def source() -> Any:
        nonlocal read
        for each in items(100_000):
            read += 1
            yield each

    async with Emulator(fail=fails(1)) as emulator, client_for(emulator, max_in_flight=2) as client:
        async with client.upload(MASTERLIST, source(), retry=lambda result: 60.0) as upload:
            reading = asyncio.ensure_future(anext(aiter(upload)))
            await until(lambda: read >= 1_000)
            await until(lambda: upload.progress.batches_finished == 10)
            await asyncio.sleep(0.05)
            assert read <= (2 + 8) * 100
            assert upload.progress.in_flight == 0
            reading.cancel()
            await asyncio.wait([reading])

    assert len(upload.unaccounted) == read


async def test_each_item_counts_once_in_progress_and_summary() -> None:
    async with Emulator(fail=fails(2, every=3)) as emulator, client_for(emulator) as client:
        upload = client.upload(MASTERLIST, items(90), retry=at_once)
        seen = [upload.progress.done async for _ in upload]
        summary = await client.upload(MASTERLIST, items(90), retry=at_once).summary()

    assert max(seen) == 90
    assert (upload.progress.read, upload.progress.done, upload.progress.succeeded) == (90, 90, 90)
    assert (summary.items, summary.succeeded, summary.failed) == (90, 90, 0)


@pytest.mark.parametrize("how", ["stop", "break", "error", "close"])
async def test_what_waits_when_the_upload_ends_is_unaccounted_with_the_servers_words(how: str) -> None:
    async with Emulator(fail=fails(1, every=50)) as emulator, nothing_is_left(emulator):
        async with client_for(emulator) as client:
            got: list[ItemResult[Any]] = []
            async with client.upload(MASTERLIST, items(200), retry=lambda result: 60.0) as upload:
                try:
                    async for result in upload:
                        got.append(result)
                        if len(got) == 196:
                            if how == "break":
                                break
                            if how == "stop":
                                upload.stop()
                            if how == "close":
                                await client.aclose()
                            if how == "error":
                                upload._supervisor.fail(QuartileError("It is over."))
                except QuartileError as error:
                    assert how in ("error", "close")
                    assert len(error.unaccounted) == 4

    assert [result.index for result in upload.unaccounted] == [0, 50, 100, 150]
    for result in upload.unaccounted:
        assert result.outcome is Outcome.UNKNOWN
        assert not result.not_sent
        assert result.batch_id in {batch.id for batch in emulator.batches}
        assert "before this was sent again" in result.message
        assert "It is busy." in result.message
    assert all(not order._watched for order in client._shared.orders.values())


async def test_an_item_whose_next_try_could_not_be_sent_has_failed_and_its_companions_are_unknown() -> None:
    asked: list[ItemResult[Any]] = []

    def note(result: ItemResult[Any]) -> bool:
        asked.append(result)
        return True

    async def source() -> AsyncIterator[dict[str, Any]]:
        for each in items(150):
            yield each
            if each == item(99):
                await until(lambda: asked)

    async with Emulator(fail=fails(1, every=1_000)) as emulator, client_for(emulator) as client:
        emulator.add(Fault(on="submit", status=400, body={"detail": "not now"}, after=1))
        results = await client.upload(MASTERLIST, source(), retry=note).collect()

    assert len(emulator.batches) == 1
    assert all(result.ok for result in results[1:100])
    assert results[0].outcome is Outcome.FAILED
    assert results[0].tries == 1
    assert not results[0].not_sent
    assert "It is busy. It could not be sent again: " in results[0].message
    assert "not now" in results[0].message
    assert all(result.not_sent and result.outcome is Outcome.UNKNOWN for result in results[100:])


async def test_a_retry_whose_answer_is_lost_for_good_is_unknown() -> None:
    once = Resource[dict[str, Any]]("unmanaged/asins", key="asin", idempotent=False)
    async with Emulator(fail=fails(1)) as emulator, client_for(emulator) as client:
        emulator.add(Fault(on="submit", drop="after", after=1))
        (result,) = await client.upload(once, [item(0)], retry=at_once).collect()

    assert (result.outcome, result.tries, result.not_sent) == (Outcome.UNKNOWN, 2, False)


async def test_a_journal_keeps_the_last_result_and_its_tries(tmp_path: Path) -> None:
    async with Emulator(fail=fails(2, every=7)) as emulator, client_for(emulator) as client:
        path = tmp_path / "catalogue.journal"
        told = await client.upload(MASTERLIST, items(300), journal=path, retry=at_once).collect()
        requests = len(emulator.requests)
        again = await client.upload(MASTERLIST, items(300), journal=path, retry=at_once).collect()

    assert len(emulator.requests) == requests
    assert all(result.replayed for result in again)
    assert {result.tries for result in told} == {1, 3}
    assert [(each.outcome, each.batch_id, each.tries) for each in again] == [
        (each.outcome, each.batch_id, each.tries) for each in told
    ]


async def test_a_failure_that_is_final_in_a_journal_is_not_sent_again(tmp_path: Path) -> None:
    async with Emulator(fail=fails(1)) as emulator, client_for(emulator) as client:
        path = tmp_path / "catalogue.journal"
        await client.upload(MASTERLIST, items(3), journal=path).collect()
        results = await client.upload(MASTERLIST, items(3), journal=path, retry=at_once).collect()

    assert [(result.outcome, result.tries, result.replayed) for result in results] == [(Outcome.FAILED, 1, True)] * 3


async def test_what_waits_when_an_upload_with_a_journal_is_stopped_is_sent_by_the_next_run(tmp_path: Path) -> None:
    path = tmp_path / "catalogue.journal"
    async with Emulator(fail=fails(1, every=50)) as emulator, client_for(emulator) as client:
        async with client.upload(MASTERLIST, items(200), journal=path, retry=lambda result: 60.0) as upload:
            got = []
            async for result in upload:
                got.append(result)
                if len(got) == 196:
                    upload.stop()
        results = await client.upload(MASTERLIST, items(200), journal=path, retry=lambda result: 60.0).collect()

    assert all(result.ok for result in results)
    assert [result.index for result in results if not result.replayed] == [0, 50, 100, 150]
