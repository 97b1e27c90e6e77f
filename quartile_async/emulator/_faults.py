"""Faults as data: a rule says which requests it meets, and what happens to them."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

Kind: TypeAlias = Literal["submit", "poll", "other"]


@dataclass(frozen=True, slots=True)
class Request:
    """One request as it came in.

    Attributes:
        method: "PATCH", for example.
        path: without the query.
        headers: with names in any case.
        body: as it came.
        kind: "submit", "poll" or "other", by the path.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    kind: Kind = "other"


@dataclass(frozen=True, slots=True)
class Fault:
    """A rule for requests, and what it does to them. Without `status`, `drop` and `rewrite` it only delays.

    Attributes:
        on: the kind of request that it meets: "submit", "poll", "other" or "any".
        when: and which of these; a function of the `Request`.
        after: it lets so many of these pass first.
        times: it then meets so many; None for all.
        share: it meets one with this probability; else it does nothing, and the request does not count.
        delay: seconds before the answer.
        drop: the connection is dropped "before" the request has had an effect, or "after".
        status: the answer's HTTP status; the request has no effect unless `taken`.
        headers: the answer's headers, beside those it has.
        body: the answer's body: a dict or list as JSON, text as HTML, bytes as they are.
        taken: the request has its effect although `status` says otherwise: a proxy's error page behind the API.
        rewrite: a function of the real answer's JSON that gives the JSON to answer.
    """

    on: Literal["submit", "poll", "other", "any"] = "any"
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

    @property
    def hides_the_effect(self) -> bool:
        """Whether the request has its effect, and the answer does not tell."""
        return self.drop == "after" or self.taken

    @property
    def prevents_the_effect(self) -> bool:
        return self.drop == "before" or (self.status is not None and not self.taken)


class _Rule:
    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        self.passed = 0
        self.met = 0

    def meets(self, request: Request, rng: random.Random) -> bool:
        fault = self.fault
        if fault.on not in ("any", request.kind) or (fault.when is not None and not fault.when(request)):
            return False
        if fault.times is not None and self.met >= fault.times:
            return False
        if self.passed < fault.after:
            self.passed += 1
            return False
        if fault.share < 1.0 and rng.random() >= fault.share:
            return False
        self.met += 1
        return True


class Faults:
    """The rules in force, in the order in which they were added: the first that meets a request counts."""

    def __init__(self, faults: tuple[Fault, ...], rng: random.Random) -> None:
        self._rules = [_Rule(fault) for fault in faults]
        self._rng = rng

    def add(self, fault: Fault) -> None:
        self._rules.append(_Rule(fault))

    def clear(self) -> None:
        self._rules.clear()

    def for_request(self, request: Request) -> Fault | None:
        return next((rule.fault for rule in self._rules if rule.meets(request, self._rng)), None)
