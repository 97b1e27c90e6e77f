"""A store of one's own in the journal's place: the spine needs nothing but the protocol, and asks for no more."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from quartile_async import MASTERLIST, Journal, JournalError, QuartileClient, QuotaExceededError
from quartile_async._digests import digested
from quartile_async._journal import (
    Contents,
    Ended,
    HeldJournal,
    Intended,
    ItemsRead,
    Record,
    RecordedBatch,
    Stage,
    Subject,
    Taken,
    Void,
)
from quartile_async.emulator import Emulator, Fault

from ..behaviour.conftest import client_for, item, items, until

pytestmark = pytest.mark.usefixtures("no_task_is_left")

PAGE = 2


@dataclass
class MemoryJournal:
    """Keeps records in a list; what was written since it was opened is not among what it tells."""

    records: list[Record] = field(default_factory=list)
    known: list[Record] = field(default_factory=list)
    closed: list[bool] = field(default_factory=list)
    pages: int = 0

    async def open(self, subject: Subject) -> Contents:
        self.known = list(self.records)
        ends = [record.end for record in self.known if isinstance(record, ItemsRead)]
        return Contents(max(ends, default=0), max((b.number for b in self._batches()), default=0), 1.0, 2.0, None)

    async def items_from(self, index: int) -> Sequence[ItemsRead]:
        self.pages += 1
        return [each for each in self.known if isinstance(each, ItemsRead) and each.first >= index][:PAGE]

    async def batches_from(self, first: int, number: int) -> Sequence[RecordedBatch]:
        self.pages += 1
        places = sorted((batch.indexes[0], batch.number, batch) for batch in self._batches())
        return [batch for *place, batch in places if tuple(place) > (first, number)][:PAGE]

    def write(self, *records: Record) -> asyncio.Future[None]:
        self.records += records
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        future.set_result(None)
        return future

    async def close(self, *, finished: bool) -> None:
        self.closed.append(finished)

    def _batches(self) -> list[RecordedBatch]:
        taken = {each.number: each for each in self.known if isinstance(each, Taken)}
        ends = {each.number: each for each in self.known if isinstance(each, Ended | Void)}
        return [
            _batch_of(each, taken.get(each.number), ends.get(each.number))
            for each in self.known
            if isinstance(each, Intended)
        ]


def _batch_of(intended: Intended, taken: Taken | None, end: Ended | Void | None) -> RecordedBatch:
    stage = Stage.TAKEN if taken else Stage.INTENDED
    if isinstance(end, Void):
        stage = Stage.VOID
    elif end is not None:
        stage = Stage.ENDED if end.final else Stage.GIVEN_UP
    results = end.results if isinstance(end, Ended) else None
    batch_id, resent = (taken.batch_id, taken.resent) if taken else (None, False)
    return RecordedBatch(intended.number, list(intended.indexes), stage, batch_id, resent, results)


def read(inputs: list[Any]) -> list[Record]:
    """The records of these items, a hundred in each."""
    return [digested(first, inputs[first : first + 100]) for first in range(0, len(inputs), 100)]


async def test_it_is_used_as_the_file_is(emulator: Emulator, client: QuartileClient) -> None:
    journal = MemoryJournal()
    assert isinstance(journal, Journal)

    first = await client.upload(MASTERLIST, items(1_050), journal=journal).collect()
    again = await client.upload(MASTERLIST, items(1_050), journal=journal).collect()

    assert all(result.ok and result.replayed for result in again)
    assert [(result.index, result.id) for result in again] == [(result.index, result.id) for result in first]
    assert journal.closed == [True, True]
    assert emulator.items_received == 1_050


async def test_each_thing_is_written_before_what_must_not_happen_without_it(
    emulator: Emulator, client: QuartileClient
) -> None:
    journal = MemoryJournal()

    await client.upload(MASTERLIST, items(30), journal=journal).collect()

    assert [type(record) for record in journal.records] == [ItemsRead, Intended, Taken, Ended]


async def test_a_batch_in_doubt_goes_before_newer_writes_of_its_keys_however_wide_it_is(
    emulator: Emulator, client: QuartileClient
) -> None:
    """The older batch has the first item and the last but one; a newer write of the first's key stands in between."""
    inputs = [item(n) for n in range(250)]
    inputs[120] = {**inputs[0], "percACoS": 77.0}
    journal = MemoryJournal([*read(inputs), Intended(1, [0, 248])])

    results = await client.upload(MASTERLIST, inputs, journal=journal).collect()

    assert sorted(result.index for result in results) == list(range(250))
    assert all(result.ok for result in results)
    orders = [batch.items for batch in emulator.batches]
    place_of_older = next(place for place, batch in enumerate(orders) if inputs[248] in batch)
    place_of_newer = next(place for place, batch in enumerate(orders) if inputs[120] in batch)
    assert place_of_older < place_of_newer
    key = (inputs[0]["asin"], inputs[0]["countryCode"])
    assert emulator.applied[key]["percACoS"] == 77.0
    assert {result.index for result in results if result.resent} == {0, 248}


