"""Results as they go from a worker to the caller: JSON, with their items. No I/O."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import pydantic
from pydantic_core import from_json, to_json

from .._results import ItemResult, Outcome
from .._tables.rows import MalformedRow, Row
from .results import PartItemResult

LARGEST = 1 << 20
"""Bytes of a block, at most, where it has more than one result: many blocks wait in Redis for a slow consumer."""


class Block(NamedTuple):
    """Results of one part.

    Attributes:
        part: its number.
        run: which run of it has told them.
        results: they.
        accounted: whether they are results; else, they stand for items that got none.
    """

    part: int
    run: str
    results: list[PartItemResult]
    accounted: bool


def packed(part: int, results: Sequence[ItemResult[Any]], *, run: str = "", accounted: bool = True) -> Iterator[bytes]:
    """Results of one part as blocks of at most `LARGEST` bytes, but for a result that is larger by itself."""
    content = _content_of([part, run, accounted], results)
    if len(content) <= LARGEST or len(results) == 1:
        yield content
        return
    middle = len(results) // 2
    yield from packed(part, results[:middle], run=run, accounted=accounted)
    yield from packed(part, results[middle:], run=run, accounted=accounted)


def _content_of(begin: list[Any], results: Sequence[ItemResult[Any]]) -> bytes:
    try:
        return _told([*begin, [_values_of(result) for result in results]])
    except Exception:  # noqa: BLE001  # whatever an item's own class raises; it may not cost the others their results
        return _told([*begin, [_values_in_any_case(result) for result in results]])


def _told(values: list[Any]) -> bytes:
    content = to_json(values, fallback=repr, bytes_mode="base64")
    from_json(content)  # there are numbers that can be written, and not be read
    return content


def _values_in_any_case(result: ItemResult[Any]) -> list[Any]:
    """Without halves of characters, as a file name or a cell may have; an item that JSON cannot say, as its text."""
    try:
        values: list[Any] = _whole(_values_of(result))
        _told(values)
    except Exception:  # noqa: BLE001  # as above
        values = _whole(_values_of(replace(result, item=_text_of(result.item))))
    return values


def _text_of(item: Any) -> str:
    try:
        return repr(item)
    except Exception:  # noqa: BLE001  # as above
        return f"<{type(item).__name__}>"


def unpacked(content: bytes) -> Block:
    """What was packed; an item that was read from a file has its line, and models have become mappings."""
    part, run, accounted, rows = from_json(content)
    return Block(part, run, [_result_of(part, values) for values in rows], accounted)


def _values_of(result: ItemResult[Any]) -> list[Any]:
    item = result.item
    return [
        result.index,
        *_plain(item),
        getattr(item, "line", None),
        result.outcome,
        result.message,
        result.process,
        result.id,
        result.batch_id,
        result.row,
        result.not_sent,
        result.resent,
        result.replayed,
        result.tries,
    ]


def _plain(item: Any) -> tuple[str, Any]:
    """The kind of an item, and what JSON can say of it."""
    match item:
        case MalformedRow():
            fields = (item.text, item.record, item.fields, item.cells, item.separated_by, item.columns)
            return "malformed", [str(item), *fields]
        case Row():
            return "row", [item, item.original]
        case pydantic.BaseModel():
            return "item", item.model_dump(by_alias=True)
        case Exception():
            return "error", str(item)
    return "item", item


def _item_of(kind: str, content: Any, line: int | None) -> Any:
    match kind, content:
        case "malformed", [reason, text, record, fields, cells, separated_by, columns]:
            return MalformedRow(
                reason,
                line=line or 0,
                text=text,
                record=record,
                fields=fields,
                cells=cells,
                separated_by=separated_by,
                columns=columns,
            )
        case "row", [fields, original]:
            return Row(fields, line or 0, original)
        case "error", reason:
            return ValueError(reason)
    return content


def _result_of(part: int, values: Sequence[Any]) -> PartItemResult:
    index, kind, content, line, outcome, *rest = values
    result = PartItemResult(index, _item_of(kind, content, line), Outcome(outcome), *rest)
    result.part = part
    return result


def _whole(value: Any) -> Any:
    """The same without halves of characters."""
    if isinstance(value, str):
        return value.encode(errors="backslashreplace").decode()
    if isinstance(value, Mapping):
        return {_whole(name): _whole(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_whole(each) for each in value]
    return value
