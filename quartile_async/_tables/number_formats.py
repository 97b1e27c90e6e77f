"""What a number in a cell means, as its format shows it. No I/O."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from .rows import Percent, Unclear

TOKEN = re.compile(r'"[^"]*"|\\.|_.|\*.|\[[^\]]*\]|.', re.DOTALL)
"""A part of a format: quoted, escaped, a blank as wide as a character, a filling, something in brackets, or a sign."""

CONDITION = re.compile(r"\[(<=|>=|<>|<|>|=)(-?\d+(?:\.\d+)?)\]")
DIGITS = frozenset("0#?")


@dataclass(slots=True, frozen=True)
class Section:
    """One section of a format, taken apart.

    Attributes:
        signs: what acts: places for digits, marks, percent signs.
        words: what is written as it is.
        condition: operator and number; None: it has none.
    """

    signs: str
    words: str
    condition: tuple[str, float] | None


def shown(value: Any, number_format: str | None) -> Any:
    """A cell's value, as it is shown.

    A number with a percent format is one of percent, and one that is shown with leading zeros has them. Where a format
    changes what a number looks like in another way, it is `Unclear`.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or number_format in (None, "General", "@"):
        return value
    assert number_format is not None
    section = section_for(value, _sections(number_format))
    return Unclear(f"{value}", number_format) if section is None else _in_section(value, number_format, section)


@functools.lru_cache(maxsize=256)
def _sections(number_format: str) -> list[Section]:
    """Worked out once for each format, and not for each cell."""
    return [taken_apart(text) for text in sections_of(number_format)]


def _in_section(value: float, number_format: str, section: Section) -> Any:
    percents, literal = section.signs.count("%"), section.words.count("%")
    if is_misleading(section) or percents + literal > 1:
        return Unclear(f"{value}", number_format)
    if percents:
        return Percent(Decimal(repr(value)) * 100)
    if literal:
        return Percent(value)  # the sign is only written beside it
    if isinstance(value, int) and re.fullmatch("0{2,}", section.signs):
        return str(value).zfill(len(section.signs))
    return value


def sections_of(number_format: str) -> list[str]:
    """The sections of a format, which semicolons part."""
    sections = [""]
    for part in TOKEN.findall(number_format):
        if part == ";":
            sections.append("")
        else:
            sections[-1] += part
    return sections


def taken_apart(text: str) -> Section:
    """A section, with what acts apart from what is only written."""
    signs, words, condition = "", "", None
    for part in TOKEN.findall(text):
        if part[0] == '"':
            words += part[1:-1]
        elif part[0] == "\\" and len(part) > 1:
            words += part[1]
        elif part[0] in "_*" and len(part) > 1:
            continue
        elif found := CONDITION.fullmatch(part):
            condition = (found[1], float(found[2]))
        elif part.startswith("[$"):
            words += part[2:-1].partition("-")[0]
        elif not part.startswith("["):  # colours, and the like
            signs += part
    return Section(signs, words, condition)


def section_for(value: float, sections: list[Section]) -> Section | None:
    """The section that shows a number; None: no telling."""
    if any(section.condition for section in sections):
        return next((each for each in sections[:3] if each.condition is None or _meets(value, each.condition)), None)
    if value < 0 and len(sections) > 1:
        return sections[1]
    if value == 0 and len(sections) > 2:
        return sections[2]
    return sections[0]


def _meets(value: float, condition: tuple[str, float]) -> bool:
    operator, number = condition
    return {
        "<": value < number,
        ">": value > number,
        "=": value == number,
        "<=": value <= number,
        ">=": value >= number,
        "<>": value != number,
    }[operator]


def is_misleading(section: Section) -> bool:
    """Whether a number is not what it looks like: divided by thousands, or with digits or marks of the format's."""
    digits = [place for place, sign in enumerate(section.signs) if sign in DIGITS]
    if not digits:
        return bool(section.words) or section.signs.strip() not in ("", "-", "General", "@")
    end = digits[-1] + 1
    divided = section.signs[end : end + 1] == "," or re.search(r"[0#?],+\.", section.signs)
    return bool(divided) or any(char.isdigit() or char in ".," for char in section.words)
