"""Results as they go from a worker to the caller: JSON, with their items. No I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pydantic
from pydantic_core import PydanticSerializationError, from_json, to_json

from .._results import ItemResult, Outcome
from .._tables.rows import MalformedRow, Row
from .results import PartItemResult


class Block(NamedTuple):
    """Results of one part. `accounted`: they are results; else, they stand for items that got none."""

    part: int
    results: list[PartItemResult]
    accounted: bool


def packed(part: int, results: Sequence[ItemResult[Any]], *, accounted: bool = True) -> bytes:
    """A block of results of one part."""
    rows = [_values_of(result) for result in results]
    try:
        return to_json([part, accounted, rows], fallback=repr, bytes_mode="base64")
    except PydanticSerializationError:  # a text with halves of characters, as a file name or a cell may have
        return to_json([part, accounted, _whole(rows)], fallback=repr, bytes_mode="base64")


def unpacked(content: bytes) -> Block:
    """What was packed; an item that was read from a file has its line, and models have become mappings."""
    part, accounted, rows = from_json(content)
    return Block(part, [_result_of(part, values) for values in rows], accounted)


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
