"""The same lines again: what was finished is replayed, what was not is gone on with, and another upload is refused."""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
import stat
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from quartile_async import (
    MASTERLIST,
    UNMANAGED_ASINS,
    ConfigurationError,
    ItemResult,
    JournalError,
    LoginAuth,
    Outcome,
    QuartileClient,
    QuartileError,
    QuotaExceededError,
    Resource,
)
from quartile_async._journal import Contents, Subject
from quartile_async.emulator import Emulator, Fault

from ..behaviour.conftest import client_for, item, items, until
from .checks import seen

pytestmark = pytest.mark.usefixtures("no_task_is_left")


def told(results: list[ItemResult[Any]]) -> list[tuple[object, ...]]:
    return [seen(result) for result in sorted(results, key=lambda result: result.index)]


async def test_a_finished_upload_is_replayed_without_a_request_and_says_when_it_had_finished(
    journal: Any, emulator: Emulator, client: QuartileClient, caplog: pytest.LogCaptureFixture
) -> None:
    flawed = [*items(250), {"asin": "x"}, ValueError("a torn record"), None]
    first = await client.upload(MASTERLIST, flawed, journal=journal).collect()
    requests = len(emulator.requests)

    with caplog.at_level(logging.WARNING, "quartile_async"):
        second = await client.upload(MASTERLIST, flawed, journal=journal).collect()

    assert told(second) == told(first)
    assert all(result.replayed for result in second)
    assert not any(result.replayed for result in first)
    assert all(result.item is flawed[result.index] for result in second)
    assert len(emulator.requests) == requests
    assert "had finished on 20" in caplog.text
    assert str(journal) in caplog.text


async def test_an_input_that_grew_at_its_end_goes_on_from_there(
    journal: Any, emulator: Emulator, client: QuartileClient, caplog: pytest.LogCaptureFixture
) -> None:
    await client.upload(MASTERLIST, items(130), journal=journal).collect()
    grown = await client.upload(MASTERLIST, items(300), journal=journal).collect()

    assert [result.replayed for result in grown] == [True] * 130 + [False] * 170
    assert all(result.ok for result in grown)
    assert emulator.items_received == 300
    assert "Nothing was sent" not in caplog.text
    again = await client.upload(MASTERLIST, items(300), journal=journal).collect()
    assert told(again) == told(grown)
    assert emulator.items_received == 300


def _other_item(items: list[Any]) -> list[Any]:
    return [*items[:220], {**items[220], "percACoS": 99.0}, *items[221:]]


def _other_order(items: list[Any]) -> list[Any]:
    return [*items[:220], items[221], items[220], *items[222:]]


def _one_less(items: list[Any]) -> list[Any]:
    return [*items[:220], *items[221:], item(1_000)]


@pytest.mark.parametrize("change", [_other_item, _other_order, _one_less])
@pytest.mark.parametrize("slow", [False, True])
async def test_another_input_is_refused_with_the_index_at_which_they_part_before_anything_is_sent(
    journal: Any,
    emulator: Emulator,
    client: QuartileClient,
    change: Callable[[list[Any]], list[Any]],
    slow: bool,
) -> None:
    await _left_in_the_middle(client, emulator, journal)
    before = len(emulator.requests)
    changed = change(items(300))

    with pytest.raises(JournalError, match="part at index 220") as failure:
        await client.upload(MASTERLIST, _source(changed) if slow else changed, journal=journal).collect()

    assert len(emulator.requests) == before
    assert str(journal) in str(failure.value)
    accounted = [*failure.value.results, *failure.value.unaccounted]
    assert sorted(result.index for result in accounted) == list(range(len(accounted)))
    assert not any(result.not_sent for result in failure.value.unaccounted)
    # Nothing has happened to the journal: the right input goes on.
    results = await client.upload(MASTERLIST, items(300), journal=journal).collect()
    assert all(result.ok for result in results)
    assert emulator.items_received == 300


async def test_a_shorter_input_is_refused_with_both_lengths(
    journal: Any, emulator: Emulator, client: QuartileClient
) -> None:
    await _left_in_the_middle(client, emulator, journal)
    before = len(emulator.requests)

    with pytest.raises(JournalError, match=r"ends after 240 items, and .* has 300"):
        await client.upload(MASTERLIST, items(240), journal=journal).collect()

    assert len(emulator.requests) == before


async def _left_in_the_middle(client: QuartileClient, emulator: Emulator, journal: Any) -> None:
    """Three batches are taken, and the end of one is told."""
    emulator.add(Fault(on="poll", status=503, times=None, after=1))
    async with client.upload(MASTERLIST, items(300), journal=journal) as upload:
        async for _ in upload:
            break
        await until(lambda: len(emulator.batches) == 3)
    emulator.clear_faults()


