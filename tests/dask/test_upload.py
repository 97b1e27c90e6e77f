"""Uploads by the workers of a real cluster, with a real Redis: what comes out, stopping, leaving, going on."""

from __future__ import annotations

import asyncio
import os
import pickle
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import dask.bag
import dask.dataframe
import pandas as pd
import pydantic
import pytest

from quartile_async import MASTERLIST, ConfigurationError, JournalError, Outcome, Resource
from quartile_async import dask as quartile_dask
from quartile_async._dask import channel
from quartile_async._dask.channel import CallerEnd
from quartile_async._shared.connection import Link
from quartile_async.dask import DaskUpload, PartItemResult, PartsFailedError, PartState
from quartile_async.emulator import ThreadedEmulator

from ..redis.server import RedisServer
from .accounts import credentials, refused

LEASE = 2.0

Open = Callable[..., DaskUpload]


def catalogue(path: Path, count: int, *, first: int = 0) -> Path:
    rows = (f"B0{number:08d},US,{number % 50 + 5}\n" for number in range(first, first + count))
    path.write_text("asin,countryCode,percACoS\n" + "".join(rows))
    return path


@pytest.fixture
def emulator() -> Iterator[ThreadedEmulator]:
    with ThreadedEmulator(processing=lambda rng, items: PROCESSING[0]) as emulator:
        yield emulator


PROCESSING = [0.05]
"""Seconds that the server takes for a batch."""


@pytest.fixture
def slowly() -> Iterator[None]:
    PROCESSING[0] = 0.5
    yield
    PROCESSING[0] = 0.05


@pytest.fixture
def opened(emulator: ThreadedEmulator, dask_client: Any, server: RedisServer) -> Open:
    """Opens an upload of a source; the same name goes on with it."""

    def opened(source: Any, name: str = "a catalogue", **options: Any) -> DaskUpload:
        settings = {"part_items": 1_000, "rate": "100000/second", "lease": LEASE, "base_url": emulator.url} | options
        return quartile_dask.upload(source, MASTERLIST, journal=(server.url, name), dask_client=dask_client, **settings)

    return opened


def taken(upload: DaskUpload) -> list[PartItemResult]:
    return list(upload)


def until_done(upload: DaskUpload, items: int) -> Iterator[PartItemResult]:
    """The results, until there are so many."""
    for count, result in enumerate(upload, 1):
        yield result
        if count >= items:
            return


