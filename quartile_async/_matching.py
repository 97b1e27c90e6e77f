"""Rows to items, by natural key and never by position. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain, repeat
from operator import itemgetter
from typing import Any, TypeAlias

from ._chunking import Chunk
from ._keys import row_keys
from ._resources import Resource
from ._results import BatchStatus, ItemResult, Outcome

SAYS_YES = frozenset({"SUCCESS", "PARTIAL"})
SAYS_NO = frozenset({"SUCCESS", "PARTIAL", "FAILED"})

Reading: TypeAlias = tuple[Outcome, str, str | None, str | None]
"""Outcome, message, process and id."""

Columns: TypeAlias = tuple[Iterable[Any], ...]
"""Readings of many rows: outcomes, messages, processes and ids."""

_OUTCOMES = {True: Outcome.SUCCEEDED, False: Outcome.FAILED}
_Getter: TypeAlias = Callable[[Any], Any]
_verdict: _Getter = itemgetter("status")
_row_id: _Getter = itemgetter("id")
_VERDICT_PARTS: tuple[_Getter, ...] = (itemgetter("success"), itemgetter("message"), itemgetter("process"))


@dataclass(slots=True)
class Matched:
    """The results of a batch that has ended.

    Attributes:
        status: the server's word for the end.
        results: one for each item, in input order.
        foreign_rows: rows that belong to no item, or to one that had its row.
        fits: whether any row belongs to an item, or there were none at all.
    """

    status: str
    results: list[ItemResult[Any]]
    foreign_rows: int
    fits: bool


def match(chunk: Chunk, status: BatchStatus, resource: Resource[Any], *, resent: bool) -> Matched:
    """The results of a chunk whose batch has ended with these rows.

    An item whose row is missing, unreadable or contradicted by another row is UNKNOWN, never a success.
    """
    rows, contradicted = _rows_of(chunk, status.rows, resource.key)
    columns, missing = None, 0
    if not contradicted and status.status in SAYS_YES:
        columns = _usual_readings(rows)
    if columns is None:
        columns = _columns_of_each(rows, status, [key in contradicted for key in chunk.keys])
        missing = sum(row is None for row in rows)
    results: list[ItemResult[Any]] = list(
        map(
            ItemResult,
            chunk.indexes,
            chunk.items,
            *columns,
            repeat(status.batch_id),
            rows,
            repeat(False),
            repeat(resent),
        )
    )
    matched = len(rows) - missing
    return Matched(status.status, results, len(status.rows) - matched, matched > 0 or not status.rows)


def _usual_readings(rows: Sequence[dict[str, Any] | None]) -> Columns | None:
    """The readings of rows that all have the documented form, without a call into Python for each; None if not."""
    try:
        verdicts = list(map(_verdict, rows))
        successes, messages, processes = (list(map(part, verdicts)) for part in _VERDICT_PARTS)
        ids = list(map(_row_id, rows))
        "".join(chain(messages, processes, ids))  # raises where one is no string
    except (TypeError, KeyError):
        return None
    # JSON has True, and 1, which equals it: the types tell them apart.
    if {*map(type, successes)} != {bool}:
        return None
    return map(_OUTCOMES.__getitem__, successes), messages, processes, ids


def _columns_of_each(
    rows: Sequence[dict[str, Any] | None], status: BatchStatus, contradicted: Sequence[bool]
) -> Columns:
    readings = [
        _contradicted(status) if contradicts else read_row(row, status)
        for row, contradicts in zip(rows, contradicted, strict=True)
    ]
    return tuple(map(list, zip(*readings, strict=True)))


def read_row(row: dict[str, Any] | None, status: BatchStatus) -> Reading:
    """Outcome, message, process and id of one row. Nothing but `true` is a success."""
    if row is None:
        return (
            Outcome.UNKNOWN,
            f"Batch {status.batch_id} has ended ({status.status}) without a row for this item.",
            None,
            None,
        )
    verdict, row_id = row.get("status"), _text(row.get("id"))
    if not isinstance(verdict, dict):
        return (
            Outcome.UNKNOWN,
            f"Batch {status.batch_id} has ended; this item's row has no readable status.",
            None,
            row_id,
        )
    success, message, process = (
        verdict.get("success"),
        _text(verdict.get("message")) or "",
        _text(verdict.get("process")),
    )
    if success is True and status.status in SAYS_YES:
        return Outcome.SUCCEEDED, message, process, row_id
    if success is False and status.status in SAYS_NO:
        return Outcome.FAILED, message, process, row_id
    return Outcome.UNKNOWN, _unreadable(status, success, message), process, row_id


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _rows_of(
    chunk: Chunk, answered: list[dict[str, Any]], names: tuple[str, ...]
) -> tuple[Sequence[dict[str, Any] | None], set[Any]]:
    """The row of each item, None where it has none; and the keys whose rows contradict each other."""
    keys = row_keys(answered, names)
    if keys == chunk.keys:  # the usual order: nothing has to be looked for
        return answered, set()
    by_key, contradicted = _by_key(keys, answered)
    return list(map(by_key.get, chunk.keys)), contradicted


def _by_key(keys: Sequence[Any], rows: Sequence[dict[str, Any]]) -> tuple[dict[Any, dict[str, Any]], set[Any]]:
    """The first row of each key, and the keys whose rows contradict each other."""
    by_key = dict(zip(keys, rows, strict=True))
    contradicted: set[Any] = set()
    if len(by_key) < len(rows):
        by_key.clear()
        for key, row in zip(keys, rows, strict=True):
            if _success_of(by_key.setdefault(key, row)) is not _success_of(row):
                contradicted.add(key)
    by_key.pop(None, None)
    return by_key, contradicted


def _success_of(row: dict[str, Any]) -> object:
    verdict = row.get("status")
    success = verdict.get("success") if isinstance(verdict, dict) else None
    return success if isinstance(success, bool) else None


def _contradicted(status: BatchStatus) -> Reading:
    message = f"Batch {status.batch_id} has ended ({status.status}) with rows for this item that contradict each other."
    return Outcome.UNKNOWN, message, None, None


def _unreadable(status: BatchStatus, success: object, message: str) -> str:
    said = f" The row says: {message}" if message else ""
    return (
        f"Batch {status.batch_id} has ended with status {status.status!r} and success {success!r} in this item's row, "
        f"which cannot be read as either.{said}"
    )
