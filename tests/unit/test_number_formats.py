"""What a cell means is what it shows; where that is not certain, it says so."""

from __future__ import annotations

from typing import Any

import pytest

from quartile_async._tables.number_formats import sections_of, shown
from quartile_async._tables.rows import Percent, Unclear

UNCLEAR = object()


@pytest.mark.parametrize(
    ("value", "number_format", "meant"),
    [
        (0.275, "0.0%", Percent(27.5)),
        (1.5, "0%", Percent(150.0)),
        (0.07, "0.00 %", Percent(7.0)),
        (30, '0" %"', Percent(30.0)),
        (30, r"0\%", Percent(30.0)),
        (27.5, "0.0[$%]", Percent(27.5)),
        (0.3, '0%;[Red]-0%;"-"', Percent(30.0)),
        (27, "[>=1]0.0;0.0%", 27),
        (0.27, "[>=1]0.0;0.0%", Percent(27.0)),
        (27, "[<5]0%;0", 27),
        (27.5, "0.0;[Red]-0.0%", 27.5),
        (-0.275, "0.0;[Red]-0.0%", Percent(-27.5)),
        (41, "0.0;0.0%", 41),
        (27500, "0.0,", UNCLEAR),
        (27500, '0.0,"%"', UNCLEAR),
        (27500, "#,##0", 27500),
        (1234.5, "#,##0.00", 1234.5),
        (275, r"0\.0", UNCLEAR),
        (275, '00"."0', UNCLEAR),
        (5, '"27.5"', UNCLEAR),
        (0.5, '0%" (of 100%)"', UNCLEAR),
        (0.3, '"%"0%', UNCLEAR),
        (25, "General", 25),
        (25, "0.00", 25),
        (25, '0.00 "EUR"', 25),
        (25, "[$€-407] 0.00", 25),
        (25, "_-* 0.00_-", 25),
        (307474278, "0000000000", "0307474278"),
        (25, "0", 25),
        ("27,5 %", "0%", "27,5 %"),
        (True, "0%", True),
        (None, "0%", None),
    ],
)
def test_a_number_means_what_its_format_shows(value: Any, number_format: str, meant: Any) -> None:
    found = shown(value, number_format)

    if meant is UNCLEAR:
        assert isinstance(found, Unclear)
        assert found.number_format == number_format
    else:
        assert (found, type(found)) == (meant, type(meant))


def test_sections_are_parted_where_no_quote_holds_them_together() -> None:
    assert sections_of(r'0";"0;[Red]\;0;') == ['0";"0', r"[Red]\;0", ""]
