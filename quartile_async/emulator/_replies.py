"""Answers as plain data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic_core import from_json, to_json

TERMINAL = frozenset({"SUCCESS", "PARTIAL", "FAILED"})


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer, and what is done to the connection.

    Attributes:
        status: the HTTP status.
        payload: what the JSON body holds; not used where `raw` is the body.
        raw: a body that is not made of `payload`.
        headers: beside Content-Length. Content-Type is made where it is not among them.
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
    def all_headers(self) -> dict[str, str]:
        """With a Content-Type, which is JSON's or HTML's where nothing else was said."""
        content_type = {"Content-Type": "application/json" if self.raw is None else "text/html"}
        return dict(Reply(self.status, headers=content_type).with_headers(self.headers).headers)

    def with_headers(self, headers: Mapping[str, str]) -> Reply:
        if not headers:
            return self
        replaced = {name.lower() for name in headers}
        kept = {name: value for name, value in self.headers.items() if name.lower() not in replaced}
        return replace(self, headers={**kept, **headers})

    @property
    def batch_id(self) -> str | None:
        """The batch id of which the client learns by this answer."""
        told = self._told().get("batchId")
        return told if isinstance(told, str) else None

    @property
    def is_final(self) -> bool:
        """Whether the client learns that its batch has ended, in one of the three ways or in an unreadable one."""
        told = self._told()
        return "data" in told or told.get("status") in TERMINAL

    def _told(self) -> dict[str, Any]:
        if self.dropped or self.status >= 300:
            return {}
        content = self.payload
        if self.raw is not None:
            try:
                content = from_json(self.raw)
            except ValueError:
                return {}
        return content if isinstance(content, dict) else {}


def refusal(status: int, message: str) -> Reply:
    """The gateway's form of error."""
    return Reply(status, {"statusCode": status, "message": message})


def detail(status: int, what: Any) -> Reply:
    """FastAPI's form of error."""
    return Reply(status, {"detail": what})


def made_of(body: Any) -> dict[str, Any]:
    """The fields of a Reply whose body is JSON (a dict, a list or None), HTML (text) or bytes as they are."""
    if isinstance(body, str):
        return {"raw": body.encode()}
    if isinstance(body, bytes):
        return {"raw": body}
    return {"payload": body}


def rewritten(reply: Reply, rewrite: Callable[[Any], Any]) -> Reply:
    return replace(reply, **{"payload": None, "raw": None, **made_of(rewrite(reply.payload))})
