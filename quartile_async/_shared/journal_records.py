"""Records of a journal as Redis keeps them, and back. No I/O.

What was read is kept as it is, in bytes. A batch stands by its place: text that sorts as the index of its first item
and its number do, with its indexes behind it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .._journal import Contents, Ended, Intended, ItemsRead, Record, RecordedBatch, Taken, Void
from .._journal_rows import batch_of, row_of
from .connection import text_of

DIGEST = 16
"""Bytes of a digest, which come before the marks."""

DIGITS = 12
"""Of an index, and of a number, in a place."""

ENDS = {"ended": b"e", "given up": b"g", "void": b"v"}
"""How an end begins, by its kind."""

KINDS = {letter[0]: kind for kind, letter in ENDS.items()}


def arguments_of(record: Record) -> tuple[str, int, str | bytes]:
    """Kind, name and content of a record, for the script that writes."""
    match record:
        case ItemsRead(first, marks, digest):
            return "read", first, digest + marks
        case Ended(number, results, final):
            return "end", number, ENDS["ended" if final else "given up"] + results
        case Void(number):
            return "end", number, ENDS["void"]
        case Intended() | Taken():
            kind, number, first, content = row_of(record)
            return kind, number, place_of(first, number) + content if kind == "intended" else content


def place_of(first: int, number: int) -> str:
    """Where the batch with this first index and number stands."""
    return f"{first:0{DIGITS}d}{number:0{DIGITS}d}"


def behind(first: int, number: int) -> str:
    """From where on batches come behind this place; negative before all."""
    return "-" if first < 0 else f"({place_of(first, number)}~"  # what stands behind a place begins with a bracket


def counts_after(records: Sequence[Record], items: int, batches: int) -> tuple[int, int]:
    """How many items have been read, and the highest number of a batch, once these are written."""
    for record in records:
        if isinstance(record, ItemsRead):
            items = max(items, record.end)
        else:
            batches = max(batches, record.number)
    return items, batches


def items_read_of(first: int, contents: Sequence[bytes]) -> list[ItemsRead]:
    """Records of items read, each behind the other, from this index on."""
    found: list[ItemsRead] = []
    for content in contents:
        found.append(ItemsRead(first, content[DIGEST:], content[:DIGEST]))
        first = found[-1].end
    return found


def recorded_batch_of(placed: bytes, taken: bytes, end: bytes) -> RecordedBatch:
    """A batch, from its place with its indexes, and what became of it.

    Raises:
        ValueError: nobody has written this.
    """
    number, spans = int(placed[DIGITS : 2 * DIGITS]), placed[2 * DIGITS :]
    if end and end[0] not in KINDS:
        raise ValueError(f"the end of batch {number} is of no kind that is known")
    return batch_of(number, spans, taken or None, KINDS[end[0]] if end else None, end[1:])


def contents_of(fields: Sequence[Any]) -> Contents:
    """What the journal holds: items, batches, and when it was begun, last written and finished, in milliseconds."""
    items, batches, started, touched, finished = map(text_of, fields)
    return Contents(
        items=int(items),
        batches=int(batches),
        started_at=int(started) / 1000,
        touched_at=int(touched) / 1000,
        finished_at=int(finished) / 1000 if finished else None,
    )
