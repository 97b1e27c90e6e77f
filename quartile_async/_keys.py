"""Natural keys: when two JSON objects speak of the same thing.

Letter case is folded and numbers are equal by value, because neither the case nor the type of what comes back is
promised (contract, "Not promised anywhere"). A number also equals the string that spells it in full, 123 and
"123"; a string is never read as a number, so that "0123" and "123" stay two ASINs.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Any, TypeAlias

from ._resources import OWN_FIELDS

Key: TypeAlias = Hashable
"""A string where all its fields are strings: a string computes its hash once, a tuple whenever it is looked up."""

_BETWEEN = "\0"


def fold(value: Any) -> Hashable:
    """The form of a JSON value in which equal values are equal."""
    if isinstance(value, str):
        return value.casefold()
    if value is None or isinstance(value, bool):
        return (value,)  # a tuple, because True would equal 1 and "true" is a word
    if isinstance(value, int | float):
        return _spelled(value)
    if isinstance(value, Mapping):
        return ("{}", *((name, fold(value[name])) for name in sorted(value)))
    return ("[]", *map(fold, value))


def _spelled(number: float) -> str:
    return str(int(number)) if isinstance(number, int) or number.is_integer() else repr(number)


def whole_object(value: Mapping[str, Any]) -> Key:
    """The key of an object that has no named key: all of it, but for what the server adds."""
    return (fold({name: part for name, part in value.items() if name not in OWN_FIELDS}),)


def named_key(values: Iterable[Any]) -> Key:
    """The key made of the values of the key's fields."""
    parts = tuple(map(fold, values))
    try:
        key = _BETWEEN.join(parts)  # type: ignore[arg-type]  # what is no string raises
    except TypeError:
        return parts
    return key if key.count(_BETWEEN) == len(parts) - 1 else parts


def row_keys(rows: Sequence[Any], names: Sequence[str]) -> list[Key | None]:
    """The key of each row; None for what is no object or lacks a field of the key."""
    if names:
        try:
            return list(_string_keys(rows, names))
        except (TypeError, KeyError, ValueError):
            pass
    return [row_key(row, names) for row in rows]


def _string_keys(rows: Sequence[Any], names: Sequence[str]) -> list[Key]:
    """The keys of rows whose key fields are strings, all at once and without a call into Python for each.

    Raises:
        TypeError, KeyError, ValueError: a field is not a string, is missing, or has a NUL: take them one by one.
    """
    fields = map(itemgetter(*names), rows)
    keys = list(map(str.casefold, fields if len(names) == 1 else map(_BETWEEN.join, fields)))
    if "".join(keys).count(_BETWEEN) != len(keys) * (len(names) - 1):
        raise ValueError("A field has the character that stands between two fields.")
    return keys  # type: ignore[return-value]  # a list of strings, which nobody changes


def row_key(row: Any, names: Sequence[str]) -> Key | None:
    """The key of one object; None where it is no object or lacks a field of the key."""
    if not isinstance(row, dict):
        return None
    if not names:
        return whole_object(row)
    try:
        return named_key(row[name] for name in names)
    except KeyError:
        return None
