"""What stands in a journal: digests of items, packed results, spans of indexes; and the thread that writes them."""

from __future__ import annotations

import asyncio
import string
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quartile_async import ItemResult, JournalError, MasterlistItem, Outcome
from quartile_async._digests import digested, parting
from quartile_async._journal import (
    Contents,
    Intended,
    ItemsRead,
    Stage,
    Subject,
    Taken,
    indexes_of,
    outcomes_of,
    packed,
    spans_of,
    unpacked,
)
from quartile_async._journal_path import is_empty, set_aside
from quartile_async._journal_sqlite import MOST_ROWS, JournalFile, is_in_use
from quartile_async._journal_thread import FileJournal

SUBJECT = Subject("process/masterlist", "http://127.0.0.1:1", "acme")


# ---- digests

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@given(st.lists(json_values, min_size=1, max_size=20), st.data())
def test_the_same_items_have_the_same_digest_and_any_change_is_found_where_it_is(
    items: list[Any], data: st.DataObject
) -> None:
    recorded = digested(7, items)
    assert parting(recorded, digested(7, list(items))) is None
    place = data.draw(st.integers(0, len(items) - 1))
    changed = [*items[:place], {"another": items[place]}, *items[place + 1 :]]
    assert parting(recorded, digested(7, changed)) == 7 + place


@given(st.lists(json_values, min_size=2, max_size=20), st.integers(1, 19))
def test_fewer_items_part_where_the_first_is_missing(items: list[Any], kept: int) -> None:
    kept = min(kept, len(items) - 1)
    assert parting(digested(3, items), digested(3, items[:kept])) == 3 + kept


def test_items_with_the_same_mark_are_still_told_apart_by_the_digest() -> None:
    one = digested(0, ["a", "b"])
    assert parting(one, replace(one, digest=b"another")) == 0


class Opaque:
    """Its repr has an address in it."""


@pytest.mark.parametrize(
    "item",
    [
        MasterlistItem(asin="B000000001", countryCode="US", percACoS=20.0),
        ValueError("record 5 cannot be read"),
        {"when": Opaque(), "what": b"\xff\xfe"},
        "\ud800 is half a character",
        {1: 2, (3, 4): 5},
    ],
)
def test_whatever_is_passed_in_has_a_digest_and_the_same_one_each_time(item: object) -> None:
    def again() -> ItemsRead:
        return digested(0, [type(item)() if isinstance(item, Opaque) else item])

    assert digested(0, [item]) == again()
    assert parting(digested(0, [item]), digested(0, ["something else"])) == 0


# ---- results

words = st.text(string.printable + "é\ud800", max_size=6)
results = st.builds(
    ItemResult,
    index=st.just(0),
    item=st.just(None),
    outcome=st.sampled_from(Outcome),
    message=words,
    process=st.none() | words,
    id=st.none() | words,
    batch_id=st.none() | words,
    not_sent=st.booleans(),
    resent=st.booleans(),
    tries=st.just(1) | st.integers(1, 3),
)


@given(st.lists(results, min_size=1, max_size=12), st.data())
def test_results_come_back_as_they_were_from_any_place(
    given_results: list[ItemResult[Any]], data: st.DataObject
) -> None:
    count = len(given_results)
    start = data.draw(st.integers(0, count - 1))
    stop = data.draw(st.integers(start + 1, count))
    indexes, items = list(range(50 + start, 50 + stop)), [object() for _ in range(start, stop)]

    back = unpacked(packed(given_results), indexes, items, places=slice(start, stop), of=count)

    assert [result.index for result in back] == indexes
    assert all(result.item is item for result, item in zip(back, items, strict=True))
    assert all(result.replayed and result.row is None for result in back)
    for result, before in zip(back, given_results[start:stop], strict=True):
        for name in ("outcome", "not_sent", "resent", "tries"):
            assert getattr(result, name) == getattr(before, name)
        for name in ("message", "process", "id", "batch_id"):
            assert getattr(result, name) == _whole(getattr(before, name))
    assert outcomes_of(packed(given_results), count).total() == count


def _whole(text: str | None) -> str | None:
    return text if text is None else text.encode(errors="backslashreplace").decode()


def test_results_of_a_journal_that_knows_of_no_tries_had_one() -> None:
    content = b'[["failed"],["no"],[null],[null],["f"],[false],[false]]'

    assert [result.tries for result in unpacked(content, [0, 1], [None] * 2, places=slice(0, 2), of=2)] == [1, 1]
    assert packed([ItemResult(0, None, Outcome.FAILED, "no", batch_id="f")]) == content


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'[["succeeded"],[""],[null],[null],[null],[false]]'])
def test_what_is_not_packed_results_is_an_error(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"Invalid JSON|results of so many|valid array"):
        unpacked(content, [0], [None], places=slice(0, 1), of=1)


@given(st.sets(st.integers(0, 60), min_size=1))
def test_indexes_come_back_from_their_spans(indexes: set[int]) -> None:
    assert indexes_of(spans_of(sorted(indexes))) == sorted(indexes)


# ---- the file


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "catalogue.journal"


def opened(path: Path) -> JournalFile:
    file = JournalFile(path)
    file.open(SUBJECT)
    return file


