"""Digests of items: whether an input that is read again is the one that was read before, and where they part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from struct import pack
from typing import Any
from zlib import crc32

from pydantic_core import to_json

from ._journal import ItemsRead

MARK = 4
"""Bytes that tell one item from another; the digest is for all items of a record, and much longer."""


def digested(first: int, items: Sequence[Any]) -> ItemsRead:
    """The record of these items, as they were passed in."""
    texts = _texts(items)
    digest = blake2b(b"\n".join(texts), digest_size=16).digest()
    return ItemsRead(first, pack(f"<{len(texts)}I", *map(crc32, texts)), digest)


def parting(recorded: ItemsRead, now: ItemsRead) -> int | None:
    """The index at which the items are others than those that were recorded; None where they are the same.

    Where there are fewer of them it is the index of the first that is missing.
    """
    if recorded == now:
        return None
    for place in range(0, min(len(recorded.marks), len(now.marks)), MARK):
        if recorded.marks[place : place + MARK] != now.marks[place : place + MARK]:
            return recorded.first + place // MARK
    # Fewer items, or others that happen to have the same marks: then nothing but the first is certain.
    return min(recorded.end, now.end) if recorded.end != now.end else recorded.first


def _texts(items: Sequence[Any]) -> list[bytes]:
    try:
        return list(map(to_json, items))
    except Exception:  # noqa: BLE001  # a user's own serializer may raise anything; one by one, it costs one item
        return [_text(item) for item in items]


def _text(item: Any) -> bytes:
    try:
        return to_json(item, fallback=_described)
    except Exception:  # noqa: BLE001  # as above; what is left is what Python says of it
        return to_json(ascii(_described(item)))


def _described(value: Any) -> Any:
    """What stands for something that JSON does not know: the same in every process."""
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, BaseException):
        return [type(value).__qualname__, str(value)]
    kind: Any = type(value)
    # The usual words have an address in them, which is another one in the next process.
    return [kind.__qualname__, "" if kind.__repr__ is object.__repr__ else repr(value)]
