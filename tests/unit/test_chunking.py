from __future__ import annotations

from collections.abc import Hashable

from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import from_json, to_json

from quartile_async._chunking import CHUNK_SIZE, MOST_OPEN, Chunk, Chunker
from quartile_async._keys import Key

some_keys = st.lists(st.integers(0, 400).map(lambda number: (number,)), max_size=700)
few_keys = st.lists(st.integers(0, 5).map(lambda number: (number,)), max_size=300)
cuts = st.lists(st.integers(1, 130), min_size=1, max_size=12)


def fed(keys: list[Key], sizes: list[int] | None = None) -> list[Chunk]:
    """The chunks made of items with these keys, fed in blocks of these sizes, over and over."""
    chunker, chunks, start, turn = Chunker(), [], 0, 0
    sizes = sizes or [CHUNK_SIZE]
    while start < len(keys):
        stop = min(len(keys), start + sizes[turn % len(sizes)])
        turn += 1
        indexes = list(range(start, stop))
        items = [f"item {index}" for index in indexes]
        chunks += chunker.feed(indexes, items, [{"wire": index} for index in indexes], keys[start:stop])
        assert len(chunker.held) <= MOST_OPEN
        start = stop
    chunks += chunker.flush()
    assert not chunker.held
    return chunks


@given(some_keys | few_keys, cuts)
def test_every_item_is_in_exactly_one_chunk_with_its_own_columns(keys: list[Key], sizes: list[int]) -> None:
    chunks = fed(keys, sizes)

    assert sorted(index for chunk in chunks for index in chunk.indexes) == list(range(len(keys)))
    for chunk in chunks:
        columns = zip(chunk.indexes, chunk.items, chunk.wires, chunk.keys, strict=True)
        assert all(
            item == f"item {index}" and wire == {"wire": index} and key == keys[index]
            for index, item, wire, key in columns
        )


@given(some_keys | few_keys, cuts)
def test_a_chunk_has_1_to_100_items_and_no_key_twice(keys: list[Key], sizes: list[int]) -> None:
    for chunk in fed(keys, sizes):
        assert 1 <= len(chunk) <= CHUNK_SIZE
        assert len(set(chunk.keys)) == len(chunk)


@given(some_keys | few_keys, cuts)
def test_the_items_of_a_key_leave_in_input_order(keys: list[Key], sizes: list[int]) -> None:
    seen: dict[Hashable, int] = {}
    for chunk in fed(keys, sizes):
        for index, key in zip(chunk.indexes, chunk.keys, strict=True):
            assert seen.get(key, -1) < index
            seen[key] = index


def test_distinct_keys_fill_every_chunk_but_the_last() -> None:
    chunks = fed([(number,) for number in range(250)])

    assert [len(chunk) for chunk in chunks] == [100, 100, 50]


def test_a_repeated_key_costs_no_full_chunk() -> None:
    keys: list[Key] = [(number // 2,) for number in range(400)]  # each key twice, one after the other

    assert [len(chunk) for chunk in fed(keys)] == [100, 100, 100, 100]


def test_a_key_that_comes_very_often_does_not_hold_more_chunks_open_than_the_bound() -> None:
    chunks = fed([("same",)] * 50)

    assert [chunk.indexes for chunk in chunks] == [[index] for index in range(50)]


def test_missing_tells_what_would_complete_a_chunk() -> None:
    chunker = Chunker()
    assert chunker.missing == 100

    chunker.feed([0, 1], ["a", "b"], [{}, {}], [("a",), ("b",)])

    assert (chunker.missing, chunker.held_items) == (98, 2)


def test_a_part_of_a_chunk_has_the_exact_numbers_of_the_whole() -> None:
    chunk = Chunk([0, 1], ["a", "b"], [{"n": 2**64 + 1}, {"n": 2}], ["A", "B"])
    chunk.encode()

    assert chunk.select([0]).encode() == b'[{"n":18446744073709551617}]'


def test_a_part_of_a_chunk_sends_what_the_chunk_would_have_sent_whether_it_was_encoded_or_not() -> None:
    def chunk() -> Chunk:
        wires = [{"asin": f"B{number}", "percACoS": number / 7} for number in range(4)]
        return Chunk([0, 1, 2, 3], list("abcd"), wires, list("ABCD"))

    encoded = chunk()
    assert from_json(encoded.encode()) == chunk().wires
    part, same_part = encoded.select([1, 3]), chunk().select([1, 3])

    assert part.encode() == same_part.encode() == to_json([chunk().wires[1], chunk().wires[3]])
    assert (part.indexes, part.items, part.keys) == ([1, 3], ["b", "d"], ["B", "D"])
    assert not encoded.wires
    assert encoded.encode() is encoded.encode(), "made once"
