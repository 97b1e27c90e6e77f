"""Records as rows of a table, and back; and the checksum that holds one row to the one before."""

from __future__ import annotations

import base64
from typing import TypeAlias
from zlib import crc32

from pydantic import TypeAdapter
from pydantic_core import from_json, to_json

from ._journal import (
    Ended,
    Intended,
    ItemsRead,
    Record,
    RecordedBatch,
    Stage,
    Taken,
    Void,
    indexes_of,
    spans_of,
)

Row: TypeAlias = tuple[str, int, int, str]
"""Kind, number, first and content of a record."""

_SPANS = TypeAdapter(list[int])


def checksum(before: int, at: int, row: Row) -> int:
    """Of a row, written at this time in milliseconds, and of what came before it."""
    return crc32(repr((at, row)).encode(), before)


def row_of(record: Record) -> Row:
    match record:
        case ItemsRead(first, marks, digest):
            return "read", 0, first, to_json([base64.b64encode(part).decode() for part in (marks, digest)]).decode()
        case Intended(number, indexes):
            return "intended", number, indexes[0], to_json(spans_of(indexes)).decode()
        case Taken(number, batch_id, resent):
            return "taken", number, 0, to_json([batch_id, resent]).decode()
        case Ended(number, results, final):
            return ("ended" if final else "given up"), number, 0, results.decode()
        case Void(number):
            return "void", number, 0, ""


def items_read_of(first: int, content: str) -> ItemsRead:
    """The record of items read that such a row stands for."""
    return ItemsRead(first, *map(base64.b64decode, from_json(content)))


def batch_of(number: int, spans: str, taken: str | None, end: str | None) -> RecordedBatch:
    """A batch, from the contents of its rows; that of the end has the kind of it beside it."""
    batch_id, resent = from_json(taken) if taken is not None else (None, False)
    kind, content = from_json(end) if end is not None else ("taken" if taken else "intended", "")
    return RecordedBatch(
        number=number,
        indexes=indexes_of(_SPANS.validate_json(spans)),
        stage=Stage(kind),
        batch_id=batch_id,
        resent=resent,
        results=content.encode() if content else None,
    )