async def _source(items: list[Any]) -> AsyncIterator[Any]:
    for each in items:
        yield each


@pytest.mark.parametrize(
    ("resource", "settings", "words"),
    [
        (UNMANAGED_ASINS, {}, "resource was 'process/masterlist"),
        (Resource("process/masterlist", key="asin"), {}, "resource was 'process/masterlist (asin, countryCode)'"),
        (MASTERLIST, {"base_url": "http://localhost:1"}, "server was 'http://127.0.0.1"),
        (MASTERLIST, {"account": "acme-de"}, "account was 'of key and user"),
        (MASTERLIST, {"subscription_key": "another"}, "account was 'of key and user"),
        (MASTERLIST, {"auth": LoginAuth("somebody", "else")}, "account was 'of key and user"),
    ],
)
async def test_another_resource_server_or_account_is_refused_and_the_message_says_which(
    path: Path,
    emulator: Emulator,
    client: QuartileClient,
    resource: Resource[Any],
    settings: dict[str, Any],
    words: str,
) -> None:
    await client.upload(MASTERLIST, items(5), journal=path).collect()
    before, content = len(emulator.requests), path.read_bytes()

    async with client_for(emulator, **settings) as other:
        with pytest.raises(JournalError) as failure:
            await other.upload(resource, items(5), journal=path).collect()

    assert words in str(failure.value)
    assert len(emulator.requests) == before
    assert path.read_bytes() == content


async def test_an_account_is_known_by_its_label_whatever_its_key(journal: Any, emulator: Emulator) -> None:
    async with client_for(emulator, account="acme-de") as client:
        await client.upload(MASTERLIST, items(5), journal=journal).collect()
    async with client_for(emulator, account="acme-de", subscription_key="another") as client:
        results = await client.upload(MASTERLIST, items(5), journal=journal).collect()
        assert all(result.replayed for result in results)
        with pytest.raises(JournalError, match="account was 'acme-de' and is now 'acme-fr'"):
            await client.for_account("acme-fr", auth="x").upload(MASTERLIST, items(5), journal=journal).collect()


async def test_two_uploads_on_one_journal_are_refused_at_once(
    journal: Any, emulator: Emulator, client: QuartileClient
) -> None:
    async def held_open() -> AsyncIterator[dict[str, Any]]:
        for each in items(100):
            yield each
        await asyncio.Event().wait()

    async with client.upload(MASTERLIST, held_open(), journal=journal) as upload:
        iteration = aiter(upload)
        await anext(iteration)
        with pytest.raises(JournalError, match="in use by another upload"):
            await client.upload(MASTERLIST, items(300), journal=journal).collect()

    results = await client.upload(MASTERLIST, items(300), journal=journal).collect()
    assert all(result.ok for result in results)
    assert emulator.items_received == 300


async def test_items_that_an_exhausted_quota_left_unsent_are_sent_by_the_rerun(
    journal: Any, emulator: Emulator, client: QuartileClient
) -> None:
    quota = "Out of call volume quota. Quota will be replenished in 02:12:03."
    emulator.add(Fault(on="submit", status=403, body={"message": quota}, after=2, times=None))
    with pytest.raises(QuotaExceededError) as failure:
        await client.upload(MASTERLIST, items(1_000), journal=journal).collect()
    assert any(result.not_sent for result in failure.value.unaccounted)
    emulator.clear_faults()

    results = await client.upload(MASTERLIST, items(1_000), journal=journal).collect()

    assert all(result.ok and not result.resent for result in results)
    assert emulator.items_received == 1_000


async def test_an_upload_that_was_stopped_goes_on(journal: Any, emulator: Emulator, client: QuartileClient) -> None:
    async with client.upload(MASTERLIST, items(5_000), journal=journal) as upload:
        async for _ in upload:
            upload.stop()
    assert 0 < emulator.items_received < 5_000

    results = await client.upload(MASTERLIST, items(5_000), journal=journal).collect()

    assert all(result.ok for result in results)
    assert emulator.items_received == 5_000


async def test_a_batch_whose_id_came_while_the_upload_was_being_left_is_not_sent_again(
    journal: Any, emulator: Emulator, client: QuartileClient
) -> None:
    emulator.add(Fault(on="submit", delay=0.3))
    upload = client.upload(MASTERLIST, items(50), journal=journal)
    running = asyncio.ensure_future(upload.collect())
    await until(lambda: emulator.batches)
    running.cancel()
    await asyncio.wait([running])
    assert {result.batch_id for result in upload.unaccounted} == {emulator.batches[0].id}

    results = await client.upload(MASTERLIST, items(50), journal=journal).collect()

    assert {result.batch_id for result in results} == {emulator.batches[0].id}
    assert len(emulator.batches) == 1