async def test_what_was_written_since_it_was_opened_is_not_taken_for_an_earlier_runs(
    emulator: Emulator, client: QuartileClient
) -> None:
    inputs = items(1_500)
    journal = MemoryJournal([*read(inputs)[:12]])

    results = await client.upload(MASTERLIST, inputs, journal=journal).collect()

    assert sorted(result.index for result in results) == list(range(1_500))
    assert not any(result.replayed for result in results)
    assert emulator.items_received == 1_500


async def test_open_batches_are_not_asked_for_before_the_last_item_was_compared(
    emulator: Emulator, client: QuartileClient
) -> None:
    inputs = items(500)
    journal = MemoryJournal([*read(inputs), Intended(1, list(range(100))), Taken(1, "a" * 24, False)])
    inputs[499] = item(9_999)

    with pytest.raises(JournalError, match="part at index 499"):
        await client.upload(MASTERLIST, inputs, journal=journal).collect()

    assert emulator.requests == []


async def test_only_where_there_is_more_to_send_than_room_for_does_it_begin_before_all_is_compared(
    emulator: Emulator,
) -> None:
    inputs = items(6_000)
    journal = MemoryJournal(read(inputs))
    changed = [*inputs[:-1], item(99_999)]

    async with client_for(emulator, max_in_flight=1) as client:
        with pytest.raises(JournalError, match="part at index 5999"):
            await client.upload(MASTERLIST, changed, journal=journal).collect()

    sent = [each["asin"] for batch in emulator.batches for each in batch.items]
    assert 0 < len(sent) < 6_000
    assert item(99_999)["asin"] not in sent


@pytest.mark.parametrize(
    ("records", "words"),
    [
        (lambda inputs: [digested(0, inputs[:50]), digested(60, inputs[60:])], "should go on with index 50"),
        (lambda inputs: [*read(inputs), Intended(1, [0, 5]), Intended(2, [5, 6])], "stands in two batches"),
        (lambda inputs: [*read(inputs), Intended(1, [0, 500])], "it ends before the items of its batches"),
        (lambda inputs: [*read(inputs), Intended(1, [0]), Ended(1, b"[]")], "not the results of so many"),
        (lambda inputs: [*read(inputs), Intended(1, [0]), Ended(1, b"nonsense")], "Invalid JSON"),
    ],
)
async def test_records_that_do_not_fit_together_are_an_error_and_nothing_is_sent(
    records: Any, words: str, emulator: Emulator, client: QuartileClient
) -> None:
    inputs = items(100)

    with pytest.raises(JournalError, match=words):
        await client.upload(MASTERLIST, inputs, journal=MemoryJournal(records(inputs))).collect()

    assert emulator.requests == []


async def test_a_store_that_fails_ends_the_upload_with_its_error(emulator: Emulator, client: QuartileClient) -> None:
    class Failing(MemoryJournal):
        def write(self, *records: Record) -> asyncio.Future[None]:
            if any(isinstance(record, Taken) for record in records):
                future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                future.set_exception(JournalError("The store is gone."))
                return future
            return super().write(*records)

    journal = Failing()
    with pytest.raises(JournalError, match="The store is gone") as failure:
        await client.upload(MASTERLIST, items(150), journal=journal).collect()

    assert journal.closed == [False]
    accounted = [*failure.value.results, *failure.value.unaccounted]
    assert sorted(result.index for result in accounted) == list(range(150))
    assert [request for request in emulator.requests if request.method == "GET"] == [], "its id was not durable"


@pytest.mark.parametrize("kind", [Intended, Taken, Ended])
async def test_nothing_goes_on_before_a_record_is_durable(
    kind: type[Record], emulator: Emulator, client: QuartileClient
) -> None:
    """No PATCH before it stands there that the batch is about to go, no GET before its id, no result before the end."""
    durable, asked = asyncio.Event(), asyncio.Event()

    class Slow(MemoryJournal):
        def write(self, *records: Record) -> asyncio.Future[None]:
            super().write(*records)
            return asyncio.ensure_future(self._written(any(isinstance(record, kind) for record in records)))

        async def _written(self, is_slow: bool) -> None:
            if is_slow:
                asked.set()
                await durable.wait()

    told: list[int] = []

    async def upload() -> None:
        told.extend([result.index async for result in client.upload(MASTERLIST, items(30), journal=Slow())])

    running = asyncio.ensure_future(upload())
    await asyncio.wait_for(asked.wait(), 10)
    await asyncio.sleep(0.15)  # many times what the next step takes
    methods = [request.method for request in emulator.requests]
    assert methods.count("PATCH") == (kind is not Intended)
    assert ("GET" in methods) == (kind is Ended)
    assert told == []

    durable.set()
    await running
    assert sorted(told) == list(range(30))


