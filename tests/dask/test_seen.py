"""Each item's result is let through once, however often its part is run."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from quartile_async import Outcome
from quartile_async._dask.results import PartItemResult
from quartile_async._dask.seen import Batches, Indexes, Sieve


def result(index: int, outcome: Outcome = Outcome.SUCCEEDED, message: str = "", part: int = 0) -> PartItemResult:
    return PartItemResult(index, {}, outcome, message, part=part)


@given(st.lists(st.integers(0, 5_000), max_size=200))
def test_a_set_of_indexes_is_a_set(indexes: list[int]) -> None:
    found, expected = Indexes(), set[int]()

    for index in indexes:
        assert found.add(index) is (index not in expected)
        expected.add(index)

    assert found.count == len(expected)
    assert {index for index in range(5_001) if index in found} == expected


def test_ten_million_indexes_take_a_bit_each() -> None:
    found = Indexes()

    for index in range(0, 10_000_000, 1_000):
        found.add(index)

    assert len(found._bits) <= 2 * 10_000_000 // 8 + 2


def test_a_part_that_is_run_again_tells_nothing_twice() -> None:
    sieve = Sieve()

    first = list(sieve.pass_through(3, [result(0), result(2)]))
    again = list(sieve.pass_through(3, [result(0), result(1), result(2)]))

    assert [each.index for each in first] == [0, 2]
    assert [each.index for each in again] == [1]
    assert sieve.known(3) == 3


def test_parts_have_indexes_of_their_own() -> None:
    sieve = Sieve()

    assert list(sieve.pass_through(0, [result(0)]))
    assert list(sieve.pass_through(1, [result(0, part=1)]))


def test_what_is_not_known_waits_for_the_end_of_its_part_and_what_is_learned_later_takes_its_place() -> None:
    sieve = Sieve()

    assert not list(sieve.pass_through(0, [result(0, Outcome.UNKNOWN, "first"), result(1, Outcome.UNKNOWN, "first")]))
    learned = list(
        sieve.pass_through(0, [result(0, Outcome.FAILED, "the server's"), result(1, Outcome.UNKNOWN, "last")])
    )
    at_the_end = list(sieve.kept_back(0))

    assert [(each.index, each.message) for each in learned] == [(0, "the server's")]
    assert [(each.index, each.message) for each in at_the_end] == [(1, "last")]
    assert not list(sieve.kept_back(0))


def test_a_known_result_is_not_followed_by_an_unknown_one() -> None:
    sieve = Sieve()

    list(sieve.pass_through(0, [result(0)]))
    list(sieve.pass_through(0, [result(0, Outcome.UNKNOWN)]))

    assert not list(sieve.kept_back(0))
    assert sieve.known(0) == 1


def test_items_without_a_result_are_told_unless_they_got_one_in_another_run() -> None:
    sieve = Sieve()

    sieve.note_unaccounted(1, [result(index, Outcome.UNKNOWN, part=1) for index in (4, 2, 3)])
    list(sieve.pass_through(1, [result(3, part=1)]))

    assert [each.index for each in sieve.unaccounted] == [2, 4]


def test_what_an_earlier_run_of_a_part_told_gives_way_to_what_the_last_one_tells_without_a_result() -> None:
    sieve = Sieve()

    list(sieve.pass_through(0, [result(0, Outcome.UNKNOWN, "It was not sent.")]))
    sieve.note_unaccounted(0, [result(0, Outcome.UNKNOWN, "It is in batch 7.")])

    assert not list(sieve.kept_back(0))
    assert [each.message for each in sieve.unaccounted] == ["It is in batch 7."]


@given(st.randoms(use_true_random=False), st.integers(1, 40), st.integers(1, 4))
def test_whatever_is_told_in_any_order_each_item_has_one_result(rng: random.Random, items: int, runs: int) -> None:
    sieve, got = Sieve(), list[int]()

    for _ in range(runs):
        for index in rng.sample(range(items), rng.randint(0, items)):
            outcome = rng.choice([Outcome.SUCCEEDED, Outcome.FAILED, Outcome.UNKNOWN])
            got += [each.index for each in sieve.pass_through(0, [result(index, outcome)])]
    got += [each.index for each in sieve.pass_through(0, [result(index, Outcome.UNKNOWN) for index in range(items)])]
    got += [each.index for each in sieve.kept_back(0)]

    assert sorted(got) == list(range(items))


def of(batch_id: str, *, replayed: bool = False) -> PartItemResult:
    return PartItemResult(0, {}, Outcome.SUCCEEDED, batch_id=batch_id, replayed=replayed)


def test_batches_of_a_part_that_was_run_once_are_those_that_its_run_knows_of() -> None:
    batches = Batches()

    batches.note(0, "first", [of("a"), of("b"), of("c", replayed=True)])

    assert batches.accepted(0, 5) == 5
    assert batches.accepted(1, 0) == 0


def test_batches_of_a_part_that_was_run_again_are_those_of_all_its_runs_but_not_of_earlier_calls() -> None:
    batches = Batches()

    batches.note(0, "first", [of("before", replayed=True), of("a"), of("b")])
    batches.note(0, "second", [of("before", replayed=True), of("a", replayed=True), of("c", replayed=True), of("d")])

    assert batches.accepted(0, 1) == 4
