"""Checking items before they are sent: many at once, and one by one only where some are wrong."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from operator import attrgetter
from typing import Any, Literal, get_origin

from pydantic import BaseModel, ConfigDict, JsonValue, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from ._keys import Key, named_key, row_keys, string_keys
from ._resources import Resource, wire_name


@dataclass(slots=True)
class Checked:
    """Items after the check.

    Attributes:
        positions: where the valid items stood.
        wires: what is sent for each of them.
        keys: the natural key of each of them.
        problems: position -> what is wrong, for the others.
    """

    positions: Sequence[int]
    wires: list[Any]
    keys: list[Key]
    problems: dict[int, str]


class ItemCodec:
    """Turns items of one resource into what is sent, and into their keys."""

    def __init__(self, resource: Resource[Any]) -> None:
        self._key_names = resource.key
        self._adapter: TypeAdapter[list[Any]]
        if resource.item is None:
            self._adapter = TypeAdapter(list[dict[str, JsonValue]], config=ConfigDict(allow_inf_nan=False))
            self._taken_as_is: frozenset[type] = frozenset({dict})
        else:
            self._adapter = TypeAdapter(list[resource.item])  # type: ignore[name-defined]  # a type known at run time
            rechecked = resource.item.model_config.get("revalidate_instances") == "always"
            self._taken_as_is = frozenset({dict, resource.item} if rechecked else {dict})
        self._attributes = _key_attributes(resource)

    def check(self, items: Sequence[Any]) -> Checked:
        """Checks items.

        An item that is an exception stands for a record that its source could not read: its message is the
        problem.
        """
        problems: dict[int, str] = {}
        plain = items
        if not self._taken_as_is.issuperset(map(type, items)):
            plain = [_plain(item, problems, position) for position, item in enumerate(items)]
        positions: Sequence[int] = range(len(items))
        wires = None if problems else self._validate_all(plain, problems)
        if wires is None:
            positions = [position for position in positions if position not in problems]
            positions, wires = self._validate_each(plain, positions, problems)
        return self._with_keys(Checked(positions, wires, [], problems))

    def body(self, wires: Sequence[Any]) -> bytes:
        """The JSON array to send."""
        return self._adapter.dump_json(list(wires), by_alias=True)

    def _validate_all(self, plain: Sequence[Any], problems: dict[int, str]) -> list[Any] | None:
        try:
            return self._adapter.validate_python(plain)
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
                wires += self._adapter.validate_python([plain[position]])
                valid.append(position)
            except ValidationError as error:
                problems[position] = _problems(error)[0]
            except Exception as error:  # noqa: BLE001  # a user's own validator may raise anything
                problems[position] = f"The check of this item raised {type(error).__name__}: {error}"
        return valid, wires

    def _with_keys(self, checked: Checked) -> Checked:
        keys = self._keys(checked.wires)
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

    def _keys(self, wires: list[Any]) -> list[Key | None]:
        if self._attributes is None:
            return row_keys(self._adapter.dump_python(wires, mode="json", by_alias=True), self._key_names)
        try:
            return list(string_keys(wires, self._attributes))
        except (TypeError, ValueError):
            return [named_key(getter(wire) for getter in self._attributes or ()) for wire in wires]


@lru_cache(maxsize=64)
def codec_for(resource: Resource[Any]) -> ItemCodec:
    """The codec of a resource, made once: building pydantic's validators costs more than an upload's first batch."""
    return ItemCodec(resource)


def _plain(item: Any, problems: dict[int, str], position: int) -> Any:
    if isinstance(item, dict):
        return item
    if isinstance(item, Exception):
        problems[position] = str(item) or type(item).__name__
    elif isinstance(item, BaseModel):
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


def _key_attributes(resource: Resource[Any]) -> list[attrgetter[Any]] | None:
    """How to read the key's fields from a model; None where the key has to be read from the JSON."""
    model = resource.item
    if model is None or not resource.key:
        return None
    decorators = model.__pydantic_decorators__
    if decorators.field_serializers or decorators.model_serializers:
        return None
    attributes = {wire_name(name, field): (name, field.annotation) for name, field in model.model_fields.items()}
    chosen = [attributes[name] for name in resource.key]
    if all(kind in (str, int, float) or get_origin(kind) is Literal for _, kind in chosen):
        return [attrgetter(name) for name, _ in chosen]
    return None