async def test_what_certainly_never_went_out_is_sent_by_the_rerun_even_where_nothing_may_be_sent_twice(
    journal: Any, emulator: Emulator
) -> None:
    rows = [{"asin": f"B0{number}"} for number in range(120)]
    emulator.add(Fault(on="submit", status=401, body={"message": "invalid subscription key"}, times=None))
    async with client_for(emulator) as client:
        with pytest.raises(QuartileError):
            await client.upload(UNMANAGED_ASINS, rows, journal=journal).collect()
        emulator.clear_faults()
        results = await client.upload(UNMANAGED_ASINS, rows, journal=journal).collect()

    assert all(result.ok for result in results)


async def test_a_batch_that_was_given_up_is_asked_for_once_more_and_may_be_learned(journal: Any) -> None:
    ends = [False]
    async with (
        Emulator(processing=0.0) as emulator,
        client_for(emulator, batch_deadline=0.3) as client,
    ):
        emulator.add(
            lambda request: (
                Fault(on="poll", status=200, body={"batchId": emulator.batches[0].id, "status": "RUNNING"})
                if request.method == "GET" and not ends[0]
                else None
            )
        )
        first = await client.upload(MASTERLIST, items(50), journal=journal).collect()
        assert {result.outcome for result in first} == {Outcome.UNKNOWN}
        asked = len(emulator.requests)

        second = await client.upload(MASTERLIST, items(50), journal=journal).collect()
        assert told(second) == told(first)
        assert all(result.replayed for result in second)
        assert len(emulator.requests) == asked + 1

        ends[0] = True
        third = await client.upload(MASTERLIST, items(50), journal=journal).collect()
        assert all(result.ok and not result.replayed for result in third)
        fourth = await client.upload(MASTERLIST, items(50), journal=journal).collect()
        assert told(fourth) == told(third)
        assert len(emulator.requests) == asked + 2
        assert len(emulator.batches) == 1


async def test_a_batch_that_the_server_has_forgotten_ends_unknown_and_does_not_hang(journal: Any) -> None:
    async with Emulator(processing=60.0) as emulator, client_for(emulator, not_visible_grace=0.3) as client:
        async with client.upload(MASTERLIST, items(50), journal=journal) as upload:
            reading = asyncio.ensure_future(anext(aiter(upload), None))
            await until(lambda: len(emulator.requests) > 1)
        await asyncio.wait([reading])
        emulator.add(Fault(on="poll", status=404, times=None))
        results = await client.upload(MASTERLIST, items(50), journal=journal).collect()

    assert {result.outcome for result in results} == {Outcome.UNKNOWN}
    assert {result.batch_id for result in results} == {emulator.batches[0].id}
    assert "has not known it for" in results[0].message


async def test_a_newer_write_is_told_of_an_older_one_that_an_earlier_run_lost(journal: Any, emulator: Emulator) -> None:
    emulator.add(Fault(on="submit", drop="after", times=1))
    once = Resource[Any]("process/masterlist", key=("asin", "countryCode"), idempotent=False)
    async with client_for(emulator) as client:
        (lost,) = await client.upload(once, [item(1, 20.0)], journal=journal).collect()
    async with client_for(emulator) as client:
        again, newer = await client.upload(once, [item(1, 20.0), item(1, 30.0)], journal=journal).collect()

    assert lost.outcome is again.outcome is Outcome.UNKNOWN
    assert again.replayed
    assert newer.ok
    assert "An older write of this key" in newer.message


async def test_what_was_not_sent_is_not_sent_after_a_newer_write_of_its_key(journal: Any, emulator: Emulator) -> None:
    emulator.add(Fault(on="submit", status=400, body={"detail": "not today"}, times=1))
    writes = [item(1, 20.0), item(1, 30.0)]
    async with client_for(emulator) as client:
        first = await client.upload(MASTERLIST, writes, journal=journal).collect()
        second = await client.upload(MASTERLIST, writes, journal=journal).collect()

    assert [result.outcome for result in first] == [Outcome.UNKNOWN, Outcome.SUCCEEDED]
    assert [result.outcome for result in second] == [Outcome.UNKNOWN, Outcome.SUCCEEDED]
    assert "index 1, has taken its place" in second[0].message
    assert second[0].not_sent
    assert [write["percACoS"] for write in emulator.applied_to("process/masterlist")] == [30.0]


async def test_no_secret_is_in_the_journal_and_only_its_owner_can_read_it(path: Path, emulator: Emulator) -> None:
    auth = LoginAuth(emulator.username, emulator.password)
    umask = os.umask(0)
    try:
        async with client_for(emulator, auth=auth) as client, client.upload(MASTERLIST, items(300), journal=path) as up:
            async for _ in up:
                log = path.with_name(f"{path.name}-wal")
                content = path.read_bytes() + log.read_bytes()
                modes = {stat.S_IMODE(file.stat().st_mode) for file in (path, log)}
                break
    finally:
        os.umask(umask)

    assert modes == {0o600}
    assert b"intended" in content
    for secret in (emulator.subscription_key, emulator.username, emulator.password, emulator.access_token):
        assert secret.encode() not in content


