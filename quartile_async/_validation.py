"""Checking items before they are sent: many at once, and one by one only where some are wrong."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import pydantic
from pydantic_core import ErrorDetails, ValidationError

from ._keys import Key, row_keys
from ._resources import Resource
from ._wires import mapping_schema, to_wires


@dataclass(slots=True)
class Checked:
    """Items after the check.

    Attributes:
        positions: where the valid items stood.
        wires: the JSON object that is sent for each of them.
        keys: the natural key of each of them.
        problems: position -> what is wrong, for the others.
    """

    positions: Sequence[int]
    wires: list[Any]
    keys: list[Key]
    problems: dict[int, str]


class ItemCodec:
    """Turns items of one resource into the JSON objects that are sent, and into their keys."""

    def __init__(self, resource: Resource[Any]) -> None:
        self._key_names = resource.key
        self._to_wires = to_wires(resource.item)
        model = resource.item
        self._plain_model = model if model is not None and mapping_schema(model) is not None else None
        rechecked = model is not None and model.model_config.get("revalidate_instances") == "always"
        self._taken_as_is = frozenset({dict, model} if rechecked and self._plain_model is None else {dict})

    def check(self, items: Sequence[Any]) -> Checked:
        """Checks items.

        An item that is an exception stands for a record that its source could not read: its message is the
        problem.
        """
        problems: dict[int, str] = {}
        plain = self._plain(items, problems)
        positions: Sequence[int] = range(len(items))
        wires = None if problems else self._validate_all(plain, problems)
        if wires is None:
            positions = [position for position in positions if position not in problems]
            positions, wires = self._validate_each(plain, positions, problems)
        return self._with_keys(Checked(positions, wires, [], problems))

    def _plain(self, items: Sequence[Any], problems: dict[int, str]) -> Sequence[Any]:
        """What is checked for each item."""
        kinds = {*map(type, items)}
        if kinds <= self._taken_as_is:
            return items
        if kinds == {self._plain_model}:
            return [item.__dict__ for item in items]
        return [self._plain_one(item, problems, position) for position, item in enumerate(items)]

    def _plain_one(self, item: Any, problems: dict[int, str], position: int) -> Any:
        if type(item) in self._taken_as_is:
            return item
        # An instance that was changed after it was made is checked again: nothing is sent unchecked.
        return item.__dict__ if type(item) is self._plain_model else _plain(item, problems, position)

    def _validate_all(self, plain: Sequence[Any], problems: dict[int, str]) -> list[Any] | None:
        try:
            return self._to_wires(plain)
        except ValidationError as error:
            problems.update(_problems(error))
        except Exception:  # noqa: BLE001  # a user's own validator may raise anything; it is met again one by one
            return None
        return None

    def _validate_each(
        self, plain: Sequence[Any], positions: Sequence[int], problems: dict[int, str]
    ) -> tuple[list[int], list[Any]]:
        valid, wires = [], []
        for position in positions:
            try:
                wires += self._to_wires([plain[position]])
                valid.append(position)
            except ValidationError as error:
                problems[position] = _problems(error)[0]
            except Exception as error:  # noqa: BLE001  # a user's own validator may raise anything
                problems[position] = f"The check of this item raised {type(error).__name__}: {error}"
        return valid, wires

    def _with_keys(self, checked: Checked) -> Checked:
        keys = row_keys(checked.wires, self._key_names)
        if None not in keys:
            checked.keys = keys
            return checked
        good = [place for place, key in enumerate(keys) if key is not None]
        positions, wires = checked.positions, checked.wires
        missing = f"A field of the natural key {self._key_names} is missing."
        checked.problems |= {positions[place]: missing for place, key in enumerate(keys) if key is None}
        checked.positions = [positions[place] for place in good]
        checked.wires = [wires[place] for place in good]
        checked.keys = [key for key in keys if key is not None]
        return checked


@lru_cache(maxsize=64)
def codec_for(resource: Resource[Any]) -> ItemCodec:
    """The codec of a resource, made once: building pydantic's validators costs more than an upload's first batch."""
    return ItemCodec(resource)


def _plain(item: Any, problems: dict[int, str], position: int) -> Any:
    if isinstance(item, dict):
        return item
    if isinstance(item, Exception):
        problems[position] = str(item) or type(item).__name__
    elif isinstance(item, pydantic.BaseModel):
        try:
            return item.model_dump(by_alias=True, warnings=False)
        except Exception as error:  # noqa: BLE001  # a user's own serializer may raise anything
            problems[position] = f"The item could not be turned into a mapping: {type(error).__name__}: {error}"
    elif isinstance(item, Mapping):
        return dict(item)
    return item


def _problems(error: ValidationError) -> dict[int, str]:
    """Position -> what is wrong with each field, in one line."""
    fields: dict[int, dict[str, str]] = {}
    for detail in error.errors(include_url=False, include_context=False):
        position, *path = detail["loc"]
        # A field that could have several forms has an error for each; the last one is the most lenient form's.
        fields.setdefault(int(position), {})[str(path[0]) if path else ""] = _described(detail)
    return {
        position: "; ".join(f"{name}: {text}" if name else text for name, text in texts.items())
        for position, texts in fields.items()
    }


def _described(detail: ErrorDetails) -> str:
    if detail["type"] == "missing":
        return detail["msg"]
    return f"{detail['msg']} (was {reprlib.repr(detail['input'])})"
