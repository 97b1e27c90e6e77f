"""What a request asks for, or what the contract has against it. Looks only: nothing changes here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from ._batches import Batch
from ._faults import Request
from ._gateway import Gateway
from ._replies import Reply, detail
from ._routes import METHODS, Route
from ._schema import SCHEMAS, Items, Key


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


Wish: TypeAlias = Refused | Submission | Question


def at_the_gate(request: Request, route: Route, gateway: Gateway) -> Refused | None:
    """What is refused before anybody looks at what it asks for."""
    if route.kind == "other":
        return Refused(detail(404, "Not Found"), "there is no such path")
    if request.method != METHODS[route.kind]:
        reply = detail(405, "Method Not Allowed").with_headers({"Allow": METHODS[route.kind]})
        return Refused(reply, f"this path takes another method, {METHODS[route.kind]}")
    if no_key := gateway.refused_key(request.headers):
        return Refused(no_key, "the subscription key is missing or wrong")
    no_token, expired = gateway.refused_token(request.headers)
    if no_token is not None:
        return Refused(no_token, None if expired else "the access token is missing or wrong")
    return None


def of_submit(request: Request, route: Route) -> Wish:
    if request.headers.get("Content-Type", "").split(";")[0].strip().lower() != "application/json":
        return Refused(detail(415, "Unsupported Media Type"), "the content type is not application/json")
    items, identities, wrong = SCHEMAS[route.resource].read(request.body)
    if wrong:
        where = ".".join(map(str, wrong[0]["loc"]))
        more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        return Refused(detail(422, wrong), f"{where}: {wrong[0]['msg']}{more}")
    return Submission(route.resource, items, identities)


def of_poll(route: Route, batches: Mapping[str, Batch], promised: set[str]) -> Wish:
    """`promised` are ids that only a fault gave out: the client cannot know that they are nobody's."""
    batch = batches.get(route.batch_id)
    if batch is None:
        known_to_be_wrong = route.batch_id not in promised
        return Refused(detail(404, "Not Found"), "there is no batch with this id" if known_to_be_wrong else None)
    if route.resource not in ("", batch.resource):
        return Refused(detail(404, "Not Found"), f"the batch with this id is one of {batch.resource}")
    return Question(batch)