async def test_a_journal_that_others_could_read_is_closed_to_them(path: Path, client: QuartileClient) -> None:
    await client.upload(MASTERLIST, items(5), journal=path).collect()
    path.chmod(0o644)
    await client.upload(MASTERLIST, items(5), journal=path).collect()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_a_finished_journal_is_one_small_file_of_a_known_layout(
    path: Path, emulator: Emulator, client: QuartileClient
) -> None:
    results = await client.upload(MASTERLIST, items(10_000), journal=path).collect()

    assert list(path.parent.iterdir()) == [path]
    rows = sum(len(str(result.row)) for result in results)
    assert path.stat().st_size < rows / 2
    with sqlite3.connect(path) as database:
        assert database.execute("PRAGMA user_version").fetchone() == (1,)
    database.close()


@pytest.mark.parametrize("journal", ["", 5, b"catalogue.journal", object()])
def test_a_journal_that_is_none_is_refused_before_anything_happens(journal: Any) -> None:
    client = QuartileClient(subscription_key="k", auth="t")
    with pytest.raises(ConfigurationError, match="neither the path of a file nor a Journal"):
        client.upload(MASTERLIST, [], journal=journal)


async def test_uploads_with_journals_run_side_by_side(tmp_path: Path, emulator: Emulator) -> None:
    catalogues = [[item(number, country=country) for number in range(450)] for country in ("US", "DE", "FR")]
    async with client_for(emulator) as client:
        for _ in range(2):
            done = await asyncio.gather(
                *(
                    client.upload(MASTERLIST, catalogue, journal=str(tmp_path / f"{number}.journal")).collect()
                    for number, catalogue in enumerate(catalogues)
                )
            )
    assert all(result.ok and result.replayed for results in done for result in results)
    assert emulator.items_received == 1_350


async def test_an_empty_upload_is_finished_too(journal: Any, client: QuartileClient) -> None:
    assert await client.upload(MASTERLIST, [], journal=journal).collect() == []
    assert await client.upload(MASTERLIST, [], journal=journal).collect() == []
    assert all(result.ok for result in await client.upload(MASTERLIST, items(3), journal=journal).collect())


class Strange:
    """Nothing that JSON knows; its usual words have an address in them."""


async def test_items_that_json_does_not_know_are_recognised_all_the_same(journal: Any, client: QuartileClient) -> None:
    def strange() -> list[Any]:
        return [item(1), Strange(), {"asin": Strange()}, "\ud800", float("nan"), b"bytes", ValueError("x"), item(2)]

    first = await client.upload(MASTERLIST, strange(), journal=journal).collect()
    second = await client.upload(MASTERLIST, strange(), journal=journal).collect()

    assert [result.outcome for result in second] == [result.outcome for result in first]
    assert all(result.replayed for result in second)


class SlowToOpen:
    """A journal that is opened when it is told to, and has nothing in it."""

    def __init__(self) -> None:
        self.may_open = asyncio.Event()
        self.closed = False

    async def open(self, subject: Subject) -> Contents:
        await self.may_open.wait()
        return Contents(0, 0, 0.0, 0.0, None)

    async def items_from(self, index: int) -> list[Any]:
        return []

    async def batches_from(self, first: int, number: int) -> list[Any]:
        return []

    async def write(self, *records: Any) -> None: ...

    async def close(self, *, finished: bool) -> None:
        self.closed = True


@pytest.mark.parametrize("how", ["stop", "aclose", "client"])
@pytest.mark.parametrize("opened_before", [False, True])
async def test_an_upload_that_is_left_while_its_journal_is_opened_ends_and_reads_nothing(
    how: str, opened_before: bool, emulator: Emulator
) -> None:
    journal = SlowToOpen()
    client = client_for(emulator)
    upload = client.upload(MASTERLIST, items(5_000), journal=journal)
    results = asyncio.ensure_future(upload.collect())
    for _ in range(3):
        await asyncio.sleep(0)
    if opened_before:
        journal.may_open.set()  # it is about to be open: the upload learns it in the next turn

    async with asyncio.timeout(5):
        if how == "stop":
            upload.stop()
            journal.may_open.set()
            assert await results == []
        else:
            await (upload.aclose() if how == "aclose" else client.aclose())
            await asyncio.wait([results])
            results.exception()
        await client.aclose()

    assert upload.progress.read == 0
    assert journal.closed is (how == "stop" or opened_before), "what was never opened is not closed"
    assert not emulator.requests
