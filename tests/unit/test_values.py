"""Values as people write them: what is cleaned, and what is refused because it could mean two things."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quartile_async._tables.rows import Percent, Row, Unclear
from quartile_async._tables.values import (
    MASTERLIST_VALUES,
    Cleaning,
    Evidence,
    Marks,
    RefusedValueError,
    clean_asin,
    clean_country,
    clean_percent,
    trimmed,
)

REFUSED = object()


PLAIN = Marks()


def cleaned(function: Any, value: Any, marks: Marks = PLAIN) -> Any:
    try:
        return function(value, marks)
    except RefusedValueError:
        return REFUSED


@pytest.mark.parametrize(
    ("value", "meant"),
    [
        (" b0shoe0001\u200b", "B0SHOE0001"),
        ("\u2060B0SHOE0001\u00ad\u3000", "B0SHOE0001"),
        ("0307474278", "0307474278"),
        (9780307474278, "9780307474278"),
        ("307474278", REFUSED),
        (307474278, REFUSED),
        (307474278.0, REFUSED),
        ("9.78E+12", REFUSED),
        (dt.date(2026, 5, 1), REFUSED),
        (True, REFUSED),
        ("true", REFUSED),
        ("#N/A", REFUSED),
        ("#REF!", REFUSED),
        ("B0\u200bSHOE001", REFUSED),
        ("B0\0SHOE001", REFUSED),
        ("B0SCHÜH001", REFUSED),
        (Unclear("1", "0,"), REFUSED),
        ("", ""),
        (None, None),
    ],
)
def test_an_asin_is_cleaned_or_refused(value: Any, meant: Any) -> None:
    assert cleaned(clean_asin, value) == meant


@pytest.mark.parametrize(
    ("value", "meant"), [(" de\u3000", "DE"), ("UK", REFUSED), ("#N/A", REFUSED), ("Germany", "GERMANY"), (7, 7)]
)
def test_a_country_is_cleaned_or_refused(value: Any, meant: Any) -> None:
    assert cleaned(clean_country, value) == meant


COMMA, DOT, UNSURE = Marks(","), Marks("."), Marks(None)
SAID_COMMA, SAID_DOT, FRACTIONS = Marks(",", said=True), Marks(".", said=True), Marks(scale=100)


@pytest.mark.parametrize(
    ("value", "marks", "meant"),
    [
        ("27.5", DOT, "27.5"),
        ("27,5 %", DOT, "27.5"),
        ("12,345", DOT, REFUSED),
        ("0,275", DOT, "0.275"),
        ("1234,567", DOT, "1234.567"),
        ("12,345", COMMA, "12.345"),
        ("12.345", COMMA, REFUSED),
        ("0.275", COMMA, "0.275"),
        ("12.345", DOT, "12.345"),
        ("12.345", UNSURE, REFUSED),
        ("12,345", UNSURE, REFUSED),
        ("27.5", UNSURE, "27.5"),
        ("27.5", SAID_COMMA, REFUSED),
        ("27,5", SAID_DOT, REFUSED),
        ("1.234,5", SAID_COMMA, REFUSED),
        ("1,234.5", DOT, REFUSED),
        ("0.275", FRACTIONS, 27.5),
        (0.07, FRACTIONS, 7.0),
        (Decimal("0.275"), FRACTIONS, 27.5),
        ("27.5 %", FRACTIONS, "27.5"),
        (Percent(27.5), FRACTIONS, 27.5),
        ("30", FRACTIONS, REFUSED),
        (30, FRACTIONS, REFUSED),
        ("25. Mai", DOT, REFUSED),
        (dt.datetime(2026, 5, 25), DOT, REFUSED),  # noqa: DTZ001  # a sheet has no zone
        (Unclear("27500", "0.0,"), DOT, REFUSED),
        ("#DIV/0!", DOT, REFUSED),
        ("n/a", DOT, "n/a"),
        (True, DOT, True),
    ],
)
def test_a_target_is_cleaned_or_refused(value: Any, marks: Marks, meant: Any) -> None:
    assert cleaned(clean_percent, value, marks) == meant


@given(st.decimals(min_value=1, max_value=999, places=2))
def test_a_target_with_a_comma_is_the_one_with_a_dot(number: Decimal) -> None:
    assert clean_percent(f" {number} %".replace(".", ","), DOT) == str(number)


def evidence(*values: Any) -> Evidence:
    found = Evidence()
    for value in values:
        found.add(value)
    return found


@pytest.mark.parametrize(
    ("values", "by_commas", "mark"),
    [
        (("27.5", "18"), True, "."),
        (("27,5", "18"), False, ","),
        (("27,5", "27.5"), False, None),
        (("12.345",), True, "."),
        (("12.345",), False, None),  # a retry file may hold nothing but what was refused
        (("12.345", "27.5"), False, "."),
        (("12.345", "27,5"), False, ","),
        ((), False, "."),
    ],
)
def test_the_decimal_mark_is_found_where_some_number_is_certain(
    values: tuple[str, ...], by_commas: bool, mark: Any
) -> None:
    assert evidence(*values).decimal_mark(separated_by_commas=by_commas) == mark


@pytest.mark.parametrize(
    ("values", "fractions"),
    [
        (("0.275", "1.5", "25%"), True),
        ((0.275, 0.3, None, "n/a"), True),
        (("30%", "40%", "0.25"), False),
        ((Percent(30.0), Percent(40.0), 0.25), False),
        (("27.5", "2"), False),
        (("0,275", "0,3"), True),
        (("",), False),
    ],
)
def test_most_numbers_must_be_low_to_seem_fractions(values: tuple[Any, ...], fractions: bool) -> None:
    assert evidence(*values).seem_fractions is fractions


@given(st.text(max_size=6), st.text(st.characters(categories=["L", "N", "P"]), min_size=1, max_size=6))
def test_trimming_takes_only_what_is_unseen_around(around: str, text: str) -> None:
    unseen = "".join(char for char in around if char in " \t\u00a0\u200b\u2060\ufeff\u3000")

    assert trimmed(f"{unseen}{text}{unseen}") == text


def test_a_row_that_was_cleaned_keeps_what_it_was() -> None:
    row = Row({"asin": "b0", "countryCode": "us", "percACoS": "27,5", "note": " x "}, 7)

    found = Cleaning(MASTERLIST_VALUES, Marks()).cleaned(row)

    assert dict(found) == {"asin": "B0", "countryCode": "US", "percACoS": "27.5", "note": " x "}  # type: ignore[call-overload]  # a row
    assert found.line == 7
    assert isinstance(found, Row)
    assert found.original == dict(row)
