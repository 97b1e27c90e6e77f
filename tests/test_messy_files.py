"""Files as people have them: what is read from each, and what is refused rather than guessed."""

from __future__ import annotations

import asyncio
import datetime as dt
from pathlib import Path
from typing import Any

import pytest

from quartile_async import MASTERLIST, ConfigurationError
from quartile_async.files import MalformedRow, read_items

HERE = Path(__file__).parent / "messy"


def item(asin: str | None, country: str, target: Any, **others: Any) -> dict[str, Any]:
    return {"asin": asin, "countryCode": country, "percACoS": target, **others}


class Refused(str):
    """A record that is REJECTED, with a part of the reason."""

    __slots__ = ()


SHOE = item("B0SHOE0001", "US", "27.5")
ZEROS = "may have taken its leading zeros"
DATE = "is a date"

READ: dict[str, tuple[str, list[tuple[int, Any]]]] = {
    "windows_latin_1.csv": (
        "Windows' own encoding: harmless in columns that are not sent, refused in those that are",
        [
            (2, item("B0SCHUH001", "DE", "27.5", Größe="groß")),
            (3, item("B0HUT00001", "DE", "18", Größe="klein – fein")),
            (4, Refused("not in UTF-8")),
        ],
    ),
    "excel_unicode_text.txt": (
        "UTF-16 with tabs, as Excel saves 'Unicode Text'",
        [(2, SHOE), (3, item("B0HAT00001", "DE", "18"))],
    ),
    "utf_16_without_bom.csv": ("UTF-16 that does not say so", [(2, SHOE)]),
    "utf_8_bom.csv": ("UTF-8 with a BOM", [(2, SHOE)]),
    "blanks_and_case.csv": (
        "blanks of all kinds, lower case, and headers as sellers write them",
        [(2, SHOE), (3, item("B0HAT00001", "DE", "18")), (4, item("B0BAG00001", "GB", "12"))],
    ),
    "percent_signs.csv": (
        "percent signs: they are percent, however low",
        [
            (2, SHOE),
            (3, item("B0HAT00001", "US", "18")),
            (4, item("B0BAG00001", "US", "12")),
            (5, item("B0CAP00001", "US", "0.9")),
        ],
    ),
    "decimal_commas.csv": (
        "decimal commas, found by themselves; a dot among them is not certain",
        [
            (2, item("B0SHOE0001", "DE", "27.5")),
            (3, item("B0HAT00001", "DE", "18")),
            (4, item("B0BAG00001", "DE", "12.345")),
            (5, Refused("percACoS: '12.345' could be a whole number of thousands")),
        ],
    ),
    "both_marks_in_a_column.csv": (
        "commas and dots in one column: only what can mean one thing alone",
        [
            (2, item("B0SHOE0001", "DE", "27.5")),
            (3, item("B0HAT00001", "US", "27.5")),
            (4, Refused("percACoS: '12,345' could be 12.345 or 12345")),
            (5, Refused("percACoS: '12.345' could be")),
        ],
    ),
    "thousands.csv": (
        "commas that may be thousands",
        [
            (2, SHOE),
            (3, Refused("percACoS: '1,234' could be 1.234 or 1234")),
            (4, Refused("percACoS: '1,234.5' has both a comma and a dot")),
            (5, item("B0CAP00001", "US", "7.5")),
        ],
    ),
    "dates_that_excel_made.csv": (
        "dates that a spreadsheet made of 25.5 and the like",
        [(2, item("B0SHOE0001", "DE", "27.5")), *((line, Refused(DATE)) for line in range(3, 8))],
    ),
    "leading_zeros_gone.csv": (
        "ASINs of books, which a spreadsheet takes for numbers",
        [
            (2, Refused(f"asin: '307474278' has 9 digits, and an ASIN 10: a spreadsheet {ZEROS}")),
            (3, item("0307474278", "US", "18")),
            (4, item("030747427X", "US", "18")),
            (5, Refused("asin: a spreadsheet has made the number 9.78E+12 of it")),
        ],
    ),
    "array.json": (
        "a JSON array, with an element that is no object",
        [
            (1, item("B0SHOE0001", "US", 27.5)),
            (2, Refused("not an object")),
            (3, item("B0HAT00001", "DE", "18.5")),
        ],
    ),
    "lines.json": (
        "JSON Lines in a file that is called .json, with a seller's names",
        [(1, item("B0SHOE0001", "US", 27.5)), (2, {"asin": "B0HAT00001"})],
    ),
    "two_parts.csv.gz": ("gzip, in two members", [(2, SHOE), (3, item("B0HAT00001", "DE", "18"))]),
    "two_parts.csv.zst": ("zstd, in two frames", [(2, SHOE), (3, item("B0HAT00001", "DE", "18"))]),
    "sellers_workbook.xlsx": (
        "a workbook: percent formats are scaled, zeros that are shown are there, and dates are refused",
        [
            (2, {"asin": "B0PERCENT1", "countryCode": "US", "Column C": "note", "percACoS": 27.5}),
            (3, {"asin": "B0PERCENT2", "countryCode": "US", "Column C": "note", "percACoS": 150.0}),
            (4, {"asin": "B0PLAIN001", "countryCode": "US", "Column C": "note", "percACoS": 25}),
            (5, {"asin": "B0LITERAL1", "countryCode": "US", "Column C": "note", "percACoS": 30.0}),
            (6, {"asin": "B0TEXT0001", "countryCode": "US", "Column C": "note", "percACoS": "27.5"}),
            (7, Refused("percACoS: a spreadsheet has made a date of it (2026-05-25 00:00:00)")),
            (8, Refused(f"asin: '307474278' has 9 digits, and an ASIN 10: a spreadsheet {ZEROS}")),
            (9, {"asin": "0307474278", "countryCode": "US", "Column C": "note", "percACoS": 20}),
            (10, {"asin": "B0NEGATIVE", "countryCode": "US", "Column C": "note", "percACoS": 30.0}),
            (13, {"asin": "B0AFTERGAP", "countryCode": "DE", "Column C": None, "percACoS": 40}),
            (14, Refused("The row has 6 cells, the header 4.")),
        ],
    ),
    "typed.parquet": (
        "Parquet, with types of its own",
        [
            (1, item("B0SHOE0001", "US", 27.5, since=dt.date(2026, 5, 25))),
            (2, item(None, "DE", 18, since=None)),
        ],
    ),
}


