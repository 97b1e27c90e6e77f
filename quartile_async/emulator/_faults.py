"""Faults as data: a rule says which requests it meets, and what happens to them."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias, get_args

from ._replies import Reply, made_of, rewritten

Kind: TypeAlias = Literal["submit", "poll", "login", "refresh", "validate", "other"]


@dataclass(frozen=True, slots=True)
class Request:
    """One request as it came in.

    Attributes:
        method: "PATCH", for example.
        path: without the query.
        headers: with names in any case.
        body: as it came.
        kind: "submit", "poll", "login", "refresh", "validate" or "other", by the path.
    """

    method: str
    path: str
    headers: Mapping[str, str] = field(repr=False)  # they hold the key and the token
    body: bytes = field(repr=False)
    kind: Kind = "other"


@dataclass(frozen=True, slots=True)
class Fault:
    """A rule for requests, and what it does to them. Without `status`, `drop` and `rewrite` it only delays.

    Attributes:
        on: the kind of request that it meets, or "any".
        when: and which of these; a function of the `Request`.
        after: it lets so many of these pass first.
        times: it then meets so many; None for all.
        share: it meets one with this probability; else it does nothing, and the request does not count.
        delay: seconds before the answer. The request has its effect on arrival.
        drop: the connection is dropped "before" the request has had an effect, or "after".
        status: the answer's HTTP status; the request has no effect unless `taken`.
        headers: the answer's headers, beside those it has; these win.
        body: the answer's body: a dict, a list or None as JSON, text as HTML, bytes as they are.
        taken: the request has its effect although `status` says otherwise: a proxy's error page behind the API.
        rewrite: a function of the real answer's JSON that gives the JSON to answer.
    """

    on: Kind | Literal["any"] = "any"
    when: Callable[[Request], bool] | None = None
    after: int = 0
    times: int | None = 1
    share: float = 1.0
    delay: float = 0.0
    drop: Literal["before", "after"] | None = None
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Any = b""
    taken: bool = False
    rewrite: Callable[[Any], Any] | None = None

    def __post_init__(self) -> None:
        if self.on not in get_args(Kind) and self.on != "any":
            raise ValueError(f"`on` is one of {', '.join(get_args(Kind))} or any, not {self.on!r}")
        # A rule that would quietly do less than it says makes a test pass for the wrong reason.
        if self.status is None and (self.taken or self.body != b""):
            raise ValueError("`body` and `taken` need a `status`")
        if sum(each is not None for each in (self.drop, self.status, self.rewrite)) > 1:
            raise ValueError("`drop`, `status` and `rewrite` exclude each other")
        if not 0.0 <= self.share <= 1.0 or self.delay < 0.0:
            raise ValueError("`share` is between 0 and 1, and `delay` is not negative")

    @property
    def prevents_the_effect(self) -> bool:
        """Whether the request does nothing beyond the answer that the rule gives."""
        return self.drop == "before" or (self.status is not None and not self.taken)

    def applied_to(self, reply: Reply) -> Reply:
        """What goes out instead of a reply. The one place that applies what a rule says."""
        if self.rewrite is not None:
            reply = rewritten(reply, self.rewrite)
        if self.status is not None:
            reply = Reply(self.status, delay=reply.delay, **made_of(self.body))
        return replace(reply.with_headers(self.headers), delay=reply.delay + self.delay, dropped=self.drop is not None)


Rule: TypeAlias = Fault | Callable[[Request], Fault | None]


class _Counted:
    """A fault that counts what it has met."""

    def __init__(self, fault: Fault, rng: random.Random) -> None:
        self._fault = fault
        self._rng = rng
        self._passed = 0
        self._met = 0

    def __call__(self, request: Request) -> Fault | None:
        fault = self._fault
        if fault.on not in ("any", request.kind) or (fault.when is not None and not fault.when(request)):
            return None
        if fault.times is not None and self._met >= fault.times:
            return None
        if self._passed < fault.after:
            self._passed += 1
            return None
        if fault.share < 1.0 and self._rng.random() >= fault.share:
            return None
        self._met += 1
        return fault


class Faults:
    """The rules in force, in the order in which they were added: the first that meets a request counts."""

    def __init__(self, rules: Iterable[Rule], seed: int) -> None:
        self._seed = seed
        self._added = 0
        self._rules: list[Callable[[Request], Fault | None]] = []
        for rule in rules:
            self.add(rule)

    def add(self, rule: Rule) -> None:
        # Random numbers of its own for each rule: what one meets does not depend on the others.
        rng = random.Random(f"{self._seed}/rule/{self._added}")  # seeded on purpose
        self._added += 1
        self._rules.append(_Counted(rule, rng) if isinstance(rule, Fault) else rule)

    def clear(self) -> None:
        self._rules.clear()

    def for_request(self, request: Request) -> Fault | None:
        return next((fault for rule in self._rules if (fault := rule(request)) is not None), None)
