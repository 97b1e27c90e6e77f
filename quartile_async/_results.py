"""What comes out: plain data, one `ItemResult` for each item, and counts of them."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

T = TypeVar("T")

MOST_PROBLEMS = 10_000
MOST_MESSAGES = 10_000
OTHER_MESSAGES = "(other messages)"


class Outcome(enum.StrEnum):
    """What became of an item."""

    SUCCEEDED = "succeeded"
    """The server processed it and says yes."""
    FAILED = "failed"
    """The server processed it and says no."""
    REJECTED = "rejected"
    """Certainly not accepted, and it is the item: invalid here, or refused by the server before processing."""
    UNKNOWN = "unknown"
    """Anything else: sent and unreadable, perhaps sent, or not sent."""


_SUCCEEDED = Outcome.SUCCEEDED
"""Looked up once: up to Python 3.11 a member of an enum is found by a call, and this is asked for every item."""


# Not frozen: a frozen dataclass sets each field through object.__setattr__, which costs four times as much
# for the one object that is made for every item.
@dataclass(slots=True)
class ItemResult(Generic[T]):
    """What became of one item.

    Attributes:
        index: the item's position in the input, from 0.
        item: the item as it was passed in.
        outcome: see `Outcome`.
        message: the server's words, or why the outcome is what it is.
        process: what the server did, "INSERT" for example; None where it did not say.
        id: the server's id of the item (a UUID); None where it did not say.
        batch_id: the batch in which the item was sent; None where it was not sent or the id was never learned.
        row: the server's own row for the item; None where there is none.
        not_sent: the server certainly took nothing, and the item is not at fault: it can be sent again.
        resent: its batch was sent again because the first answer was lost.
        replayed: learned in an earlier run, from a journal.
        tries: how often the item was sent before this became its result; more than once only by the upload's `retry`.
    """

    index: int
    item: T
    outcome: Outcome
    message: str = ""
    process: str | None = None
    id: str | None = None
    batch_id: str | None = None
    row: dict[str, Any] | None = None
    not_sent: bool = False
    resent: bool = False
    replayed: bool = False
    tries: int = 1

    @property
    def ok(self) -> bool:
        """Whether the item succeeded."""
        return self.outcome is _SUCCEEDED


@dataclass(slots=True, frozen=True)
class BatchStatus:
    """One answer about a batch.

    Attributes:
        batch_id: the batch that was asked for.
        status: the server's word: PENDING, RUNNING, PARTIAL, FAILED, SUCCESS, or one that is not documented.
        rows: the server's rows, one object per item, in no promised order; empty until the batch has finished.
        finished: whether the batch has ended. An undocumented status that comes with rows has ended too, in a
            way that nobody can read.
    """

    batch_id: str
    status: str
    rows: list[dict[str, Any]]
    finished: bool


@dataclass(slots=True, frozen=True)
class Progress:
    """Counts of an upload so far.

    Attributes:
        read: items read from the input.
        done: items whose result was handed to the consumer; the sum of the four outcomes.
        succeeded, failed, rejected, unknown: `done` by outcome.
        batches_submitted: batches that the server accepted.
        batches_finished: batches whose end was learned.
        in_flight: batches being submitted or polled now.
        rate: items done per second since the upload started.
        time_left: seconds until the input is done at this rate; None when the input's length is not known.
        foreign_rows: rows in answers that belong to no item of their batch, or to one that had its row.
    """

    read: int = 0
    done: int = 0
    succeeded: int = 0
    failed: int = 0
    rejected: int = 0
    unknown: int = 0
    batches_submitted: int = 0
    batches_finished: int = 0
    in_flight: int = 0
    rate: float = 0.0
    time_left: float | None = None
    foreign_rows: int = 0


@dataclass(slots=True, frozen=True)
class Summary:
    """An upload that has ended, in counts.

    Attributes:
        items: results delivered; the sum of the four outcomes.
        succeeded, failed, rejected, unknown: `items` by outcome.
        batches: batches that the server accepted.
        seconds: from the start of the upload to its end.
        messages: how often each message of a result that did not succeed occurred (10,000 different ones at
            most; the rest is counted under "(other messages)").
        problems: the first 10,000 results that did not succeed.
        problems_omitted: how many more there were.
    """

    items: int
    succeeded: int
    failed: int
    rejected: int
    unknown: int
    batches: int
    seconds: float
    messages: dict[str, int]
    problems: list[ItemResult[Any]]
    problems_omitted: int


@dataclass(slots=True)
class Tally:
    """Counts results as they come, in bounded memory."""

    counts: dict[Outcome, int] = field(default_factory=lambda: dict.fromkeys(Outcome, 0))
    messages: dict[str, int] = field(default_factory=dict)
    problems: list[ItemResult[Any]] = field(default_factory=list)
    problems_omitted: int = 0

    @property
    def items(self) -> int:
        return sum(self.counts.values())

    def add(self, results: Iterable[ItemResult[Any]]) -> None:
        succeeded = 0
        for result in results:
            if result.outcome is _SUCCEEDED:
                succeeded += 1
            else:
                self.counts[result.outcome] += 1
                self._add_problem(result)
        self.counts[Outcome.SUCCEEDED] += succeeded

    def _add_problem(self, result: ItemResult[Any]) -> None:
        known = result.message in self.messages or len(self.messages) < MOST_MESSAGES
        message = result.message if known else OTHER_MESSAGES
        self.messages[message] = self.messages.get(message, 0) + 1
        if len(self.problems) < MOST_PROBLEMS:
            self.problems.append(result)
        else:
            self.problems_omitted += 1

    def summary(self, *, batches: int, seconds: float) -> Summary:
        return Summary(
            items=self.items,
            succeeded=self.counts[Outcome.SUCCEEDED],
            failed=self.counts[Outcome.FAILED],
            rejected=self.counts[Outcome.REJECTED],
            unknown=self.counts[Outcome.UNKNOWN],
            batches=batches,
            seconds=seconds,
            messages=self.messages,
            problems=self.problems,
            problems_omitted=self.problems_omitted,
        )
