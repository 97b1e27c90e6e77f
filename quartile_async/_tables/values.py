"""Values as people write them, made what the API takes, or refused where that takes guessing. No I/O."""

from __future__ import annotations

import datetime as dt
import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any, Literal, TypeAlias, cast

from .._errors import ConfigurationError
from .rows import MalformedRow, Percent, Row, Unclear

DecimalMark: TypeAlias = Literal[".", ","]
PercentScale: TypeAlias = Literal[1, 100]

UNSEEN = ("Cc", "Cf", "Zs", "Zl", "Zp")
"""Unicode's categories of what stands around values unseen: blanks of all kinds, marks of direction and of order."""

ASIN_LENGTH = 10
LOW = 5.0
"""Targets of percent are rarely below it, and fractions of one are not above it."""

SHARE_OF_LOW = 0.5
"""The share of a column's numbers that low ones must exceed to be taken for fractions."""

ENOUGH = 1_000
"""Numbers of a column that tell how it is written."""

DATE = re.compile(
    r"\d{1,4}([-/.])\d{1,2}\1(\d{1,4})?( .*)?"  # 25.05.2026, 2026-05-25 00:00:00, 25.5.
    r"|\d{1,2}[-/. ]+[^\W\d]{3,9}\.?([-/. ]+\d{2,4})?"  # 25. Mai, 1-May-26
    r"|[^\W\d]{3,9}\.?[-/. ]+\d{1,4}"  # May 25
)
EXPONENT = re.compile(r"\d(?:[.,]\d+)?[Ee]\+\d+")
ONE_COMMA = re.compile(r"([+-]?\d+),(\d+)")
ONE_DOT = re.compile(r"([+-]?\d+)\.(\d+)")


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


def trimmed(text: str) -> str:
    """A text without what stands around it unseen."""
    text = text.strip()
    if text.isascii():
        return text.strip(ASCII_UNSEEN)
    first, last = 0, len(text)
    while first < last and unicodedata.category(text[first]) in UNSEEN:
        first += 1
    while last > first and unicodedata.category(text[last - 1]) in UNSEEN:
        last -= 1
    return text[first:last]


ASCII_UNSEEN = "".join(map(chr, range(33))) + "\x7f"


def refuse_unclear(value: Any) -> None:
    """Refuses what a cell shows as something else.

    Raises:
        RefusedValueError: it is such a value.
    """
    if isinstance(value, Unclear):
        raise RefusedValueError(
            f"the cell has {str(value)!r}, and its format ({value.number_format}) shows another number. Give the cell "
            "a plain format, and see that the number is the one that is meant."
        )
    if isinstance(value, str) and value.startswith("#") and value.rstrip("!?").upper() in ERROR_VALUES:
        raise RefusedValueError(f"the cell shows the error {value}. Mend the formula, or write the value.")


ERROR_VALUES = {"#N/A", "#REF", "#VALUE", "#DIV/0", "#NAME", "#NULL", "#NUM", "#SPILL", "#CALC", "#GETTING_DATA"}


def clean_asin(value: Any, marks: Marks) -> Any:
    """An ASIN without blanks around it, in upper case.

    Raises:
        RefusedValueError: a spreadsheet has made something else of it.
    """
    if isinstance(value, dt.date | dt.time | dt.timedelta):
        raise RefusedValueError(f"a spreadsheet has made a date of it ({value}). {AS_TEXT}")
    refuse_unclear(value)
    if isinstance(value, bool):
        raise RefusedValueError(f"a spreadsheet has made a truth value of it ({value}). {AS_TEXT}")
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int):
        value = str(value)
    if not isinstance(value, str):
        return value
    asin = trimmed(value).upper()
    if odd := next((char for char in asin if not (" " <= char <= "~" or char in "\r\n")), None):
        raise RefusedValueError(f"{asin!r} has the character {odd!a} in it. Write the ASIN anew.")
    if asin in ("TRUE", "FALSE"):
        raise RefusedValueError(f"a spreadsheet has made a truth value of it ({asin}). {AS_TEXT}")
    if asin.isascii() and asin.isdigit() and len(asin) < ASIN_LENGTH:
        raise RefusedValueError(
            f"{asin!r} has {len(asin)} digits, and an ASIN {ASIN_LENGTH}: a spreadsheet may have taken its leading "
            f"zeros. {AS_TEXT}"
        )
    if EXPONENT.fullmatch(asin):
        raise RefusedValueError(f"a spreadsheet has made the number {asin} of it. {AS_TEXT}")
    return asin


def clean_country(value: Any, marks: Marks) -> Any:
    """A country's code without blanks around it, in upper case.

    Raises:
        RefusedValueError: it is one that the API calls by another name.
    """
    refuse_unclear(value)
    if not isinstance(value, str):
        return value
    country = trimmed(value).upper()
    if country == "UK":
        raise RefusedValueError("'UK' is called GB here. Write GB.")
    return country