async def test_what_a_stopped_upload_knows_is_written_though_the_input_was_read_further(
    emulator: Emulator, client: QuartileClient
) -> None:
    """Items that were read and never sent are noted, too: the next run compares them."""
    emulator.add(Fault(on="submit", status=403, times=None, body={"message": "Out of call volume quota."}))
    journal = MemoryJournal()

    with pytest.raises(QuotaExceededError):
        await client.upload(MASTERLIST, items(700), journal=journal).collect()

    noted = sum(len(record.marks) // 4 for record in journal.records if isinstance(record, ItemsRead))
    assert noted >= 100
    assert journal.closed == [False]
    emulator.clear_faults()
    changed = [*items(noted - 1), item(99_999), *items(700)[noted:]]
    with pytest.raises(JournalError, match=f"part at index {noted - 1}"):
        await client.upload(MASTERLIST, changed, journal=journal).collect()


@dataclass
class OftenLostJournal(MemoryJournal):
    """Says what it is told to when it is asked whether it is held; then, that it is."""

    held: list[bool] = field(default_factory=list)
    checks: int = 0
    error: JournalError | None = None
    tell: Callable[[Exception], object] = print

    def is_held(self) -> bool:
        return self.held.pop(0) if self.held else self.error is None

    async def check_held(self) -> None:
        self.checks += 1
        if self.error is not None:
            raise self.error

    def when_lost(self, tell: Callable[[Exception], object]) -> None:
        self.tell = tell


def submits(emulator: Emulator) -> int:
    return sum(request.kind == "submit" for request in emulator.requests)


@pytest.mark.parametrize(
    ("held", "checks"),
    [
        ([True, True], 0),
        ([False, True, True], 1),  # it is asked for before a connection is made
        ([True, False, True, True], 0),  # and again when the body begins to go out: it had connected for long
        ([True, False, False, True, True], 1),
    ],
)
async def test_a_journal_that_may_be_anothers_is_asked_before_a_request_and_before_its_body(
    held: list[bool], checks: int, emulator: Emulator, client: QuartileClient
) -> None:
    journal = OftenLostJournal(held=list(held))
    assert isinstance(journal, HeldJournal)

    (result,) = await client.upload(MASTERLIST, items(1), journal=journal).collect()

    assert result.ok
    assert not result.resent, "what was held back had not gone out"
    assert (journal.held, journal.checks, submits(emulator)) == ([], checks, 1)


async def test_each_further_try_is_checked_as_the_first_one(emulator: Emulator, client: QuartileClient) -> None:
    emulator.add(Fault(on="submit", status=503, times=2))
    journal = OftenLostJournal(held=[True, True, False, True, True, False, True, True])

    (result,) = await client.upload(MASTERLIST, items(1), journal=journal).collect()

    assert result.ok
    assert (journal.held, journal.checks, submits(emulator)) == ([], 2, 3)


@pytest.mark.parametrize("tries", [0, 1])
async def test_a_journal_that_is_anothers_ends_the_upload_and_nothing_more_is_sent(
    tries: int, emulator: Emulator, client: QuartileClient
) -> None:
    emulator.add(Fault(on="submit", status=503, times=None))
    journal = OftenLostJournal(held=[True] * (2 * tries), error=JournalError("It is another's."))

    with pytest.raises(JournalError, match="It is another's") as failure:
        await client.upload(MASTERLIST, items(50), journal=journal).collect()

    assert submits(emulator) == tries
    assert [result.not_sent for result in failure.value.unaccounted] == [tries == 0] * 50
    assert journal.closed == [False]


async def test_an_upload_that_only_waits_ends_when_its_journal_is_lost(
    emulator: Emulator, client: QuartileClient
) -> None:
    emulator.add(Fault(on="poll", delay=60.0, times=None))
    journal = OftenLostJournal()
    running = asyncio.ensure_future(client.upload(MASTERLIST, items(50), journal=journal).collect())
    await until(lambda: emulator.batches)

    journal.tell(JournalError("It is another's."))

    async with asyncio.timeout(5):
        with pytest.raises(JournalError, match="It is another's") as failure:
            await running
    assert {result.batch_id for result in failure.value.unaccounted} == {emulator.batches[0].id}


async def test_polls_and_uploads_without_such_a_journal_are_not_held_up(
    emulator: Emulator, client: QuartileClient
) -> None:
    journal = OftenLostJournal(held=[True, True], error=JournalError("It would not be sent."))

    (result,) = await client.upload(MASTERLIST, items(1), journal=journal).collect()
    assert result.ok
    (result,) = await client.upload(MASTERLIST, items(1), journal=MemoryJournal()).collect()
    assert result.ok
