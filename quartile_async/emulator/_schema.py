"""What a submit must look like (contract, "Submit a batch"), with errors in FastAPI's shape."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, JsonValue, TypeAdapter, ValidationError
from pydantic_core import from_json

Item: TypeAlias = dict[str, Any]
Items: TypeAlias = list[Item]
Key: TypeAlias = tuple[Any, ...]
Details: TypeAlias = list[dict[str, Any]]

MOST_ITEMS = 100

CountryCode = Literal[
    "US", "CA", "MX", "GB", "DE", "ES", "IT", "FR", "SE", "PL", "NL", "JP", "AU", "SG", "AE", "BR", "IN", "SA"
]


class _MasterlistRow(BaseModel):
    # The contract names three fields and does not speak of others. They are refused: a client that sends what nobody
    # asked for is in error more often than not.
    model_config = ConfigDict(strict=True, extra="forbid")

    asin: Annotated[str, Field(min_length=3)]
    countryCode: CountryCode
    percACoS: Annotated[float, Field(ge=1.0, allow_inf_nan=False)]


class ResourceSchema:
    """One resource: the shape of its items and what makes two of them the same.

    Args:
        path: after the prefix.
        adapter: checks a list of items.
        key: an item's natural key as it was sent; None where the whole object is the key.
    """

    def __init__(self, path: str, adapter: TypeAdapter[Any], key: Callable[[Item], Key] | None) -> None:
        self.path = path
        self._key = key
        self._adapter = adapter

    def read(self, body: bytes) -> tuple[Items, list[Key], Details]:
        """The items and their identities, or what is wrong with them.

        Identities are equal where items are the same: letter case is folded, and numbers are equal by value.
        """
        try:
            content = from_json(body, allow_inf_nan=False)
        except ValueError as error:
            return [], [], [_detail(["body"], f"JSON decode error: {error}", "json_invalid")]
        if not isinstance(content, list):
            return [], [], [_detail(["body"], "Input should be a valid list", "list_type")]
        if not 1 <= len(content) <= MOST_ITEMS:
            kind = "too_short" if not content else "too_long"
            return [], [], [_detail(["body"], f"A batch has 1 to {MOST_ITEMS} items, not {len(content)}", kind)]
        if wrong := self._wrong(content):
            return [], [], wrong
        identities = [self._identity(item) for item in content]
        return content, identities, _repeated(identities)

    def key(self, item: Item) -> Key:
        """The natural key with the letters that were sent."""
        return self._identity(item) if self._key is None else self._key(item)

    def _identity(self, item: Item) -> Key:
        if self._key is None:
            return (_folded(item),)
        return tuple(map(_folded, self._key(item)))

    def _wrong(self, content: list[Any]) -> Details:
        try:
            self._adapter.validate_python(content)
        except ValidationError as error:
            errors = error.errors(include_url=False, include_context=False, include_input=False)
            return [_detail(["body", *each["loc"]], each["msg"], each["type"]) for each in errors]
        # `1e999` is valid JSON, and infinite once it is read.
        return [
            _detail(["body", position], "Numbers should be finite", "finite_number")
            for position, item in enumerate(content)
            if self._key is None and not _finite(item)
        ]


def _repeated(identities: list[Key]) -> Details:
    if len(set(identities)) == len(identities):
        return []
    seen: set[Key] = set()
    details = []
    for position, identity in enumerate(identities):
        if identity in seen:
            details.append(_detail(["body", position], "The items need to be unique", "value_error"))
        seen.add(identity)
    return details


def _folded(value: Any) -> Any:
    """Equal and hashable for what is the same. Truth values are no numbers."""
    match value:
        case str():
            # Capitals, because that is how product numbers come: what is folded is then mostly what was sent.
            return value.casefold().upper()
        case bool():
            return ("bool", value)
        case dict():
            return ("object", frozenset((name.casefold(), _folded(part)) for name, part in value.items()))
        case list():
            return ("list", tuple(map(_folded, value)))
    return value


def _finite(value: Any) -> bool:
    match value:
        case float():
            return math.isfinite(value)
        case dict():
            return all(map(_finite, value.values()))
        case list():
            return all(map(_finite, value))
    return True


def _detail(place: list[Any], message: str, kind: str) -> dict[str, Any]:
    return {"loc": place, "msg": message, "type": kind}


MASTERLIST = "process/masterlist"

_ANY_OBJECTS = TypeAdapter(list[dict[str, JsonValue]])

SCHEMAS = {
    schema.path: schema
    for schema in (
        ResourceSchema(MASTERLIST, TypeAdapter(list[_MasterlistRow]), lambda item: (item["asin"], item["countryCode"])),
        ResourceSchema("unmanaged/asins", _ANY_OBJECTS, None),
        ResourceSchema("unmanaged/campaigns", _ANY_OBJECTS, None),
    )
}
