"""The body of a request for an upload: read within bounds, and checked before anything is begun."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import pydantic
from pydantic_core import from_json

from .._resources import Resource

MOST_PROBLEMS = 100
"""Problems of a body that are told; it may have one for each item."""

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
    items: list[dict[str, Any]] = pydantic.Field(
        description="In the order in which they are sent.",
        examples=[[{"asin": "B01N5IB20Q", "countryCode": "US", "percACoS": 27.5}]],
    )
    id: Annotated[str, pydantic.Field(pattern=ID)] | None = pydantic.Field(
        None, description="A name of one's own: asking again with it begins nothing twice. Default: a new one."
    )


@dataclass(slots=True, frozen=True)
class Wanted:
    """An upload that was asked for."""

    id: str
    resource: str
    items: list[dict[str, Any]]


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


def _check(items: list[dict[str, Any]], resource: Resource[Any]) -> None:
    if resource.item is None:
        return
    try:
        pydantic.TypeAdapter(list[resource.item]).validate_python(items)  # type: ignore[name-defined]  # at run time
    except pydantic.ValidationError as error:
        raise InvalidBodyError(_told(error, "body", "items")) from None


def _told(error: pydantic.ValidationError, *place: str) -> list[dict[str, Any]]:
    """The problems as FastAPI tells them."""
    problems = error.errors(include_url=False, include_context=True)[:MOST_PROBLEMS]
    return [{**problem, "loc": (*place, *problem["loc"])} for problem in problems]
