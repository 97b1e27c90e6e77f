"""Writes the messy files; what each is, and what is to be read from it, stands in tests/test_messy_files.py."""

from __future__ import annotations

import datetime as dt
import gzip
from pathlib import Path

import duckdb
import openpyxl
from backports import zstd

HERE = Path(__file__).parent
HEADER = "asin,countryCode,percACoS\n"
ROW = "B0SHOE0001,US,27.5\n"

TEXTS: dict[str, str | bytes] = {
    "windows_latin_1.csv": (
        "ASIN;Marketplace;Target ACoS;Größe\r\n"
        "B0SCHUH001;DE;27,5;groß\r\n"
        "B0HUT00001;DE;18;klein – fein\r\n"
        "B0SCHÜH002;DE;12,5;mittel\r\n"
    ).encode("cp1252"),
    "excel_unicode_text.txt": f"{HEADER}{ROW}B0HAT00001,DE,18\n".replace(",", "\t").encode("utf-16"),
    "utf_16_without_bom.csv": f"{HEADER}{ROW}".encode("utf-16-le"),
    "utf_8_bom.csv": b"\xef\xbb\xbf" + f"{HEADER}{ROW}".encode(),
    "blanks_and_case.csv": (
        "Asin , Country Code,percACoS %\n"
        "\u00a0b0shoe0001 ,us , 27.5\n"
        "B0HAT00001,\tDe,\u202f18\u00a0\n"
        "\u200bB0BAG00001,GB,12\n"
    ),
    "percent_signs.csv": f"{HEADER}B0SHOE0001,US,27.5%\nB0HAT00001,US,18 %\nB0BAG00001,US,%12\nB0CAP00001,US,0.9 %\n",
    "decimal_commas.csv": (
        HEADER.replace(",", ";") + "B0SHOE0001;DE;27,5\nB0HAT00001;DE;18\nB0BAG00001;DE;12,345\nB0CAP00001;DE;12.345\n"
    ),
    "both_marks_in_a_column.csv": (
        HEADER.replace(",", ";")
        + "B0SHOE0001;DE;27,5\nB0HAT00001;US;27.5\nB0BAG00001;DE;12,345\nB0CAP00001;US;12.345\n"
    ),
    "thousands.csv": (
        f'{HEADER}B0SHOE0001,US,27.5\nB0HAT00001,US,"1,234"\nB0BAG00001,US,"1,234.5"\nB0CAP00001,US,"7,5"\n'
    ),
    "dates_that_excel_made.csv": (
        f"{HEADER}B0SHOE0001,DE,27.5\nB0HAT00001,DE,25. Mai\nB0BAG00001,DE,2026-05-25\nB0CAP00001,DE,1-May\n"
        "B0TIE00001,DE,25.05.2026\nB0SCARF001,DE,May 25\n"
    ),
    "leading_zeros_gone.csv": f"{HEADER}307474278,US,27.5\n0307474278,US,18\n030747427X,US,18\n9.78E+12,US,18\n",
    "fractions.csv": f"{HEADER}B0SHOE0001,US,0.275\nB0HAT00001,US,1.5\nB0BAG00001,US,0.07\nB0CAP00001,US,25%\n",
    "unknown_headers.csv": "Artikel,Land,Ziel\nB0SHOE0001,US,27.5\n",
    "two_columns_for_one_field.csv": "asin,Country,Marketplace,percACoS\nB0SHOE0001,US,US,27.5\n",
    "array.json": (
        '[\n  {"asin": "b0shoe0001", "countryCode": "US", "percACoS": 27.5},\n  17,\n'
        '  {"asin": "B0HAT00001", "countryCode": "DE", "percACoS": "18,5"}\n]\n'
    ),
    "lines.json": '{"ASIN": "B0SHOE0001", "Country": "US", "Target ACoS": 27.5}\n{"ASIN": "B0HAT00001"}\n',
    "array_that_breaks_off.json": '[{"asin": "B0SHOE0001", "countryCode": "US", "percACoS": 27.5}, {"asin": ',
    "one_object.json": '{\n  "items": [\n    {"asin": "B0SHOE0001"}\n  ]\n}\n',
    "no_workbook.xlsx": "asin,countryCode,percACoS\n",
}


def compressed() -> dict[str, bytes]:
    """Two parts in one file each, as tools that work in parallel write them; and a file of which the end is missing."""
    first, second = f"{HEADER}{ROW}".encode(), b"B0HAT00001,DE,18\n"
    return {
        "two_parts.csv.gz": gzip.compress(first, mtime=0) + gzip.compress(second, mtime=0),
        "two_parts.csv.zst": zstd.compress(first) + zstd.compress(second),
        "breaks_off.csv.gz": gzip.compress(first * 1_000, mtime=0)[:-30],
        "breaks_off.csv.zst": zstd.compress(bytes(first) * 1_000)[:-10],
    }


def workbook() -> openpyxl.Workbook:
    """What sellers do to a sheet: formats, numbers for ASINs, dates, blank rows, a sheet of notes."""
    book = openpyxl.Workbook()
    notes = book.create_sheet("Notes")
    notes["A1"] = "Ask Ana"
    sheet = book["Sheet"]
    sheet.title = "Targets"
    rows: list[tuple[object, str, object, str]] = [
        ("B0PERCENT1", "US", 0.275, "0.0%"),
        ("B0PERCENT2", "US", 1.5, "0%"),
        ("B0PLAIN001", "US", 25, "General"),
        ("B0LITERAL1", "US", 30, '0" %"'),
        ("B0TEXT0001", "us", "27,5 %", "@"),
        ("B0DATE0001", "US", dt.datetime(2026, 5, 25), "d. mmm"),  # noqa: DTZ001  # a sheet has no zone
        (307474278, "US", 20, "General"),
        (307474278, "US", 20, "General"),
        ("B0NEGATIVE", "US", 0.3, '0%;[Red]-0%;"-"'),
    ]
    sheet.append(["ASIN", "Country", None, "Target ACoS"])
    for asin, country, target, number_format in rows:
        sheet.append([asin, country, "note", target])
        sheet.cell(sheet.max_row, 4).number_format = number_format
    sheet.cell(9, 1).number_format = "0000000000"
    sheet.cell(13, 1, "B0AFTERGAP")
    sheet.cell(13, 2, "DE")
    sheet.cell(13, 4, 40)
    sheet.cell(14, 6, "beside the table")
    return book


def main() -> None:
    for name, content in {**TEXTS, **compressed()}.items():
        (HERE / name).write_bytes(content.encode() if isinstance(content, str) else content)
    workbook().save(HERE / "sellers_workbook.xlsx")
    rows = "('b0shoe0001', 'US', 27.5::DECIMAL(5, 1), DATE '2026-05-25'), (NULL, 'DE', 18, NULL)"
    query = f'SELECT * FROM (VALUES {rows}) t("ASIN", "Country Code", "Target ACoS", "since")'  # noqa: S608  # written here
    with duckdb.connect() as database:
        database.execute(f"COPY ({query}) TO '{HERE / 'typed.parquet'}' (FORMAT parquet)")


if __name__ == "__main__":
    main()
