"""What a request asks for, or what the contract has against it. Looks only: nothing changes here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from pydantic_core import from_json

from ._batches import Batch
from ._faults import Kind, Request
from ._gateway import Gateway
from ._replies import Reply, detail
from ._routes import METHODS, Route
from ._schema import SCHEMAS, Items, Key
from ._tokens import Authority


@dataclass(frozen=True, slots=True)
class Refused:
    """Refused; `why` is what the contract forbids, None where the client could not have known."""

    reply: Reply
    why: str | None


@dataclass(frozen=True, slots=True)
class Submission:
    resource: str
    items: Items
    identities: list[Key]


@dataclass(frozen=True, slots=True)
class Question:
    batch: Batch


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a login or a refresh brings."""

    fields: dict[str, str] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Validation:
    """Whether the access token is valid: it is, or this would have been refused."""


Wish: TypeAlias = Refused | Submission | Question | Credentials | Validation

CREDENTIALS: dict[Kind, tuple[str, ...]] = {"login": ("username", "password"), "refresh": ("token",)}


NOT_JSON = Refused(detail(415, "Unsupported Media Type"), "the content type is not application/json")


def at_the_gate(request: Request, route: Route, gateway: Gateway, authority: Authority) -> Refused | None:
    """What is refused before anybody looks at what it asks for."""
    if route.kind == "other":
        return Refused(detail(404, "Not Found"), "there is no such path")
    if request.method != METHODS[route.kind]:
        reply = detail(405, "Method Not Allowed").with_headers({"Allow": METHODS[route.kind]})
        return Refused(reply, f"this path takes another method, {METHODS[route.kind]}")
    if no_key := gateway.refused_key(request.headers):
        return Refused(no_key, "the subscription key is missing or wrong")
    if route.kind in CREDENTIALS:
        return None
    no_token, expired = authority.refused_token(request.headers)
    if no_token is not None:
        return Refused(no_token, None if expired else "the access token is missing or wrong")
    return None


def of_submit(request: Request, route: Route) -> Wish:
    if not _is_json(request):
        return NOT_JSON
    items, identities, wrong = SCHEMAS[route.resource].read(request.body)
    if wrong:
        where = ".".join(map(str, wrong[0]["loc"]))
        more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        return Refused(detail(422, wrong), f"{where}: {wrong[0]['msg']}{more}")
    return Submission(route.resource, items, identities)


def of_credentials(request: Request, route: Route) -> Wish:
    if not _is_json(request):
        return NOT_JSON
    names = CREDENTIALS[route.kind]
    try:
        content = from_json(request.body)
    except ValueError:
        content = None
    found = content if isinstance(content, dict) else {}
    wrong = [name for name in names if not isinstance(found.get(name), str)]
    if wrong or len(found) > len(names):
        errors = [{"loc": ["body", name], "msg": "Field required", "type": "missing"} for name in wrong]
        return Refused(
            detail(422, errors), f"a {route.kind} has the fields {', '.join(names)}, all strings, and no other"
        )
    return Credentials(found)


def _is_json(request: Request) -> bool:
    return request.headers.get("Content-Type", "").split(";")[0].strip().lower() == "application/json"


def of_poll(route: Route, batches: Mapping[str, Batch], promised: set[str]) -> Wish:
    """`promised` are ids that only a fault gave out: the client cannot know that they are nobody's."""
    batch = batches.get(route.batch_id)
    if batch is None:
        known_to_be_wrong = route.batch_id not in promised
        return Refused(detail(404, "Not Found"), "there is no batch with this id" if known_to_be_wrong else None)
    if route.resource not in ("", batch.resource):
        return Refused(detail(404, "Not Found"), f"the batch with this id is one of {batch.resource}")
    return Question(batch)
