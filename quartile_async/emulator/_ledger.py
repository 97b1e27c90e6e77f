"""The account of what came in: requests, violations, and batches that are in flight from where a client stands."""

from __future__ import annotations

from dataclasses import dataclass, field

from ._batches import Batch
from ._faults import Fault, Kind
from ._schema import SCHEMAS, Key


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
    """A request that came in. Holds no secret.

    Attributes:
        time: when it arrived, on the emulator's clock.
        kind: "submit", "poll", "login", "refresh", "validate" or "other", by the path.
        method: the HTTP method.
        path: without the query.
        status: of the answer; 0 where the connection was dropped instead.
        batch_id: of the batch that it made or asked for; None where there was none.
        user: whose access token it had, valid or not; None where it had none.
        fault: the rule that met it.
    """

    time: float
    kind: Kind
    method: str
    path: str
    status: int
    batch_id: str | None = None
    user: str | None = None
    fault: Fault | None = field(default=None, repr=False)


class Ledger:
    """Counts a batch as in flight from when it was taken until its end was told, or nobody can ask for it."""

    def __init__(self) -> None:
        self.requests: list[RequestRecord] = []
        self.violations: list[Violation] = []
        self.items_received = 0
        self.max_in_flight = 0
        self.overlaps: list[Key] = []
        self.logins: dict[str, int] = {}
        self.refreshes: dict[str, int] = {}
        self.resubmitted: list[Batch] = []
        self._identities: dict[str, list[Key]] = {}
        self._writers: dict[tuple[str, str], dict[Key, int]] = {}
        self._by_body: dict[int, Batch] = {}

    @property
    def in_flight(self) -> int:
        return len(self._identities)

    def took(self, batch: Batch, identities: list[Key], body: bytes) -> None:
        self.items_received += len(batch.items)
        self._identities[batch.id] = identities
        self.max_in_flight = max(self.max_in_flight, self.in_flight)
        writers = self._writers.setdefault((batch.user, batch.resource), {})
        for identity, item in zip(identities, batch.items, strict=True):
            others = writers.get(identity, 0)
            if others:
                self.overlaps.append(SCHEMAS[batch.resource].key(item))
            writers[identity] = others + 1
        earlier = self._by_body.setdefault(hash((batch.resource, body)), batch)
        if earlier is not batch and earlier.items == batch.items:
            self.resubmitted.append(batch)

    def let_in(self, kind: Kind, user: str) -> None:
        counts = self.logins if kind == "login" else self.refreshes
        counts[user] = counts.get(user, 0) + 1

    def let_go(self, batch: Batch) -> None:
        """The batch is in flight no more, if it still was."""
        writers = self._writers.get((batch.user, batch.resource), {})
        for identity in self._identities.pop(batch.id, ()):
            if writers[identity] == 1:
                del writers[identity]
            else:
                writers[identity] -= 1
