"""The body of a request for an upload: read within bounds, and checked before anything is begun."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import pydantic
from pydantic_core import from_json

from .._resources import Resource

MOST_PROBLEMS = 100
"""Problems of a body that are told; it may have one for each item."""

TOO_LARGE = re.compile(rb"\d[eE]\+?\d{3}")
"""Where a body has a number that may be too large for any computer."""

ID = r"^[A-Za-z0-9][A-Za-z0-9._~-]{0,127}$"


class BodyTooLargeError(Exception):
    """The body is larger than it may be."""


class InvalidBodyError(Exception):
    """The body cannot be used; `problems` has FastAPI's shape."""

    def __init__(self, problems: list[dict[str, Any]]) -> None:
        super().__init__(f"{len(problems)} problems")
        self.problems = problems


class UploadRequest(pydantic.BaseModel):
    """An upload that is to be begun."""

    model_config: ClassVar[pydantic.ConfigDict] = pydantic.ConfigDict(extra="forbid")

    resource: str = pydantic.Field("masterlist", description="What the items are.", examples=["masterlist"])
    # Each is checked by itself: the problems of a million items would be collected in one go, and hold everything up.
    items: list[Any] = pydantic.Field(
        description="Objects, in the order in which they are sent.",
        examples=[[{"asin": "B01N5IB20Q", "countryCode": "US", "percACoS": 27.5}]],
        json_schema_extra={"items": {"type": "object"}},
    )
    id: Annotated[str, pydantic.Field(pattern=ID)] | None = pydantic.Field(
        None, description="A name of one's own: asking again with it begins nothing twice. Default: a new one."
    )


@dataclass(slots=True, frozen=True)
class Wanted:
    """An upload that was asked for."""

    id: str
    resource: str
    items: list[Any]


async def read_body(headers: Mapping[str, str], stream: AsyncIterator[bytes], most_bytes: int) -> bytes:
    """The whole body.

    Raises:
        BodyTooLargeError: it is larger.
    """
    length = headers.get("content-length", "")
    if length.isdecimal() and int(length) > most_bytes:
        raise BodyTooLargeError
    body = bytearray()
    async for part in stream:
        body += part
        if len(body) > most_bytes:
            raise BodyTooLargeError
    return bytes(body)


def parsed(body: bytes, resources: Mapping[str, Resource[Any]]) -> Wanted:
    """What a body asks for. It takes some milliseconds for each thousand items.

    Raises:
        InvalidBodyError: it asks for nothing that can be done; nothing was begun.
    """
    try:
        content = from_json(body, allow_inf_nan=False)
        if TOO_LARGE.search(body):  # such a number is read as infinity
            json.dumps(content, allow_nan=False)
    except ValueError as error:
        problem = {"type": "json_invalid", "loc": ("body",), "msg": "JSON decode error", "input": {}}
        raise InvalidBodyError([problem | {"ctx": {"error": str(error)}}]) from None
    try:
        wanted = UploadRequest.model_validate(content)
    except pydantic.ValidationError as error:
        raise InvalidBodyError(_told(error, "body")) from None
    if wanted.resource not in resources:
        known = ", ".join(map(repr, resources))
        problem = {"type": "literal_error", "loc": ("body", "resource"), "msg": f"Input should be {known}"}
        raise InvalidBodyError([problem | {"input": wanted.resource, "ctx": {"expected": known}}])
    _check(wanted.items, resources[wanted.resource])
    return Wanted(wanted.id or secrets.token_hex(16), wanted.resource, wanted.items)


def _check(items: list[Any], resource: Resource[Any]) -> None:
    validator = pydantic.TypeAdapter(resource.item if resource.item is not None else dict[str, Any])
    problems: list[dict[str, Any]] = []
    for place, item in enumerate(items):
        try:
            validator.validate_python(item)
        except pydantic.ValidationError as error:
            problems += _told(error, "body", "items", place)
            if len(problems) >= MOST_PROBLEMS:
                break
    if problems:
        raise InvalidBodyError(problems[:MOST_PROBLEMS])


def _told(error: pydantic.ValidationError, *place: str | int) -> list[dict[str, Any]]:
    """The problems as FastAPI tells them."""
    problems = error.errors(include_url=False, include_context=True)[:MOST_PROBLEMS]
    return [{**problem, "loc": (*place, *problem["loc"])} for problem in problems]