@pytest.mark.parametrize("name", READ)
async def test_each_kind_of_mess_is_read_as_it_is_meant_or_refused_with_its_line(name: str) -> None:
    _, expected = READ[name]

    source = await asyncio.to_thread(read_items, HERE / name, resource=MASTERLIST)
    found = [record async for record in source]

    assert [record.line for record in found] == [line for line, _ in expected]
    for record, (line, meant) in zip(found, expected, strict=True):
        if isinstance(meant, Refused):
            assert isinstance(record, MalformedRow), line
            assert meant in str(record)
        else:
            assert record == meant, line
    assert {type(value) for record in found for value in getattr(record, "values", list)()} <= {
        str,
        int,
        float,
        type(None),
        dt.date,
        __import__("decimal").Decimal,
    }


UNUSABLE: dict[str, tuple[str, tuple[str, ...]]] = {
    "fractions.csv": (
        "fractions of one",
        ("3 of 4 values of 'percACoS' have no percent sign", "(such as 0.275)", "--percent-scale 100"),
    ),
    "unknown_headers.csv": (
        "headers that nobody knows",
        ("'Artikel', 'Land', 'Ziel'", "'countryCode'", "'Marketplace'", "--map COLUMN=FIELD"),
    ),
    "two_columns_for_one_field.csv": ("two columns that mean one field", ("'Country', 'Marketplace'", "--map")),
    "one_object.json": ("JSON that is one object", ("neither a JSON array of objects nor JSON Lines",)),
    "no_workbook.xlsx": ("CSV that is called .xlsx", ("cannot be read as an Excel workbook", "save it as .xlsx")),
}


@pytest.mark.parametrize("name", UNUSABLE)
def test_a_file_that_cannot_be_understood_is_an_error_that_says_what_to_do(name: str) -> None:
    _, parts = UNUSABLE[name]

    with pytest.raises(ConfigurationError) as caught:
        read_items(HERE / name, resource=MASTERLIST)

    assert all(part in str(caught.value) for part in parts), caught.value


@pytest.mark.parametrize("name", ["array_that_breaks_off.json", "breaks_off.csv.gz", "breaks_off.csv.zst"])
def test_a_file_that_breaks_off_is_an_error_that_names_it_and_never_an_end(name: str) -> None:
    async def read() -> None:
        async for _ in await asyncio.to_thread(read_items, HERE / name, resource=MASTERLIST):
            pass

    with pytest.raises(OSError, match=name):
        asyncio.run(read())


@pytest.mark.parametrize(("scale", "first"), [(100, 27.5), (1, "0.275")])
async def test_what_a_percent_column_means_can_be_said(scale: Any, first: Any) -> None:
    source = await asyncio.to_thread(read_items, HERE / "fractions.csv", resource=MASTERLIST, percent_scale=scale)
    targets = [record["percACoS"] async for record in source if not isinstance(record, MalformedRow)]

    assert targets[0] == first
    assert targets[-1] == "25", "a percent sign says it already"


async def test_a_sheet_can_be_named_and_one_that_is_not_there_is_told_with_those_that_are() -> None:
    path = HERE / "sellers_workbook.xlsx"

    notes = await asyncio.to_thread(read_items, path, sheet="Notes")

    assert notes.columns == ("Ask Ana",)
    assert notes.described == "the sheet 'Notes'; not read: 'Targets'"
    with pytest.raises(ConfigurationError, match="Its sheets are 'Targets', 'Notes'"):
        await asyncio.to_thread(read_items, path, sheet="Target")


async def test_an_encoding_can_be_named() -> None:
    path = HERE / "windows_latin_1.csv"
    source = await asyncio.to_thread(read_items, path, resource=MASTERLIST, encoding="cp1252")

    *_, last = [record async for record in source]
    assert str(last) == "asin: 'B0SCHÜH002' has the character '\\xdc' in it. Write the ASIN anew."
    with pytest.raises(ConfigurationError, match="no encoding 'latin-99'"):
        await asyncio.to_thread(read_items, path, encoding="latin-99")


def test_every_messy_file_is_in_one_of_the_tables() -> None:
    breaking = {"array_that_breaks_off.json", "breaks_off.csv.gz", "breaks_off.csv.zst"}
    files = {path.name for path in HERE.iterdir() if path.suffix not in (".py", "")}

    assert files == READ.keys() | UNUSABLE.keys() | breaking
