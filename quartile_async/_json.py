"""JSON, strict in both directions; by orjson where it is installed, which takes a third off what JSON costs.

What orjson refuses, pydantic's parser decides: there is one verdict, and one wording. Two differences are left: orjson
reads an integer of more than 64 bits as a float, and JSON that is nested more deeply.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from pydantic_core import from_json, to_json

_fast_loads: Callable[[bytes], Any] | None = None
_fast_dumps: Callable[[Any], bytes] | None = None
with suppress(ModuleNotFoundError):
    from orjson import dumps as _fast_dumps
    from orjson import loads as _fast_loads


def parsed(text: bytes) -> Any:
    """What the JSON says. Raises ValueError where it is none; NaN and infinities are none."""
    if _fast_loads is not None:
        with suppress(ValueError):
            return _fast_loads(text)
    return from_json(text, allow_inf_nan=False, cache_strings="keys")


def encoded(objects: Sequence[Any]) -> bytes:
    """An array of JSON objects, which hold nothing but what JSON has."""
    if _fast_dumps is not None:
        with suppress(TypeError):  # an integer of more than 64 bits
            return _fast_dumps(objects)
    return to_json(objects)
