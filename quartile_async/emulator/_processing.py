"""Batches on their way: how long they take, how each item ends, and what has been applied."""

from __future__ import annotations

import heapq
import itertools
import random
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from ._schema import MASTERLIST, Key, ResourceSchema

Items: TypeAlias = list[dict[str, Any]]

FAILURES = (
    "The product was not found in this marketplace.",
    "The product is not managed by this account.",
    "The target is lower than the minimum that the campaign allows.",
)


@dataclass(frozen=True, slots=True)
class Lognormal:
    """Processing times around `median` seconds; `sigma` is the standard deviation of their logarithm."""

    median: float
    sigma: float

    def __call__(self, rng: random.Random, items: Items) -> float:
        return self.median * rng.lognormvariate(0.0, self.sigma)


Processing: TypeAlias = float | Callable[[random.Random, Items], float]


@dataclass(slots=True)
class Batch:
    """A batch that was taken.

    Attributes:
        id: 24 hexadecimal digits.
        resource: the path of the resource, "process/masterlist" for example.
        items: as they came.
        taken_at, ends_at: on the emulator's clock.
        failures: position -> message of each item that fails.
        rows: the answer's rows, once it has ended.
        polls: how often it was asked for.
        polls_after_the_end: how often, after its end had been told.
        orphaned: the client was never told its id.
    """

    id: str
    resource: str
    items: Items
    taken_at: float
    ends_at: float
    failures: dict[int, str]
    rng: random.Random = field(repr=False)
    rows: list[dict[str, Any]] | None = None
    polls: int = 0
    polls_after_the_end: int = 0
    end_told: bool = False
    orphaned: bool = False

    @property
    def status(self) -> str:
        """The status in which it ends."""
        if not self.failures:
            return "SUCCESS"
        return "FAILED" if len(self.failures) == len(self.items) else "PARTIAL"


@dataclass(frozen=True, slots=True)
class Behaviour:
    """How batches fare; see `Emulator`."""

    processing: Processing
    fail_share: float
    fail: Callable[[dict[str, Any]], str | None] | None
    failed_batch_share: float
    shuffle_rows: bool
    missing_row_share: float


class Processor:
    """Takes batches, ends them in the order of their ends, and keeps what was applied."""

    def __init__(self, behaviour: Behaviour, seed: int) -> None:
        self._behaviour = behaviour
        self._seed = seed
        self._numbers = itertools.count()
        self._running: list[tuple[float, int, Batch]] = []
        self._unseen: dict[tuple[str, Key], Batch] = {}
        self._in_flight = 0
        self.batches: list[Batch] = []
        self.by_id: dict[str, Batch] = {}
        self.applied: dict[Key, dict[str, Any]] = {}
        self.writes: dict[str, Items] = {}
        self.max_in_flight = 0
        self.overlaps: list[Key] = []

    def take(self, schema: ResourceSchema, items: Items, now: float) -> Batch:
        """Takes a batch whose items have been checked."""
        number = next(self._numbers)
        # A stream of its own for each batch: how requests interleave does not change how a batch fares.
        rng = random.Random(f"{self._seed}/{number}")
        processing = self._behaviour.processing
        seconds = processing(rng, items) if callable(processing) else processing
        batch_id = f"{rng.getrandbits(96):024x}"
        batch = Batch(batch_id, schema.path, items, now, now + seconds, self._failures(rng, items), rng)
        self.batches.append(batch)
        self.by_id[batch_id] = batch
        heapq.heappush(self._running, (batch.ends_at, number, batch))
        self._note_start(schema, batch)
        return batch

    def settle(self, now: float) -> None:
        """Ends what has ended by now, in that order."""
        while self._running and self._running[0][0] <= now:
            self._end(heapq.heappop(self._running)[2])

    def tell_end(self, batch: Batch, keys: Iterable[Key]) -> None:
        """The client has been told that a batch has ended, or can never be told."""
        if batch.end_told or batch.orphaned:
            return
        self._in_flight -= 1
        for key in keys:
            if self._unseen.get((batch.resource, key)) is batch:
                del self._unseen[batch.resource, key]

    def _note_start(self, schema: ResourceSchema, batch: Batch) -> None:
        self._in_flight += 1
        self.max_in_flight = max(self.max_in_flight, self._in_flight)
        for item in batch.items:
            key = schema.key(item)
            if (batch.resource, key) in self._unseen:
                self.overlaps.append(key)
            self._unseen[batch.resource, key] = batch

    def _failures(self, rng: random.Random, items: Items) -> dict[int, str]:
        behaviour = self._behaviour
        if behaviour.fail is not None:
            messages = ((position, behaviour.fail(item)) for position, item in enumerate(items))
            return {position: message for position, message in messages if message is not None}
        if behaviour.failed_batch_share and rng.random() < behaviour.failed_batch_share:
            return {position: rng.choice(FAILURES) for position in range(len(items))}
        if not behaviour.fail_share:
            return {}
        return {position: rng.choice(FAILURES) for position in range(len(items)) if rng.random() < behaviour.fail_share}

    def _end(self, batch: Batch) -> None:
        rows = [self._row(batch, position, item) for position, item in enumerate(batch.items)]
        if share := self._behaviour.missing_row_share:
            rows = [row for row in rows if batch.rng.random() >= share]
        if self._behaviour.shuffle_rows:
            batch.rng.shuffle(rows)
        batch.rows = rows

    def _row(self, batch: Batch, position: int, item: dict[str, Any]) -> dict[str, Any]:
        message = batch.failures.get(position)
        process = self._apply(batch.resource, item) if message is None else "NONE"
        return {
            **item,
            "id": str(uuid.UUID(int=batch.rng.getrandbits(128), version=4)),
            "status": {"success": message is None, "message": message or "successfully", "process": process},
        }

    def _apply(self, resource: str, item: dict[str, Any]) -> str:
        self.writes.setdefault(resource, []).append(item)
        if resource != MASTERLIST:
            return "INSERT"
        key = (item["asin"], item["countryCode"])
        process = "UPDATE" if key in self.applied else "INSERT"
        self.applied[key] = item
        return process
