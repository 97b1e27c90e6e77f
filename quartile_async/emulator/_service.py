"""The API as a function of requests: no sockets, no event loop, and a clock that is given to it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from ._batches import Batch, MessageFor
from ._checks import (
    CREDENTIALS,
    Credentials,
    Question,
    Refused,
    Submission,
    Validation,
    Wish,
    at_the_gate,
    of_credentials,
    of_poll,
    of_submit,
)
from ._faults import Fault, Faults, Kind, Request
from ._gateway import Gateway
from ._ledger import Ledger, RequestRecord, Violation
from ._processor import Processor
from ._replies import Reply, detail
from ._routes import Route, Routes
from ._tokens import Authority


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request that was taken care of, and the answer that is to go out after `reply.delay`."""

    kind: Kind
    reply: Reply
    batch: Batch | None


class Service:
    """Answers requests, and keeps account of them: `receive` on arrival, `finish` when the answer goes out."""

    def __init__(
        self,
        *,
        routes: Routes,
        gateway: Gateway,
        authority: Authority,
        processor: Processor,
        faults: Faults,
        clock: Callable[[], float],
        submit_latency: float,
        visible_after: float,
        refuse: MessageFor | None,
    ) -> None:
        self._routes = routes
        self._gateway = gateway
        self._authority = authority
        self._processor = processor
        self._faults = faults
        self._clock = clock
        self._submit_latency = submit_latency
        self._visible_after = visible_after
        self._refuse = refuse
        self._promised: set[str] = set()
        self.ledger = Ledger()

    def settle(self) -> None:
        """Ends the batches whose time has come."""
        self._processor.settle(self._clock())

    def receive(self, request: Request) -> Exchange:
        """Takes care of one request, with its fault if a rule meets it."""
        self.settle()
        route = self._routes.find(request.path)
        request = replace(request, kind=route.kind)
        fault = self._faults.for_request(request)
        barred = at_the_gate(request, route, self._gateway, self._authority)
        wish = barred or self._wish(request, route)
        # What the contract forbids is noted, and polls count, whatever a fault makes of them.
        self._note(request, wish)
        if fault is None:
            exchange = self._carried_out(request, wish, barred=barred is not None)
        elif fault.prevents_the_effect:
            exchange = Exchange(route.kind, fault.applied_to(Reply(200)), _asked_for(wish))
        else:
            exchange = self._carried_out(request, wish, barred=barred is not None)
            exchange = replace(exchange, reply=fault.applied_to(exchange.reply))
        self._record(request, exchange, fault)
        return exchange

    def finish(self, exchange: Exchange, *, delivered: bool) -> None:
        """The answer goes out now, or cannot any more: what the client knows from here on."""
        batch, reply = exchange.batch, exchange.reply
        if exchange.kind == "submit":
            self._note_told_id(batch, reply.batch_id if delivered else None)
        elif batch is not None and delivered and reply.is_final and not batch.end_told:
            batch.told_at = self._clock()
            self.ledger.let_go(batch)

    def _note_told_id(self, batch: Batch | None, told: str | None) -> None:
        if batch is not None and told == batch.id:
            return
        if told is not None:
            self._promised.add(told)
        if batch is not None:
            batch.orphaned = True
            self.ledger.let_go(batch)

    def _wish(self, request: Request, route: Route) -> Wish:
        if route.kind == "submit":
            return of_submit(request, route)
        if route.kind in CREDENTIALS:
            return of_credentials(request, route)
        if route.kind == "validate":
            return Validation()
        return of_poll(route, self._processor.by_id, self._promised)

    def _carried_out(self, request: Request, wish: Wish, *, barred: bool) -> Exchange:
        if isinstance(wish, Refused) and barred:
            return Exchange(request.kind, wish.reply, None)
        if limited := self._gateway.over_the_limit():
            return Exchange(request.kind, limited, _asked_for(wish))
        batch = _asked_for(wish)
        match wish:
            case Refused():
                reply = wish.reply
            case Submission():
                reply, batch = self._submitted(wish, request)
            case Question():
                reply = self._state_of(wish.batch)
            case Credentials():
                reply = self._let_in(request, wish.fields)
            case Validation():
                reply = Reply(200, {"message": "The token is valid."})
        return Exchange(request.kind, reply.with_headers(self._gateway.rate_headers()), batch)

    def _let_in(self, request: Request, fields: dict[str, str]) -> Reply:
        if request.kind == "login":
            reply, user = self._authority.login(fields["username"], fields["password"])
        else:
            reply, user, again = self._authority.refresh(fields["token"])
            if again:
                self._forbidden(request, "a refresh token that was used already is used again")
        if user is not None:
            self.ledger.let_in(request.kind, user)
        return reply

    def _submitted(self, wish: Submission, request: Request) -> tuple[Reply, Batch | None]:
        if self._refuse is not None:
            messages = ((position, self._refuse(item)) for position, item in enumerate(wish.items))
            refused = [
                {"loc": ["body", position], "msg": message, "type": "value_error"}
                for position, message in messages
                if message is not None
            ]
            if refused:
                return detail(422, refused), None
        batch = self._processor.take(wish.resource, wish.items, wish.identities, self._clock())
        batch.user = self._authority.user_of(request.headers) or ""
        self.ledger.took(batch, wish.identities, request.body)
        return Reply(200, {"batchId": batch.id}, delay=self._submit_latency), batch

    def _state_of(self, batch: Batch) -> Reply:
        now = self._clock()
        if now < batch.taken_at + self._visible_after:
            return detail(404, "Not Found")
        if not batch.ended:
            # The first fifth of the time it waits in the queue.
            queued = now < batch.taken_at + (batch.ends_at - batch.taken_at) / 5
            return Reply(206, {"detail": "processing", "status": "PENDING" if queued else "RUNNING"})
        content = {"batchId": batch.id, "status": batch.status, "data": self._processor.rows(batch)}
        return Reply(200 if batch.status == "SUCCESS" else 206, content)

    def _note(self, request: Request, wish: Wish) -> None:
        if isinstance(wish, Question):
            wish.batch.polls += 1
            wish.batch.polls_after_the_end += wish.batch.end_told
        elif isinstance(wish, Refused) and wish.why is not None:
            self._forbidden(request, wish.why)

    def _forbidden(self, request: Request, why: str) -> None:
        path, why = self._without_secrets(request.path), self._without_secrets(why)
        self.ledger.violations.append(Violation(request.method, path, why))

    def _without_secrets(self, text: str) -> str:
        return self._authority.without_secrets(text.replace(self._gateway.subscription_key, "[secret]"))

    def _record(self, request: Request, exchange: Exchange, fault: Fault | None) -> None:
        self.ledger.requests.append(
            RequestRecord(
                time=self._clock(),
                kind=request.kind,
                method=request.method,
                path=self._without_secrets(request.path),
                user=self._authority.user_of(request.headers),
                status=0 if exchange.reply.dropped else exchange.reply.status,
                batch_id=exchange.batch.id if exchange.batch is not None else None,
                fault=fault,
            )
        )


def _asked_for(wish: Wish) -> Batch | None:
    return wish.batch if isinstance(wish, Question) else None
