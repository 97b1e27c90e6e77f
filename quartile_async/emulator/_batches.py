"""Batches as data, and how they fare by chance and by script."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from ._schema import Item, Items

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
MessageFor: TypeAlias = Callable[[Item], str | None]


@dataclass(slots=True)
class Batch:
    """A batch that was taken. Times are seconds on the emulator's clock.

    Attributes:
        id: 24 hexadecimal digits.
        number: counts from 0 in the order in which batches were taken.
        resource: the path of the resource, "process/masterlist" for example.
        items: as they came.
        taken_at: when it was submitted.
        ends_at: when its processing ends and its items are applied.
        failures: position -> message of each item that fails.
        processes: what was done with each item, "INSERT" or "UPDATE"; None until its processing has ended.
        told_at: when an answer first said that it has ended; None before.
        polls: how often it was asked for, whatever the answer.
        polls_after_the_end: how often, after its end had been told.
        orphaned: no answer told its id, so that nobody can ask for it.
        user: whose access token it came with.
    """

    id: str
    number: int
    resource: str
    items: Items
    taken_at: float
    ends_at: float
    failures: dict[int, str]
    processes: list[str] | None = None
    told_at: float | None = None
    polls: int = 0
    polls_after_the_end: int = 0
    orphaned: bool = False
    user: str = ""

    @property
    def ended(self) -> bool:
        """Whether its processing has ended."""
        return self.processes is not None

    @property
    def end_told(self) -> bool:
        """Whether an answer has said that it has ended."""
        return self.told_at is not None

    @property
    def status(self) -> str:
        """The status in which it ends."""
        if not self.failures:
            return "SUCCESS"
        return "FAILED" if len(self.failures) == len(self.items) else "PARTIAL"

    def __repr__(self) -> str:
        return (
            f"<Batch {self.id}, {self.resource}, {len(self.items)} items, {self.status if self.ended else 'running'}>"
        )


@dataclass(frozen=True, slots=True)
class Behaviour:
    """How batches fare; see `Emulator`."""

    processing: Processing
    fail_share: float
    fail_messages: Sequence[str]
    fail: MessageFor | None
    failed_batch_share: float
    shuffle_rows: bool
    missing_row_share: float

    def __post_init__(self) -> None:
        for share in (self.fail_share, self.failed_batch_share, self.missing_row_share):
            if not 0.0 <= share <= 1.0:
                raise ValueError(f"a share is between 0 and 1, not {share}")
        if not self.fail_messages:
            raise ValueError("`fail_messages` needs at least one message")

    def seconds(self, rng: random.Random, items: Items) -> float:
        return self.processing(rng, items) if callable(self.processing) else self.processing

    def failures(self, rng: random.Random, items: Items) -> dict[int, str]:
        """Position -> message of those that fail."""
        if self.fail is not None:
            messages = ((position, self.fail(item)) for position, item in enumerate(items))
            return {position: message for position, message in messages if message is not None}
        if self.failed_batch_share and rng.random() < self.failed_batch_share:
            return {position: rng.choice(self.fail_messages) for position in range(len(items))}
        if not self.fail_share:
            return {}
        failed = [position for position in range(len(items)) if rng.random() < self.fail_share]
        return {position: rng.choice(self.fail_messages) for position in failed}
