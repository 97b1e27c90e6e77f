"""Answers as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic_core import from_json, to_json


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer, and what is done to the connection.

    Attributes:
        status: the HTTP status.
        payload: what the JSON body holds; None where `raw` is the body.
        raw: a body that is not made of `payload`.
        headers: beside Content-Type and Content-Length.
        delay: seconds before it goes out.
        dropped: the connection is dropped instead.
    """

    status: int
    payload: Any = None
    raw: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0.0
    dropped: bool = False

    @property
    def body(self) -> bytes:
        return to_json(self.payload) if self.raw is None else self.raw

    @property
    def content_type(self) -> str:
        return "application/json" if self.raw is None else "text/html"

    def with_headers(self, headers: Mapping[str, str]) -> Reply:
        return replace(self, headers={**self.headers, **headers})


def refusal(status: int, message: str) -> Reply:
    """The gateway's form of error."""
    return Reply(status, {"statusCode": status, "message": message})


def detail(status: int, what: Any) -> Reply:
    """FastAPI's form of error."""
    return Reply(status, {"detail": what})


def made_of(body: Any) -> dict[str, Any]:
    """The fields of a Reply whose body is JSON (a dict or list), HTML (text) or bytes as they are."""
    if isinstance(body, str):
        return {"raw": body.encode()}
    if isinstance(body, bytes):
        return {"raw": body}
    return {"payload": body}


def rewritten(reply: Reply, rewrite: Any) -> Reply:
    payload = reply.payload if reply.raw is None else from_json(reply.raw)
    return replace(reply, **{"payload": None, "raw": None, **made_of(rewrite(payload))})
