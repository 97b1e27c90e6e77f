"""The API as a function of requests: no sockets, no event loop, and a clock that is given to it."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from ._faults import Fault, Faults, Kind, Request
from ._gateway import Gateway
from ._processing import Batch, Processor
from ._replies import Reply, detail, made_of, rewritten
from ._schema import SCHEMAS, ResourceSchema


@dataclass(frozen=True, slots=True)
class Violation:
    """A request that the contract forbids, and why. Holds no secret."""

    method: str
    path: str
    what: str

    def __str__(self) -> str:
        return f"{self.method} {self.path}: {self.what}"


@dataclass(frozen=True, slots=True)
class RequestRecord:
    """A request that came in: when (on the emulator's clock), what, and how it was answered (0: dropped)."""

    time: float
    kind: Kind
    method: str
    path: str
    status: int


class Routes:
    """Which path means what, in either or both spellings (contract, "Submit a batch")."""

    def __init__(self, prefix: str, spelling: str) -> None:
        root, names = re.escape(prefix), "|".join(map(re.escape, SCHEMAS))
        example, table = spelling in ("both", "example"), spelling in ("both", "table")
        submit = [f"{root}/(?P<resource>{names})"] * example + [f"{root}/(?P<resource>{names})/batch"] * table
        poll = [f"{root}/batch/(?P<id>[^/]+)"] * example + [f"{root}/(?:{names})/batch/(?P<id>[^/]+)"] * table
        self._submit = [re.compile(pattern) for pattern in submit]
        self._poll = [re.compile(pattern) for pattern in poll]

    def find(self, path: str) -> tuple[Kind, str]:
        """The kind of a path, and its resource or batch id."""
        for pattern in self._submit:
            if found := pattern.fullmatch(path):
                return "submit", found["resource"]
        for pattern in self._poll:
            if found := pattern.fullmatch(path):
                return "poll", found["id"]
        return "other", ""


METHODS: dict[Kind, str] = {"submit": "PATCH", "poll": "GET"}


class Service:
    """Answers requests, and keeps account of them."""

    def __init__(
        self,
        *,
        routes: Routes,
        gateway: Gateway,
        processor: Processor,
        faults: Faults,
        clock: Callable[[], float],
        submit_latency: float,
        visible_after: float,
        refuse: Callable[[dict[str, Any]], str | None] | None,
    ) -> None:
        self._routes = routes
        self._gateway = gateway
        self._processor = processor
        self._faults = faults
        self._clock = clock
        self._submit_latency = submit_latency
        self._visible_after = visible_after
        self._refuse = refuse
        self.requests: list[RequestRecord] = []
        self.violations: list[Violation] = []

    def answer(self, request: Request) -> Reply:
        """Answers one request, with its fault if a rule meets it."""
        now = self._clock()
        self._processor.settle(now)
        kind, what = self._routes.find(request.path)
        request = replace(request, kind=kind)
        reply = self._with_fault(request, what, self._faults.for_request(request))
        status = 0 if reply.dropped else reply.status
        self.requests.append(RequestRecord(now, kind, request.method, request.path, status))
        return reply

    def _with_fault(self, request: Request, what: str, fault: Fault | None) -> Reply:
        if fault is None:
            return self._truly(request, what, hidden=False)
        reply = Reply(200)
        if not fault.prevents_the_effect:
            reply = self._truly(request, what, hidden=fault.hides_the_effect)
        if fault.rewrite is not None:
            reply = rewritten(reply, fault.rewrite)
        if fault.status is not None:
            reply = Reply(fault.status, **made_of(fault.body))
        reply = reply.with_headers(fault.headers)
        return replace(reply, delay=reply.delay + fault.delay, dropped=fault.drop is not None)

    def _truly(self, request: Request, what: str, *, hidden: bool) -> Reply:
        """The API's own answer; `hidden` says that the client will not see it."""
        if refused := self._refused(request):
            return refused
        if request.kind == "submit":
            reply = self._submit(request, SCHEMAS[what], hidden=hidden)
        else:
            reply = self._poll(request, what, hidden=hidden)
        return reply.with_headers(self._gateway.rate_headers())

    def _refused(self, request: Request) -> Reply | None:
        """What is refused before anybody looks at what it asks for."""
        if request.kind == "other":
            return self._forbidden(request, detail(404, "Not Found"), "there is no such path")
        if request.method != METHODS[request.kind]:
            return self._forbidden(request, detail(405, "Method Not Allowed"), "this path takes another method")
        if reply := self._gateway.refused_key(request.headers):
            return self._forbidden(request, reply, "the subscription key is missing or wrong")
        reply, expired = self._gateway.refused_token(request.headers)
        if reply is not None:
            return reply if expired else self._forbidden(request, reply, "the access token is missing or wrong")
        return self._gateway.over_the_limit()

    def _submit(self, request: Request, schema: ResourceSchema, *, hidden: bool) -> Reply:
        if request.headers.get("Content-Type", "").split(";")[0].strip().lower() != "application/json":
            reply = detail(415, "Unsupported Media Type")
            return self._forbidden(request, reply, "the content type is not application/json")
        items, wrong = schema.read(request.body)
        if wrong:
            return self._forbidden(request, detail(422, wrong), f"{wrong[0]['loc']}: {wrong[0]['msg']}")
        if refused := self._refused_items(items):
            return detail(422, refused)
        batch = self._processor.take(schema, items, self._clock())
        if hidden:
            self._processor.tell_end(batch, map(schema.key, items))
            batch.orphaned = True
        return Reply(200, {"batchId": batch.id}, delay=self._submit_latency)

    def _refused_items(self, items: list[dict[str, Any]]) -> list[dict[str, Any]]:
        if self._refuse is None:
            return []
        messages = ((position, self._refuse(item)) for position, item in enumerate(items))
        return [{"loc": ["body", at], "msg": text, "type": "value_error"} for at, text in messages if text is not None]

    def _poll(self, request: Request, batch_id: str, *, hidden: bool) -> Reply:
        batch = self._processor.by_id.get(batch_id)
        if batch is None:
            return self._forbidden(request, detail(404, "Not Found"), "there is no batch with this id")
        now = self._clock()
        if now < batch.taken_at + self._visible_after:
            return detail(404, "Not Found")
        batch.polls += 1
        if batch.rows is None:
            # The first fifth of the time it waits in the queue.
            queued = now < batch.taken_at + (batch.ends_at - batch.taken_at) / 5
            return Reply(206, {"detail": "processing", "status": "PENDING" if queued else "RUNNING"})
        return self._end_of(batch, hidden=hidden)

    def _end_of(self, batch: Batch, *, hidden: bool) -> Reply:
        batch.polls_after_the_end += batch.end_told
        if not hidden:
            self._processor.tell_end(batch, map(SCHEMAS[batch.resource].key, batch.items))
            batch.end_told = True
        status = batch.status
        return Reply(200 if status == "SUCCESS" else 206, {"batchId": batch.id, "status": status, "data": batch.rows})

    def _forbidden(self, request: Request, reply: Reply, what: str) -> Reply:
        self.violations.append(Violation(request.method, request.path, what))
        return reply


def streams(seed: int) -> tuple[random.Random, random.Random]:
    """Random numbers for the secrets and for the faults, apart, so that neither disturbs the other."""
    return random.Random(f"{seed}/secrets"), random.Random(f"{seed}/faults")
