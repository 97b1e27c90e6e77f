"""What a submit must look like (contract, "Submit a batch"), with errors in FastAPI's shape."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, TypeAdapter, ValidationError
from pydantic_core import from_json, to_json

Details = list[dict[str, Any]]

MOST_ITEMS = 100

CountryCode = Literal[
    "US", "CA", "MX", "GB", "DE", "ES", "IT", "FR", "SE", "PL", "NL", "JP", "AU", "SG", "AE", "BR", "IN", "SA"
]  # fmt: skip


class _MasterlistRow(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")

    asin: Annotated[str, Field(min_length=3)]
    countryCode: CountryCode
    percACoS: Annotated[float, Field(ge=1.0, allow_inf_nan=False)]


Key = tuple[Any, ...]


class ResourceSchema:
    """One resource: the shape of its items and what makes two of them the same."""

    def __init__(self, path: str, items: TypeAdapter[Any], key: Callable[[dict[str, Any]], Key]) -> None:
        self.path = path
        self.key = key
        self._adapter = items

    def read(self, body: bytes) -> tuple[list[dict[str, Any]], Details]:
        """The items, or what is wrong with them."""
        try:
            content = from_json(body, allow_inf_nan=False)
        except ValueError as error:
            return [], [_detail(["body"], f"JSON decode error: {error}", "json_invalid")]
        if not isinstance(content, list):
            return [], [_detail(["body"], "Input should be a valid list", "list_type")]
        if not 1 <= len(content) <= MOST_ITEMS:
            kind = "too_short" if not content else "too_long"
            return [], [_detail(["body"], f"A batch has 1 to {MOST_ITEMS} items, not {len(content)}", kind)]
        return content, self._wrong(content) or self._repeated(content)

    def _wrong(self, content: list[Any]) -> Details:
        try:
            self._adapter.validate_python(content)
        except ValidationError as error:
            return [_detail(["body", *each["loc"]], each["msg"], each["type"]) for each in error.errors()]
        return []

    def _repeated(self, content: list[dict[str, Any]]) -> Details:
        seen: set[Key] = set()
        details = []
        for position, item in enumerate(content):
            key = tuple(part.casefold() if isinstance(part, str) else part for part in self.key(item))
            if key in seen:
                details.append(_detail(["body", position], "The items need to be unique", "value_error"))
            seen.add(key)
        return details


def _detail(place: list[Any], message: str, kind: str) -> dict[str, Any]:
    return {"loc": place, "msg": message, "type": kind}


def _whole(item: dict[str, Any]) -> Key:
    return (to_json({name: item[name] for name in sorted(item)}).decode(),)


MASTERLIST = "process/masterlist"

SCHEMAS = {
    schema.path: schema
    for schema in (
        ResourceSchema(MASTERLIST, TypeAdapter(list[_MasterlistRow]), lambda item: (item["asin"], item["countryCode"])),
        ResourceSchema("unmanaged/asins", TypeAdapter(list[dict[str, JsonValue]]), _whole),
        ResourceSchema("unmanaged/campaigns", TypeAdapter(list[dict[str, JsonValue]]), _whole),
    )
}
