"""Values as people write them, made what the API takes, or refused where that takes guessing. No I/O."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any, Literal, TypeAlias, cast

from .._errors import ConfigurationError
from .rows import MalformedRow, Percent, Row

DecimalMark: TypeAlias = Literal[".", ","]
PercentScale: TypeAlias = Literal[1, 100]

BLANKS = " \t\r\n\v\f\u00a0\u2007\u202f\u2009\u200b\u200e\u200f\ufeff"
"""What stands around values unseen: blanks of all kinds, and marks of direction and of order."""

ASIN_LENGTH = 10
LOW = 5.0
"""Targets of percent are rarely below it, and fractions of one are not above it."""

LEAST_LOW, SHARE_OF_LOW = 1, 0.5
"""How many low values there must be, and the share of a column's that they must exceed, to be taken for fractions."""

DATE = re.compile(
    r"\d{1,4}([-/.])\d{1,2}\1(\d{1,4})?( .*)?"  # 25.05.2026, 2026-05-25 00:00:00, 25.5.
    r"|\d{1,2}[-/. ]+[^\W\d]{3,9}\.?([-/. ]+\d{2,4})?"  # 25. Mai, 1-May-26
    r"|[^\W\d]{3,9}\.?[-/. ]+\d{1,4}"  # May 25
)
EXPONENT = re.compile(r"\d(?:[.,]\d+)?[Ee]\+\d+")
ONE_COMMA = re.compile(r"([+-]?\d+),(\d+)")
ONE_DOT = re.compile(r"[+-]?\d+\.(\d+)")


class RefusedValueError(ValueError):
    """A value whose meaning is not certain; the text says why, and what to write instead."""


@dataclass(slots=True, frozen=True)
class Marks:
    """How numbers are written in a table.

    Attributes:
        decimal: the mark between the whole and its parts; None: it is not certain.
        said: whether a person has said so: the other one is then refused.
        scale: what a number without a percent sign is multiplied with.
    """

    decimal: DecimalMark | None = "."
    said: bool = False
    scale: PercentScale = 1


# ----------------------------------------------------------------------------------------------------------------
# One value


def clean_asin(value: Any, marks: Marks) -> Any:
    """An ASIN without blanks around it, in upper case.

    Raises:
        RefusedValueError: a spreadsheet has made something else of it.
    """
    if isinstance(value, dt.date | dt.time | dt.timedelta):
        raise RefusedValueError(f"a spreadsheet has made a date of it ({value}). {AS_TEXT}")
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        return value
    asin = value.strip(BLANKS).upper()
    if asin.isascii() and asin.isdigit() and len(asin) < ASIN_LENGTH:
        raise RefusedValueError(
            f"{asin!r} has {len(asin)} digits, and an ASIN {ASIN_LENGTH}: a spreadsheet may have taken its leading "
            f"zeros. {AS_TEXT}"
        )
    if EXPONENT.fullmatch(asin):
        raise RefusedValueError(f"a spreadsheet has made the number {asin} of it. {AS_TEXT}")
    return asin


def clean_country(value: Any, marks: Marks) -> Any:
    """A country's code without blanks around it, in upper case."""
    return value.strip(BLANKS).upper() if isinstance(value, str) else value


def clean_percent(value: Any, marks: Marks) -> Any:
    """A number of percent, with a dot for its decimal mark.

    Raises:
        RefusedValueError: it could be read in more than one way, or is a date.
    """
    if isinstance(value, Percent):
        return float(value)
    if isinstance(value, dt.date | dt.time | dt.timedelta):
        raise RefusedValueError(f"a spreadsheet has made a date of it ({value}). {AS_NUMBER}")
    if isinstance(value, int | float | Decimal) and not isinstance(value, bool):
        return value if marks.scale == 1 else _times_100(str(value))
    if not isinstance(value, str):
        return value
    text = value.strip(BLANKS)
    number = text.removesuffix("%").removeprefix("%").strip(BLANKS)
    if DATE.fullmatch(number):
        raise RefusedValueError(f"{text!r} is a date, perhaps made by a spreadsheet. {AS_NUMBER}")
    number = with_a_dot(number, marks)
    return number if marks.scale == 1 or number_is_marked(text) else _times_100(number)


def number_is_marked(text: str) -> bool:
    """Whether a number has a percent sign."""
    return text.startswith("%") or text.endswith("%")


