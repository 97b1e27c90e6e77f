"""What a worker says of a result is what the caller reads."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pandas as pd
import pytest

from quartile_async import ItemResult, MasterlistItem, Outcome
from quartile_async._dask.blocks import LARGEST, packed, unpacked
from quartile_async._tables.rows import MalformedRow, Row

FULL = ItemResult(
    7,
    {"asin": "B01N5IB20Q"},
    Outcome.FAILED,
    "no such product",
    "UPDATE",
    "an id",
    "a batch",
    {"asin": "B01N5IB20Q", "status": "FAILED"},
    not_sent=False,
    resent=True,
    replayed=True,
    tries=3,
)


class Unspeakable:
    def __repr__(self) -> str:
        raise RuntimeError


def test_every_field_of_a_result_arrives() -> None:
    block = unpacked(*packed(5, [FULL]))

    assert (block.part, block.accounted) == (5, True)
    (got,) = block.results
    assert got.part == 5
    for name in ItemResult.__slots__:
        assert getattr(got, name) == getattr(FULL, name), name


def test_what_stands_for_items_without_a_result_says_so() -> None:
    assert not unpacked(*packed(5, [FULL], accounted=False)).accounted


@pytest.mark.parametrize(
    ("item", "arrives"),
    [
        ({"a": 1, "b": [None, True]}, {"a": 1, "b": [None, True]}),
        (
            MasterlistItem(asin="B01N5IB20Q", countryCode="US", percACoS=27.5),
            {"asin": "B01N5IB20Q", "countryCode": "US", "percACoS": 27.5},
        ),
        ({"at": dt.date(2026, 11, 26)}, {"at": "2026-11-26"}),
        ({"half": "\ud83d"}, {"half": "\\ud83d"}),
        ({"other": object}, {"other": repr(object)}),
        ("no mapping at all", "no mapping at all"),
        ({"half": {"\ud83d"}}, repr({"half": {"\ud83d"}})),
        ({"at": pd.NaT}, "{'at': NaT}"),
        ({"too long": 10**5_000}, "<dict>"),
        (Unspeakable(), "<Unspeakable>"),
    ],
)
def test_an_item_arrives_as_json_can_say_it(item: Any, arrives: Any) -> None:
    (got,) = unpacked(*packed(0, [ItemResult(0, item, Outcome.SUCCEEDED)])).results

    assert got.item == arrives


def test_a_row_of_a_file_has_its_line_and_what_stood_there() -> None:
    row = Row({"asin": "B01N5IB20Q"}, 12, {"ASIN": "b01n5ib20q"})

    (got,) = unpacked(*packed(0, [ItemResult(0, row, Outcome.SUCCEEDED)])).results

    assert isinstance(got.item, Row)
    assert (got.item, got.item.line, got.item.original) == (row, 12, {"ASIN": "b01n5ib20q"})


def test_a_row_that_could_not_be_read_arrives_as_it_stood_in_its_file() -> None:
    row = MalformedRow("three cells", line=4, text="a;b;c\r\n", separated_by=";", columns=2, cells=["a", "b", "c"])

    (got,) = unpacked(*packed(0, [ItemResult(0, row, Outcome.REJECTED)])).results

    assert isinstance(got.item, MalformedRow)
    for name in ("line", "text", "record", "fields", "cells", "separated_by", "columns"):
        assert getattr(got.item, name) == getattr(row, name), name
    assert str(got.item) == "three cells"


def test_an_error_in_an_items_place_arrives_in_words() -> None:
    (got,) = unpacked(*packed(0, [ItemResult(0, ValueError("not read"), Outcome.REJECTED)])).results

    assert str(got.item) == "not read"


def test_an_item_that_cannot_be_said_costs_no_other_its_result() -> None:
    items = [{"a": 1}, {"a": pd.NaT}, {"a": 3}]

    (block,) = packed(0, [ItemResult(index, item, Outcome.SUCCEEDED) for index, item in enumerate(items)])

    assert [each.item for each in unpacked(block).results] == [{"a": 1}, "{'a': NaT}", {"a": 3}]


def test_results_of_large_items_are_in_more_blocks_none_of_which_is_much_larger_than_it_may_be() -> None:
    items = [{"words": "x" * length} for length in (10, LARGEST // 2, LARGEST // 3, 2 * LARGEST, 10)]

    blocks = list(packed(3, [ItemResult(index, item, Outcome.SUCCEEDED) for index, item in enumerate(items)]))

    read = [unpacked(content) for content in blocks]
    assert [each.index for block in read for each in block.results] == [0, 1, 2, 3, 4]
    assert all(len(content) <= LARGEST or len(block.results) == 1 for content, block in zip(blocks, read, strict=True))
    assert len(blocks) < len(items) + 1
