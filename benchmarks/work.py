"""The work, the same for every client: items, made when asked for, and chunks of them."""

from __future__ import annotations

import random
import string
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, TypeAlias

Item: TypeAlias = dict[str, Any]

PATH = "/amazon/v2/process/masterlist"
BATCH_PATH = "/amazon/v2/batch/"
CHUNK_SIZE = 100

_RANDOM = random.Random(0)


def _letters(count: int) -> str:
    return "".join(_RANDOM.choices(string.ascii_letters + string.digits, k=count))


HEADERS = {"Subscription-Key": _letters(32), "Authorization": f"Bearer {_letters(36)}.{_letters(400)}.{_letters(43)}"}
"""What the hand-written clients send with each request, as the API asks for; a token has the length of a JWT."""

_COUNTRIES = (
    "US",
    "CA",
    "MX",
    "GB",
    "DE",
    "ES",
    "IT",
    "FR",
    "SE",
    "PL",
    "NL",
    "JP",
    "AU",
    "SG",
    "AE",
    "BR",
    "IN",
    "SA",
)
_TARGETS = tuple((50 + step) / 10 for step in range(401))


def items(count: int, first: int = 0) -> Iterator[Item]:
    """Distinct items of the masterlist, made one by one: what a client keeps of them is its own memory."""
    countries, targets = len(_COUNTRIES), len(_TARGETS)
    for number in range(first, first + count):
        yield {
            "asin": f"B0{number:08X}",
            "countryCode": _COUNTRIES[number % countries],
            "percACoS": _TARGETS[number % targets],
        }


def chunks(source: Iterable[Item]) -> Iterator[list[Item]]:
    """Lists of at most 100, as one batch takes them."""
    iterator = iter(source)
    while chunk := list(islice(iterator, CHUNK_SIZE)):
        yield chunk
