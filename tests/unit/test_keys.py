from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quartile_async._keys import fold, named_key, row_key, row_keys, whole_object

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda values: st.lists(values, max_size=4) | st.dictionaries(st.text(max_size=5), values, max_size=4),
    max_leaves=12,
)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("B0ABC", "b0abc"),
        ("STRASSE", "straße"),
        (1, 1.0),
        (2.50, 2.5),
        (123, "123"),
        (10**20, 1e20),
        ([1, "A"], [1.0, "a"]),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1.0}),
        (-0.0, 0),
    ],
)
def test_keys_are_equal_with_letter_case_folded_and_numbers_by_value(one: Any, other: Any) -> None:
    assert fold(one) == fold(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("0123", "123"),
        ("1e3", 1000),
        (True, 1),
        (True, "true"),
        (None, "none"),
        (None, ""),
        ([1], 1),
        ({}, []),
        ([["a"], "b"], ["a", ["b"]]),
        ({"a": "b"}, [["a", "b"]]),
        (2.7, 2.70001),
    ],
)
def test_different_things_have_different_keys(one: Any, other: Any) -> None:
    assert fold(one) != fold(other)


@given(json_values)
def test_a_key_survives_the_way_through_json(value: Any) -> None:
    assert fold(json.loads(json.dumps(value))) == fold(value)
    hash(fold(value))


def test_what_the_server_adds_to_a_row_is_not_part_of_the_whole_object() -> None:
    row = {"campaignId": 7, "id": "497f6eca-6276-4993-bfeb-53cbbbba6f08", "status": {"success": True}}

    assert whole_object(row) == whole_object({"campaignId": 7.0})


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("a", "b\0c"), ("a\0b", "c")),
        (("a\0", "b"), ("a", "\0b")),
        (("a", "1"), ("a1", "")),
        (("a", None), ("a", "none")),
    ],
)
def test_different_fields_make_different_keys(one: tuple[Any, ...], other: tuple[Any, ...]) -> None:
    names = ("first", "second")

    assert named_key(one) != named_key(other)
    assert len(set(row_keys([dict(zip(names, values, strict=True)) for values in (one, other)], names))) == 2


def test_a_row_with_a_number_has_the_key_of_one_with_the_string_that_spells_it() -> None:
    (number, _), (text,) = row_keys([{"a": 1, "b": "X"}, {}], ("a", "b")), row_keys([{"a": "1", "b": "x"}], ("a", "b"))

    assert number == text


rows = st.lists(
    st.dictionaries(
        st.sampled_from(["asin", "countryCode", "x"]), st.text("\0aB", max_size=3) | st.integers(0, 3), max_size=3
    )
    | st.none()
    | st.integers(),
    max_size=6,
)


@given(rows, st.sampled_from([("asin", "countryCode"), ("asin",), ()]))
def test_the_keys_of_many_rows_are_those_of_each(rows: list[Any], names: tuple[str, ...]) -> None:
    assert row_keys(rows, names) == [row_key(row, names) for row in rows]
