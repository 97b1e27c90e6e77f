"""Records as rows of a table, and back; and the checksum that holds one row to the one before."""

from __future__ import annotations

import base64
from dataclasses import asdict
from typing import TypeAlias
from zlib import crc32

from pydantic import TypeAdapter
from pydantic_core import from_json, to_json

from ._errors import JournalError
from ._journal import (
    Ended,
    Intended,
    ItemsRead,
    Record,
    RecordedBatch,
    Stage,
    Subject,
    Taken,
    Void,
    indexes_of,
    spans_of,
)

Row: TypeAlias = tuple[str, int, int, str]
"""Kind, number, first and content of a record."""

_SPANS = TypeAdapter(list[int])
_SUBJECT = TypeAdapter(Subject)


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


def batch_of(
    number: int, spans: str | bytes, taken: str | bytes | None, kind: str | None, results: bytes
) -> RecordedBatch:
    """A batch, from the contents of its rows; `kind` is that of its end, where it has one."""
    batch_id, resent = from_json(taken) if taken is not None else (None, False)
    return RecordedBatch(
        number=number,
        indexes=indexes_of(_SPANS.validate_json(spans)),
        stage=Stage(kind or ("taken" if taken else "intended")),
        batch_id=batch_id,
        resent=resent,
        results=results or None,
    )


def subject_of(content: str | bytes) -> Subject:
    """What a journal is about. Raises ValueError where this is no JSON of it."""
    return _SUBJECT.validate_json(content)


def check_subject(journal: object, recorded: Subject, now: Subject) -> None:
    """Raises JournalError where a journal is about something else; `journal` is its name in the message."""
    differing = [
        f"{name} was {before!r} and is now {after!r}"
        for (name, before), after in zip(asdict(recorded).items(), asdict(now).values(), strict=True)
        if before != after
    ]
    if differing:
        raise JournalError(
            f"The journal {journal} is about another upload: {'; '.join(differing)}. Nothing was sent. "
            "Go on with the same resource, server and account, or name another journal."
        )
