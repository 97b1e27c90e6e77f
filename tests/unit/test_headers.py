from __future__ import annotations

import pytest

from quartile_async import ConfigurationError
from quartile_async._tables.headers import MASTERLIST_SPELLINGS, matched_columns, parsed_map

FIELDS = ("asin", "countryCode", "percACoS")


def matched(*header: str, **named: str) -> dict[str, str]:
    return matched_columns(header, FIELDS, MASTERLIST_SPELLINGS, named)


@pytest.mark.parametrize(
    ("header", "renamed"),
    [
        (FIELDS, {}),
        (("percACoS", "title", "asin", "countryCode"), {}),
        (
            ("ASIN", "Country Code", "Target ACoS"),
            {"ASIN": "asin", "Country Code": "countryCode", "Target ACoS": "percACoS"},
        ),
        (("asin", "country", "percACoS %"), {"country": "countryCode", "percACoS %": "percACoS"}),
        (("asin", "COUNTRY_CODE", "target-acos (%)"), {"COUNTRY_CODE": "countryCode", "target-acos (%)": "percACoS"}),
        (("asin", "Marketplace", "ACoS", "Target ACoS"), {"Marketplace": "countryCode", "Target ACoS": "percACoS"}),
    ],
)
def test_columns_are_known_as_sellers_write_them(header: tuple[str, ...], renamed: dict[str, str]) -> None:
    assert matched(*header) == renamed


def test_a_column_of_any_other_name_is_the_field_that_one_says() -> None:
    named = {"Ziel": "percACoS", "Land": "countryCode"}

    assert matched_columns(("asin", "Land", "Ziel", "Country"), FIELDS, MASTERLIST_SPELLINGS, named) == named
    assert matched(*FIELDS, asin="asin") == {"asin": "asin"}


@pytest.mark.parametrize(
    ("header", "named", "said"),
    [
        (("asin", "percACoS"), {}, "'countryCode' must be there too (or 'Country Code', 'Country'"),
        (("asin", "Country", "ACoS"), {}, "'percACoS' must be there too"),
        (("asin", "Country", "Market", "percACoS"), {}, "'Country', 'Market' could each be countryCode"),
        (("asin", "Country", "countryCode", "percACoS"), {}, "'Country', 'countryCode' could each be countryCode"),
        (FIELDS, {"Ziel": "percACoS"}, "no column 'Ziel'"),
        ((*FIELDS, "Ziel"), {"Ziel": "percACoS"}, "'percACoS' is a column of its own already"),
        (("asin", "Country", "a", "b"), {"a": "percACoS", "b": "percACoS"}, "'a', 'b'"),
        (("asin", "Country", "Target ACoS"), {"Target ACoS": "percAcos"}, "no field 'percAcos': the fields are 'asin'"),
        (tuple(f"c{number}" for number in range(200)), {}, "'c14' and 185 more"),
    ],
)
def test_what_cannot_be_told_is_an_error_that_says_what_was_found_and_what_to_do(
    header: tuple[str, ...], named: dict[str, str], said: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        matched_columns(header, FIELDS, MASTERLIST_SPELLINGS, named)

    assert said in str(caught.value)


def test_what_one_says_is_read_from_the_last_sign_on() -> None:
    assert parsed_map(["Target ACoS=percACoS", " a=b = asin "]) == {"Target ACoS": "percACoS", "a=b": "asin"}


@pytest.mark.parametrize("text", ["", "percACoS", "=percACoS", "Target=", " = "])
def test_what_is_no_column_and_field_is_an_error(text: str) -> None:
    with pytest.raises(ConfigurationError, match="COLUMN=FIELD"):
        parsed_map([text])