def test_more_records_than_one_statement_can_have_are_written_all_the_same(path: Path) -> None:
    file = opened(path)
    file.append([Intended(number, [number]) for number in range(1, 2 * MOST_ROWS + 50)])
    file.close()

    file = JournalFile(path)
    assert file.open(None).batches == 2 * MOST_ROWS + 49
    assert [batch.number for batch in file.batches()] == list(range(1, 2 * MOST_ROWS + 50))
    file.close()


def test_pages_are_the_same_in_whatever_order_they_are_asked_for(path: Path) -> None:
    file = opened(path)
    file.append([digested(first, [first] * 10) for first in range(0, 3_000, 10)])
    file.close()
    file = opened(path)

    first, second = file.items_from(0), file.items_from(640)

    assert [each.first for each in first] == list(range(0, 640, 10))
    assert [each.first for each in second] == list(range(640, 1_280, 10))
    assert file.items_from(640) == second
    assert file.items_from(0) == first
    assert file.items_from(3_000) == []
    file.close()


def test_what_was_written_since_it_was_opened_is_not_told(path: Path) -> None:
    file = opened(path)
    file.append([digested(0, [1]), Intended(1, [0])])

    assert file.items_from(0) == []
    assert file.batches_from(-1, 0) == []
    file.close()


def test_looking_at_it_changes_nothing(path: Path) -> None:
    file = opened(path)
    file.append([digested(0, [1]), Intended(1, [0]), Taken(1, "a" * 24, False)])
    file.close()
    content = path.read_bytes()

    file = JournalFile(path)
    contents = file.open(None)
    (batch,) = file.batches()
    file.close()

    assert (contents.items, contents.batches, contents.finished_at) == (1, 1, None)
    assert (batch.stage, batch.batch_id) == (Stage.TAKEN, "a" * 24)
    assert path.read_bytes() == content


def test_it_is_set_aside_by_its_date_with_its_log_and_never_over_another(path: Path) -> None:
    names = set()
    for number in range(3):
        path.write_text(f"{number}")
        path.with_name(path.name + "-wal").write_text(f"log {number}")
        new = set_aside(path, 0.0)
        assert new.read_text() == f"{number}"
        assert new.with_name(new.name + "-wal").read_text() == f"log {number}"
        assert new.name.startswith("catalogue.19")
        assert new.suffix == ".journal"
        assert is_empty(path)
        names.add(new.name)
    assert len(names) == 3


def test_an_empty_file_whose_log_is_there_is_not_taken_for_a_new_one(path: Path) -> None:
    path.touch()
    assert is_empty(path)
    path.with_name(path.name + "-wal").touch()
    assert not is_empty(path)


def test_one_that_is_in_use_is_told_from_one_that_is_broken(path: Path) -> None:
    file = opened(path)
    with pytest.raises(JournalError) as in_use:
        opened(path)
    file.close()
    path.write_bytes(b"x" * 5_000)
    with pytest.raises(JournalError) as broken:
        opened(path)

    assert is_in_use(in_use.value)
    assert not is_in_use(broken.value)


# ---- the thread


async def looked_at(path: Path) -> Contents:
    def look() -> Contents:
        file = JournalFile(path)
        contents = file.open(None)
        file.close()
        return contents

    return await asyncio.to_thread(look)


async def test_what_is_written_while_a_commit_is_under_way_shares_the_next_one(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commits: list[int] = []
    begun, may_end = threading.Event(), threading.Event()
    append = JournalFile.append

    def slow(file: JournalFile, records: list[Any]) -> None:
        commits.append(len(records))
        begun.set()
        assert may_end.wait(10)
        append(file, records)

    monkeypatch.setattr(JournalFile, "append", slow)
    journal = FileJournal(path)
    await journal.open(SUBJECT)
    first = [journal.write(Intended(number, [number])) for number in range(1, 4)]
    await asyncio.to_thread(begun.wait, 10)
    second = []
    for number in range(4, 51):
        second.append(journal.write(Intended(number, [number])))
        await asyncio.sleep(0)
    may_end.set()
    await asyncio.gather(*first, *second)
    await journal.close(finished=False)

    assert commits == [3, 47]


async def test_whoever_is_cancelled_takes_nobody_with_them(path: Path) -> None:
    journal = FileJournal(path)
    await journal.open(SUBJECT)
    first, second = journal.write(Intended(1, [0])), journal.write(Intended(2, [1]))

    first.cancel()
    await second
    await journal.close(finished=True)

    assert (await looked_at(path)).batches == 2


async def test_after_a_failure_nothing_more_is_written(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = FileJournal(path)
    await journal.open(SUBJECT)
    append = JournalFile.append

    def full(file: JournalFile, records: Any) -> None:
        raise JournalError("The disk is full.")

    monkeypatch.setattr(JournalFile, "append", full)
    with pytest.raises(JournalError, match="full"):
        await journal.write(Intended(1, [0]))
    monkeypatch.setattr(JournalFile, "append", append)
    with pytest.raises(JournalError, match="full"):
        await journal.write(Intended(2, [1]))
    await journal.close(finished=False)

    assert (await looked_at(path)).batches == 0, "a record behind one that is missing would be a lie"


async def test_closing_comes_after_all_that_was_written(path: Path) -> None:
    journal = FileJournal(path)
    await journal.open(SUBJECT)
    journal.write(Intended(1, [0]))
    await journal.close(finished=True)

    contents = await looked_at(path)
    assert (contents.batches, contents.finished_at is not None) == (1, True)
