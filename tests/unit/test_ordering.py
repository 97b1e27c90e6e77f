from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from quartile_async import _ordering
from quartile_async._ordering import KeyOrder, Ticket

key_sets = st.lists(
    st.sets(st.integers(0, 6), min_size=1, max_size=4).map(lambda keys: [(key,) for key in keys]), max_size=20
)


def nothing() -> None:
    pass


def test_a_second_write_to_a_key_waits_for_the_first() -> None:
    order, called = KeyOrder(), []
    first = order.enter([("a",), ("b",)], nothing)
    second = order.enter([("b",), ("c",)], lambda: called.append("second"))
    assert (first.ready, second.ready) == (True, False)

    order.leave(first)

    assert second.ready
    assert called == ["second"]


def test_a_write_that_shares_several_keys_with_another_waits_for_it_once() -> None:
    order = KeyOrder()
    first = order.enter([("a",), ("b",)], nothing)
    second = order.enter([("a",), ("b",)], nothing)

    order.leave(first)

    assert second.ready


def test_a_waiting_write_that_is_given_up_does_not_let_newer_ones_past_what_is_under_way() -> None:
    order = KeyOrder()
    under_way = order.enter([("a",)], nothing)
    given_up = order.enter([("a",)], nothing)
    queued = order.enter([("a",)], nothing)

    order.leave(given_up)
    newer = order.enter([("a",)], nothing)
    assert (queued.ready, newer.ready) == (False, False)

    order.leave(under_way)
    assert (queued.ready, newer.ready) == (True, False)

    order.leave(queued)
    assert newer.ready


@given(key_sets, st.data())
def test_no_two_ready_tickets_share_a_key_and_each_key_is_served_in_order(
    sets: list[list[tuple[int]]], data: st.DataObject
) -> None:
    order = KeyOrder()
    waiting: list[tuple[int, list[tuple[int]], Ticket]] = [
        (number, keys, order.enter(keys, nothing)) for number, keys in enumerate(sets)
    ]
    served: dict[tuple[int], int] = {}
    while waiting:
        ready = [entry for entry in waiting if entry[2].ready]
        assert ready, "a deadlock"
        under_way = [key for _, keys, _ in ready for key in keys]
        assert len(under_way) == len(set(under_way))
        number, keys, ticket = data.draw(st.sampled_from(ready))
        assert all(served.get(key, -1) < number for key in keys)
        served.update(dict.fromkeys(keys, number))
        order.leave(ticket)
        waiting.remove((number, keys, ticket))
    assert not order._last, "keys of chunks that have ended are forgotten"


def test_an_older_write_that_was_given_up_is_remembered_within_a_bound(monkeypatch) -> None:
    monkeypatch.setattr(_ordering, "MOST_GIVEN_UP", 2)
    order = KeyOrder()
    assert order.older_writes([("a",)]) == {}

    order.give_up([("a",), ("b",)], "5349b4ddd2781d08c09890f3")
    order.give_up([("c",)], None)
    notes = order.older_writes([("a",), ("b",), ("c",), ("d",)])

    assert list(notes) == [("b",), ("c",)], "the oldest is forgotten"
    assert "5349b4ddd2781d08c09890f3" in notes["b",]
    assert "never learned" in notes["c",]