def with_a_dot(text: str, marks: Marks) -> str:
    """A number with a dot for its decimal mark; what is no number is left as it is.

    Raises:
        RefusedValueError: its marks could be read in more than one way.
    """
    if "," not in text and "." not in text:
        return text
    if "," in text and "." in text and not set(text) - set("0123456789.,+-' "):
        raise RefusedValueError(f"{text!r} has both a comma and a dot. Write it with one decimal mark and no other.")
    other = {".": ",", ",": "."}.get(marks.decimal or "")
    if marks.said and other is not None and other in text and _one_mark(text):
        raise RefusedValueError(
            f"{text!r} has a {_NAMES[other]}, and {_NAMES[marks.decimal or '.']}s were said to be used."
        )
    if comma := ONE_COMMA.fullmatch(text):
        if marks.decimal != "," and len(comma[2]) == 3:
            raise RefusedValueError(
                f"{text!r} could be {comma[1]}.{comma[2]} or {comma[1]}{comma[2]}. Write it with a dot, or say "
                "--decimal ,"
            )
        return f"{comma[1]}.{comma[2]}"
    if marks.decimal != "." and (dot := ONE_DOT.fullmatch(text)) and len(dot[1]) == 3:
        raise RefusedValueError(
            f"{text!r} stands among numbers with a comma: it could be a whole number of thousands. Write it without "
            "the dot, or with a comma, or say --decimal ."
        )
    return text


def _one_mark(text: str) -> bool:
    return bool(ONE_COMMA.fullmatch(text) or ONE_DOT.fullmatch(text))


def _times_100(text: str) -> Any:
    try:
        scaled = Decimal(text) * 100
    except InvalidOperation:
        return text  # no number: the check of the item says so
    return float(scaled) if scaled.is_finite() else text


_NAMES = {".": "dot", ",": "comma"}
AS_TEXT = "Write the ASIN with all its characters, in a column that is formatted as text."
AS_NUMBER = "Write the number of percent that was meant, in a column that is formatted as numbers."


# ----------------------------------------------------------------------------------------------------------------
# A record


Clean: TypeAlias = Callable[[Any, Marks], Any]
MASTERLIST_VALUES: Mapping[str, Clean] = {
    "asin": clean_asin,
    "countryCode": clean_country,
    "percACoS": clean_percent,
}
"""Field -> what cleans its values."""


@dataclass(slots=True, frozen=True)
class Cleaning:
    """How the records of a table are cleaned.

    Attributes:
        values: field -> what cleans its values.
    """

    values: Mapping[str, Clean] = field(default_factory=dict)
    marks: Marks = Marks()

    def cleaned(self, record: Row | MalformedRow) -> Row | MalformedRow:
        """The record with clean values, and with what it was; or what it is refused for."""
        if isinstance(record, MalformedRow):
            return record
        changed: dict[str, Any] = {}
        for name, clean in self.values.items():
            value = record.get(name)
            if value is None:
                continue
            try:
                new = clean(value, self.marks)
            except RefusedValueError as error:
                text = "\t".join("" if each is None else str(each) for each in record.values())
                return MalformedRow(f"{name}: {error}", line=record.line, text=text, fields=record)
            if new is not value and (new != value or type(new) is not type(value)):
                changed[name] = new
        return Row(record | changed, record.line, record) if changed else record


# ----------------------------------------------------------------------------------------------------------------
# A column


def decimal_mark_of(values: Iterable[Any]) -> DecimalMark | None:
    """How a column's numbers are written.

    With a comma where some certainly are and none with a dot; None where some are written in either way; else with a
    dot.
    """
    commas = dots = False
    for value in values:
        text = value.strip(BLANKS).strip("%").strip(BLANKS) if isinstance(value, str) else ""
        if comma := ONE_COMMA.fullmatch(text):
            commas = commas or len(comma[2]) != 3
        elif dot := ONE_DOT.fullmatch(text):
            dots = dots or len(dot[1]) != 3
    if not commas:
        return "."
    return None if dots else ","


def seem_fractions(values: Iterable[Any], marks: Marks) -> bool:
    """Whether most numbers of a column are so low that they may be fractions: 0.275 for 27.5 %.

    Numbers with a percent sign or a percent format are certain, and do not count.
    """
    low = count = 0
    for value in values:
        number = _plain_number(value, marks)
        if number is not None:
            count += 1
            low += number < LOW
    return low >= LEAST_LOW and low > SHARE_OF_LOW * count


def _plain_number(value: Any, marks: Marks) -> float | None:
    if isinstance(value, Percent | bool) or (isinstance(value, str) and number_is_marked(value.strip(BLANKS))):
        return None
    try:
        number = float(clean_percent(value, marks))
    except (RefusedValueError, ValueError, TypeError):
        return None
    return number if number > 0 else None


def checked_decimal(text: str | None) -> DecimalMark | None:
    """A decimal mark, as a person has said it.

    Raises:
        ConfigurationError: it is another.
    """
    if text not in (None, ".", ","):
        raise ConfigurationError(f"--decimal {text!r} cannot be used: give , or . (the mark between 27 and 5 in 27.5).")
    return cast("DecimalMark | None", text)