def clean_percent(value: Any, marks: Marks) -> Any:
    """A number of percent, with a dot for its decimal mark.

    Raises:
        RefusedValueError: it could be read in more than one way, or is a date.
    """
    refuse_unclear(value)
    if isinstance(value, Percent):
        return float(value)
    if isinstance(value, dt.date | dt.time | dt.timedelta):
        raise RefusedValueError(f"a spreadsheet has made a date of it ({value}). {AS_NUMBER}")
    if isinstance(value, int | float | Decimal) and not isinstance(value, bool):
        return value if marks.scale == 1 else _times_100(str(value))
    if not isinstance(value, str):
        return value
    text = trimmed(value)
    number = text.removesuffix("%").removeprefix("%").strip()
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
        if marks.decimal != "," and _may_be_thousands(comma[1], comma[2]):
            raise RefusedValueError(
                f"{text!r} could be {comma[1]}.{comma[2]} or {comma[1]}{comma[2]}. Write it with a dot, or say "
                "--decimal ,"
            )
        return f"{comma[1]}.{comma[2]}"
    if marks.decimal != "." and (dot := ONE_DOT.fullmatch(text)) and _may_be_thousands(dot[1], dot[2]):
        raise RefusedValueError(
            f"{text!r} could be a whole number of thousands, as the column may have decimal commas. Write it without "
            "the dot, or with a comma."
        )
    return text


def _may_be_thousands(whole: str, part: str) -> bool:
    """Whether a number with a mark between these could be one of thousands."""
    return len(part) == 3 and bool(re.fullmatch(r"[+-]?[1-9]\d{0,2}", whole))


def _one_mark(text: str) -> bool:
    return bool(ONE_COMMA.fullmatch(text) or ONE_DOT.fullmatch(text))


def _times_100(text: str) -> Any:
    try:
        number = Decimal(text)
    except InvalidOperation:
        return text  # no number: the check of the item says so
    if number > LOW:
        raise RefusedValueError(
            f"{text} was said to be a fraction of one, and would be {number * 100:f} %. Write it as a fraction, or "
            "with a percent sign."
        )
    return float(number * 100) if number.is_finite() else text


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
                fields = record if record.original is None else record.original
                return MalformedRow(f"{name}: {error}", line=record.line, text=text, fields=fields)
            if new is not value and (new != value or type(new) is not type(value)):
                changed[name] = new
        original = record if record.original is None else record.original
        return Row(record | changed, record.line, original) if changed else record


# ----------------------------------------------------------------------------------------------------------------
# A column


@dataclass(slots=True)
class Evidence:
    """What a column's values tell of how they are written.

    Attributes:
        commas, dots: numbers whose mark is certainly a decimal one.
        thousands: numbers with a dot that could be one of thousands.
        low: numbers without a percent sign that are so low that they may be fractions.
        plain: numbers without a percent sign.
        marked: numbers with one, or with a percent format.
        a_low_one: the first of them.
    """

    commas: int = 0
    dots: int = 0
    thousands: int = 0
    low: int = 0
    plain: int = 0
    marked: int = 0
    a_low_one: Any = None

    def add(self, value: Any) -> None:
        """Takes a value into account."""
        self._add_marks(value)
        if isinstance(value, Percent) or (isinstance(value, str) and number_is_marked(trimmed(value))):
            self.marked += 1
        elif (number := _plain_number(value)) is not None:
            self.plain += 1
            if number < LOW:
                self.low += 1
                self.a_low_one = value if self.a_low_one is None else self.a_low_one

    def _add_marks(self, value: Any) -> None:
        if not isinstance(value, str):
            return
        text = trimmed(value).strip("%").strip()
        if comma := ONE_COMMA.fullmatch(text):
            self.commas += not _may_be_thousands(comma[1], comma[2])
        elif dot := ONE_DOT.fullmatch(text):
            may_be = _may_be_thousands(dot[1], dot[2])
            self.dots += not may_be
            self.thousands += may_be

    @property
    def is_enough(self) -> bool:
        """Whether more values would tell nothing else, as far as one can say."""
        return self.plain >= ENOUGH and self.commas + self.dots >= min(ENOUGH, self.plain)

    def decimal_mark(self, *, separated_by_commas: bool) -> DecimalMark | None:
        """How the numbers are written; None: not all of them in one way, so that some are not certain.

        Args:
            separated_by_commas: whether decimal commas would have to be quoted, so that a dot is the usual mark.
        """
        if self.commas:
            return None if self.dots else ","
        uncertain = self.thousands and not self.dots and not separated_by_commas
        return None if uncertain else "."

    @property
    def seem_fractions(self) -> bool:
        """Whether most of the numbers may be fractions: 0.275 for 27.5 %."""
        return self.low > SHARE_OF_LOW * (self.plain + self.marked)


def _plain_number(value: Any) -> float | None:
    if isinstance(value, bool | Unclear):
        return None
    try:
        number = float(str(value).strip().replace(",", "."))
    except ValueError:
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