@pytest.mark.slow
def test_each_item_of_a_long_file_has_one_result_with_its_part_and_place(opened: Open, tmp_path: Path) -> None:
    upload = opened(catalogue(tmp_path / "c.csv", 2_500))

    results = taken(upload)

    assert len(upload.parts) == 3
    assert sorted((result.part, result.index) for result in results) == [
        (number // 1_000, number % 1_000) for number in range(2_500)
    ]
    assert all(result.item.line == result.part * 1_000 + result.index + 2 for result in results)
    assert Counter(result.outcome for result in results) == {Outcome.SUCCEEDED: 2_500}
    summary, progress = upload.summary, upload.progress
    assert (summary.items, summary.succeeded, summary.batches) == (2_500, 2_500, 25)
    assert [(end.state, end.read) for end in summary.parts] == [
        (PartState.FINISHED, 1_000),
        (PartState.FINISHED, 1_000),
        (PartState.FINISHED, 500),
    ]
    assert all(end.worker.startswith("tcp://") for end in summary.parts)
    assert (progress.done, progress.parts, progress.parts_ended, progress.in_flight) == (2_500, 3, 3, 0)


def test_the_same_call_replays_what_has_ended_and_sends_nothing(
    opened: Open, tmp_path: Path, emulator: ThreadedEmulator
) -> None:
    path = catalogue(tmp_path / "c.csv", 1_200)
    first = taken(opened(path))
    batches = len(emulator.batches)

    again = taken(opened(path))

    assert len(emulator.batches) == batches
    assert all(result.replayed for result in again)
    assert {(each.part, each.index, each.id) for each in again} == {(each.part, each.index, each.id) for each in first}


def test_a_bag_and_a_dataframe_are_uploaded_by_partitions(opened: Open) -> None:
    items = [{"asin": f"B0{number:08d}", "countryCode": "US", "percACoS": 20.0} for number in range(300)]

    of_bag = taken(opened(dask.bag.from_sequence(items, npartitions=3), "a bag"))
    of_frame = taken(opened(dask.dataframe.from_pandas(pd.DataFrame(items), npartitions=2), "a frame"))

    assert Counter(result.part for result in of_bag) == {0: 100, 1: 100, 2: 100}
    assert Counter(result.part for result in of_frame) == {0: 150, 1: 150}
    assert all(result.ok and result.item in items for result in (*of_bag, *of_frame))


def test_each_account_goes_with_its_own_credentials(opened: Open, tmp_path: Path) -> None:
    files = [(account, catalogue(tmp_path / f"{account}.csv", 150)) for account in ("acme", "other")]

    results = taken(opened(files, credentials=credentials))

    assert Counter(result.part for result in results) == {0: 150, 1: 150}
    assert all(result.ok for result in results)
    with pytest.raises(ConfigurationError, match="files of 2 accounts, and no credentials"):
        opened(files)


@pytest.mark.slow
def test_keys_of_several_parts_reach_the_server_in_the_order_of_the_input(
    opened: Open, tmp_path: Path, emulator: ThreadedEmulator, slowly: None
) -> None:
    rows = [f"B0{number % 900:08d},US,{number + 5}\n" for number in range(2_700)]
    path = tmp_path / "c.csv"
    path.write_text("asin,countryCode,percACoS\n" + "".join(rows))

    results = taken(opened(path, part_items=900))

    assert len(results) == 2_700
    assert emulator.overlaps == []
    assert {item["percACoS"] for item in emulator.applied.values()} == {
        float(number + 5) for number in range(1_800, 2_700)
    }


@pytest.mark.slow
def test_a_stop_ends_all_submitting_within_seconds_and_says_what_is_where(
    opened: Open, tmp_path: Path, emulator: ThreadedEmulator, slowly: None
) -> None:
    path = catalogue(tmp_path / "c.csv", 20_000)
    upload = opened(path, max_in_flight=4)
    results: list[PartItemResult] = []

    for result in upload:
        results.append(result)
        if len(results) == 500:
            threading.Thread(target=upload.stop).start()
            stopped_at = time.monotonic()
    submitted = [each.time for each in emulator.requests if each.kind == "submit"]

    assert max(submitted) < stopped_at + 4.0
    assert 500 <= len(results) < 20_000
    ends = upload.summary.parts
    assert {end.state for end in ends} == {PartState.STOPPED, PartState.NOT_BEGUN}
    assert len(results) + sum(end.unsent for end in ends) == sum(end.read for end in ends)
    assert not any(end.in_batches or end.in_doubt for end in ends)
    assert all(each.not_sent for each in upload.unaccounted)
    assert len(upload.unaccounted) == sum(end.unsent for end in ends)


@pytest.mark.slow
def test_what_was_left_is_gone_on_with_and_no_batch_is_sent_twice(
    opened: Open, tmp_path: Path, emulator: ThreadedEmulator, slowly: None
) -> None:
    path = catalogue(tmp_path / "c.csv", 3_000)
    with opened(path, max_in_flight=6) as upload:
        first = list(until_done(upload, 600))
    requests = len(emulator.requests)
    time.sleep(0.5)
    assert len(emulator.requests) == requests, "nothing is asked for by those who were left"

    PROCESSING[0] = 0.05
    results = taken(opened(path, max_in_flight=6))

    assert sorted((each.part, each.index) for each in results) == [(n // 1_000, n % 1_000) for n in range(3_000)]
    assert all(each.ok for each in results)
    assert len(emulator.batches) == 30
    told = {(each.part, each.index): each.id for each in results}
    assert all(told[each.part, each.index] == each.id for each in first)


def test_a_break_out_of_the_loop_stops_all_workers_also_while_the_upload_is_held(
    opened: Open, tmp_path: Path, emulator: ThreadedEmulator, slowly: None
) -> None:
    upload = opened(catalogue(tmp_path / "c.csv", 3_000), max_in_flight=2)

    for _ in upload:
        break
    submitted = len(emulator.batches)
    time.sleep(1.0)

    assert len(emulator.batches) == submitted < 30
    assert "ended" in repr(upload)


def slowly_made(items: Iterable[Any]) -> list[Any]:
    time.sleep(1.0)
    return list(items)


def test_a_stop_before_the_upload_is_iterated_or_while_its_input_is_divided_ends_it_soon(opened: Open) -> None:
    items = [{"asin": f"B0{number:08d}", "countryCode": "US", "percACoS": 20.0} for number in range(40)]
    bag = dask.bag.from_sequence(items, npartitions=20).map_partitions(slowly_made)
    began_at = time.monotonic()

    never_begun = opened(bag, "first")
    never_begun.stop()
    assert taken(never_begun) == []
    stopped_soon = opened(bag, "second")
    threading.Timer(0.5, stopped_soon.stop).start()
    assert taken(stopped_soon) == []

    assert time.monotonic() - began_at < 5.0
    assert (never_begun.parts, stopped_soon.parts) == ((), ())


@pytest.mark.slow
def test_a_stop_does_not_wait_for_parts_that_no_worker_has_begun(opened: Open) -> None:
    items = [{"asin": f"B0{number:08d}", "countryCode": "US", "percACoS": 20.0} for number in range(20)]
    bag = dask.bag.from_sequence(items, npartitions=20).map_partitions(slowly_made)
    upload, results, stopped_at = opened(bag), [], 0.0

    for result in upload:
        results.append(result)
        if not stopped_at:
            upload.stop()
            stopped_at = time.monotonic()

    assert time.monotonic() - stopped_at < 4.0
    states = Counter(end.state for end in upload.summary.parts)
    assert states[PartState.NOT_BEGUN] >= 15
    assert states[PartState.FAILED] == 0


@pytest.mark.slow
def test_a_part_whose_worker_dies_while_it_is_stopped_is_not_said_to_have_sent_nothing(
    opened: Open, tmp_path: Path, emulator: ThreadedEmulator, dask_client: Any
) -> None:
    PROCESSING[0] = 3600.0
    upload = opened(catalogue(tmp_path / "c.csv", 500), max_in_flight=4)

    def stop_then_kill() -> None:
        while upload.progress.in_flight < 4:
            time.sleep(0.02)
        upload.stop()
        time.sleep(1.5)
        (busy,) = (where for where, keys in dask_client.processing().items() if keys)
        os.kill(dask_client.run(os.getpid)[busy], signal.SIGKILL)

    threading.Thread(target=stop_then_kill).start()
    results = taken(upload)
    PROCESSING[0] = 0.05

    assert results == []
    (end,) = upload.summary.parts
    assert (end.state, end.read, end.batches, end.in_doubt) == (PartState.STOPPED, 500, 4, 500)


@pytest.mark.slow
def test_a_lease_that_is_shorter_than_a_second_is_kept(
    opened: Open, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    results = taken(opened(catalogue(tmp_path / "c.csv", 2_000), lease=0.6, max_in_flight=2))

    assert len(results) == 2_000
    assert "run again" not in caplog.text


@pytest.mark.slow
def test_a_redis_that_is_full_for_too_long_ends_the_upload_although_it_can_be_read(
    opened: Open, tmp_path: Path, server: RedisServer, slowly: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channel, "PATIENCE", 1.0)
    upload = opened(catalogue(tmp_path / "c.csv", 2_000), max_in_flight=2)
    try:
        with pytest.raises(JournalError, match=r"has not done its part for .* OutOfMemoryError"):
            for _ in upload:
                server.say("CONFIG", "SET", "maxmemory", "1")
    finally:
        server.say("CONFIG", "SET", "maxmemory", "0")


def test_a_caller_that_was_taken_for_dead_does_not_overwrite_the_plan_of_who_has_taken_over(
    server: RedisServer,
) -> None:
    async def late() -> tuple[bool, bool, bytes | None]:
        link = Link(server.url)
        first, second = (CallerEnd(link, "a catalogue", run, 0.05) for run in ("first", "second"))
        await first.begin()
        while await second.begin() > 0.0:
            await asyncio.sleep(0.01)
        kept = await second.keep_plan(b"the second's"), await first.keep_plan(b"the first's")
        found = await second.plan()
        await link.aclose()
        return *kept, found

    assert asyncio.run(late()) == (True, False, b"the second's")


@pytest.mark.slow
def test_a_worker_that_is_killed_costs_no_result_and_gives_none_twice(
    opened: Open, tmp_path: Path, emulator: ThreadedEmulator, dask_client: Any, slowly: None
) -> None:
    upload = opened(catalogue(tmp_path / "c.csv", 4_000), max_in_flight=8)
    results: list[PartItemResult] = []

    for result in upload:
        results.append(result)
        if len(results) == 500:
            processes = dask_client.run(os.getpid)
            os.kill(next(iter(processes.values())), signal.SIGKILL)

    assert sorted((each.part, each.index) for each in results) == [(n // 1_000, n % 1_000) for n in range(4_000)]
    assert all(each.ok for each in results)
    assert len(emulator.batches) <= 40 + 8


def test_an_account_whose_token_is_refused_costs_itself_and_the_error_names_its_part(
    opened: Open, tmp_path: Path
) -> None:
    accounts = ("acme", "refused", "other")
    files = [(account, catalogue(tmp_path / f"{account}.csv", 100)) for account in accounts]
    results: list[PartItemResult] = []

    with pytest.raises(PartsFailedError, match="Part 1 of 3 ended by an error: AuthenticationError: ") as caught:
        results.extend(opened(files, credentials=credentials))

    assert Counter(result.part for result in results) == {0: 100, 2: 100}
    (end,) = caught.value.ends
    assert (end.part, end.unsent) == (1, 100)
    assert len(caught.value.unaccounted) == 100


@pytest.mark.slow
def test_credentials_that_are_refused_for_all_stop_all(opened: Open, tmp_path: Path) -> None:
    upload = opened(catalogue(tmp_path / "c.csv", 20_000), credentials=refused)

    with pytest.raises(PartsFailedError, match="AuthenticationError"):
        taken(upload)

    states = Counter(end.state for end in upload.summary.parts)
    assert states[PartState.NOT_BEGUN] >= 10


def test_no_secret_travels_through_the_scheduler(
    opened: Open, tmp_path: Path, emulator: ThreadedEmulator, dask_client: Any
) -> None:
    seen: list[bytes] = []

    def everything(dask_scheduler: Any) -> bytes:
        return pickle.dumps([(task.key, task.run_spec) for task in dask_scheduler.tasks.values()])

    for _ in opened(catalogue(tmp_path / "c.csv", 2_000)):
        if not seen:
            seen.append(dask_client.run_on_scheduler(everything))

    assert b"run_part" in seen[0]
    for secret in (emulator.subscription_key, emulator.access_token):
        assert secret.encode() not in seen[0]


@pytest.mark.slow
def test_an_upload_that_is_under_way_is_not_begun_by_another_caller(opened: Open, tmp_path: Path, slowly: None) -> None:
    path = catalogue(tmp_path / "c.csv", 2_000)

    with opened(path, max_in_flight=2) as upload:
        results = iter(upload)
        next(results)
        with pytest.raises(JournalError, match="is under way, from another call that is alive"):
            taken(opened(path))


def test_another_input_under_the_same_name_is_refused(opened: Open, tmp_path: Path) -> None:
    path = catalogue(tmp_path / "c.csv", 100)
    taken(opened(path))

    with pytest.raises(JournalError, match="another input"):
        taken(opened(catalogue(tmp_path / "d.csv", 100)))
    catalogue(path, 101)
    with pytest.raises(JournalError, match="is not the file that this upload has divided"):
        taken(opened(path))


@pytest.mark.slow
def test_an_upload_can_be_left_from_another_thread_while_no_result_comes(
    opened: Open, tmp_path: Path, emulator: ThreadedEmulator, slowly: None
) -> None:
    PROCESSING[0] = 3600.0
    upload = opened(catalogue(tmp_path / "c.csv", 3_000), max_in_flight=4)
    left_at: list[float] = []

    def leave_once_batches_are_in_flight() -> None:
        while len(emulator.batches) < 4:
            time.sleep(0.02)
        left_at.append(time.monotonic())
        upload.leave()

    threading.Thread(target=leave_once_batches_are_in_flight).start()
    results = taken(upload)

    assert results == []
    assert time.monotonic() - left_at[0] < 10.0
    assert len(emulator.batches) <= 8, "a worker that hears of it a second later has used the slots of the other one"
    assert {end.state for end in upload.summary.parts} <= {PartState.STOPPED, PartState.NOT_BEGUN}


@pytest.mark.slow
def test_what_was_removed_leaves_nothing_in_redis_and_its_name_is_free(
    opened: Open, tmp_path: Path, server: RedisServer, emulator: ThreadedEmulator
) -> None:
    taken(opened(catalogue(tmp_path / "c.csv", 2_000)))

    quartile_dask.remove((server.url, "a catalogue"))

    left = set(server.say("KEYS", "quartile:*").split()) - {b"$0"}
    assert not [key for key in left if b"journal" in key or key.endswith((b":plan", b":results"))]
    assert all(each.ok and not each.replayed for each in taken(opened(catalogue(tmp_path / "d.csv", 100))))


@pytest.mark.slow
def test_what_is_under_way_is_not_removed(opened: Open, tmp_path: Path, server: RedisServer, slowly: None) -> None:
    with opened(catalogue(tmp_path / "c.csv", 1_000), max_in_flight=2) as upload:
        results = iter(upload)
        next(results)
        with pytest.raises(JournalError, match="is under way"):
            quartile_dask.remove((server.url, "a catalogue"))


def test_a_redis_without_a_file_is_refused_before_anything_is_read(
    dask_client: Any, tmp_path: Path, emulator: ThreadedEmulator
) -> None:
    with RedisServer(keeps=False) as forgetful:
        upload = quartile_dask.upload(
            catalogue(tmp_path / "c.csv", 10), journal=(forgetful.url, "x"), dask_client=dask_client
        )

        with pytest.raises(JournalError, match="appendonly"):
            taken(upload)

    assert upload.parts == ()
    assert not emulator.requests


def test_an_account_that_is_refused_is_not_tried_with_each_of_its_parts(opened: Open, tmp_path: Path) -> None:
    files = [("refused", catalogue(tmp_path / f"{number}.csv", 10, first=10 * number)) for number in range(30)]
    files.append(("acme", catalogue(tmp_path / "acme.csv", 100)))
    upload = opened(files, credentials=credentials)
    results: list[PartItemResult] = []

    with pytest.raises(PartsFailedError, match="AuthenticationError"):
        results.extend(upload)

    assert Counter(result.part for result in results) == {30: 100}
    assert Counter(end.state for end in upload.summary.parts)[PartState.NOT_BEGUN] >= 10


def test_a_model_that_workers_cannot_import_is_refused_at_once_also_where_an_upload_is_gone_on_with(
    dask_client: Any, tmp_path: Path
) -> None:
    class Local(pydantic.BaseModel):
        asin: str

    with pytest.raises(ConfigurationError, match=r"Workers cannot import .*Local"):
        quartile_dask.upload(
            tmp_path / "c.csv",
            Resource("process/local", item=Local),
            journal=("redis://localhost:1", "x"),
            dask_client=dask_client,
        )
