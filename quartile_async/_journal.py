"""What an upload writes down so that it can be gone on with: records, and what a store of them has to do."""

from __future__ import annotations

import enum
import functools
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from itertools import chain, groupby
from operator import attrgetter
from typing import Any, Protocol, TypeAlias, runtime_checkable

import pydantic
from pydantic_core import PydanticSerializationError, to_json

from ._results import ItemResult, Outcome


@dataclass(slots=True, frozen=True)
class Subject:
    """What an upload is about. One that goes on with it must be about the same.

    Attributes:
        resource: its path, and its natural key.
        server: the address.
        account: the label, or a digest of subscription key and user name.
    """

    resource: str
    server: str
    account: str


class Stage(enum.StrEnum):
    """How far a batch has come."""

    INTENDED = "intended"
    """It is about to be sent, or was, and nobody knows whether it arrived."""
    TAKEN = "taken"
    """The server has it, under an id."""
    ENDED = "ended"
    """Its items' results are final."""
    GIVEN_UP = "given up"
    """Its items have results, but its end was never read: asking once more may tell it."""
    VOID = "void"
    """The server certainly took nothing: its items are as if they had never been sent."""


@dataclass(slots=True, frozen=True)
class ItemsRead:
    """Items were read: at most 100, the next ones.

    Attributes:
        first: the index of the first.
        marks: 4 bytes for each item, to tell which one is another.
        digest: of all of them.
    """

    first: int
    marks: bytes
    digest: bytes

    @property
    def end(self) -> int:
        """The index after the last."""
        return self.first + len(self.marks) // 4


@dataclass(slots=True, frozen=True)
class Intended:
    """These items are about to be sent together; or need no sending, where their end is written along with it."""

    number: int
    indexes: Sequence[int]


@dataclass(slots=True, frozen=True)
class Taken:
    """The server has taken a batch. `resent`: an earlier try may have been taken, too."""

    number: int
    batch_id: str
    resent: bool


@dataclass(slots=True, frozen=True)
class Ended:
    """A batch's results, packed (see `packed`). `final`: asking once more would not tell more."""

    number: int
    results: bytes
    final: bool = True


@dataclass(slots=True, frozen=True)
class Void:
    """The server certainly took nothing of a batch."""

    number: int


Record: TypeAlias = ItemsRead | Intended | Taken | Ended | Void


@dataclass(slots=True, frozen=True)
class RecordedBatch:
    """What the records of one batch come to.

    Attributes:
        number: counts the upload's batches, from 1.
        indexes: of its items, ascending.
        stage: how far it has come.
        batch_id: the server's, where it is known.
        resent: an earlier try may have been taken, too.
        results: packed, where there are any.
    """

    number: int
    indexes: list[int]
    stage: Stage
    batch_id: str | None = None
    resent: bool = False
    results: bytes | None = None


@dataclass(slots=True, frozen=True)
class Contents:
    """What a journal holds when it is opened.

    Attributes:
        items: how many items have been read.
        batches: the highest number of a batch.
        started_at, touched_at: Unix times of its first and last record.
        finished_at: Unix time at which the upload had finished; None where it had not.
    """

    items: int
    batches: int
    started_at: float
    touched_at: float
    finished_at: float | None


@runtime_checkable
class Journal(Protocol):
    """Keeps the records of one upload. It is opened by one upload at a time.

    Every function raises a `JournalError` where it cannot do what it says. A record that is durable is never lost
    while one written before it is kept: whatever is left after a crash is how the journal stood at some time.
    """

    async def open(self, subject: Subject) -> Contents:
        """Takes hold of the journal, or makes a new one; raises at once where somebody else has it."""
        ...

    async def items_from(self, index: int) -> Sequence[ItemsRead]:
        """The next records of items read, from this index on; none after the last one."""
        ...

    async def batches_from(self, first: int, number: int) -> Sequence[RecordedBatch]:
        """The next batches that there were when it was opened, by the index of their first item and their number.

        They follow the batch with this first index and number; none follow the last one.
        """
        ...

    def write(self, *records: Record) -> Awaitable[None]:
        """Writes all of these or none, after what was written before, and at once; awaited, until it is durable."""
        ...

    async def close(self, *, finished: bool) -> None:
        """Lets go of the journal, after all that was written; `finished`: every item has its final result."""
        ...


@runtime_checkable
class HeldJournal(Journal, Protocol):
    """A journal that somebody else may take over from an upload that seems to be dead.

    Whatever is sent is checked before it goes out, each time: an upload that was stopped for long must not go on with
    what is another's by now.
    """

    def is_held(self) -> bool:
        """Whether nobody else can have it at this moment, as far as is known without asking anybody."""
        ...

    async def check_held(self) -> None:
        """Returns once `is_held`; raises JournalError where somebody else has it, or nobody can tell."""
        ...

    def when_lost(self, tell: Callable[[Exception], object]) -> None:
        """Has this called with a JournalError, once, if it is found out that it is not held any more."""
        ...


@functools.cache
def _columns() -> pydantic.TypeAdapter[list[Any]]:
    return pydantic.TypeAdapter(list[Any])


_PACKED_FIELDS = ("outcome", "message", "process", "id", "batch_id", "not_sent", "resent")
_packed_fields = attrgetter(*_PACKED_FIELDS)
_tries = attrgetter("tries")


def packed(results: Sequence[ItemResult[Any]]) -> bytes:
    """Results as columns in JSON, without items, indexes and rows; a column of equal values is one value."""
    columns = [_column(column) for column in zip(*map(_packed_fields, results), strict=True)]
    if max(tries := list(map(_tries, results))) > 1:
        columns.append(_column(tries))
    try:
        return to_json(columns)
    except PydanticSerializationError:  # a text with halves of characters, which a file name or a validator may hold
        return to_json([[_whole(value) for value in column] for column in columns])


def _whole(value: Any) -> Any:
    return value.encode(errors="backslashreplace").decode() if isinstance(value, str) else value


def _column(values: Sequence[Any]) -> Sequence[Any]:
    return values[:1] if values.count(values[0]) == len(values) else values


def unpacked(content: bytes, indexes: Sequence[int], items: Sequence[Any], *, places: slice, of: int) -> list[Any]:
    """The results at these places, of so many, for these items.

    Raises:
        ValueError: it is not what was packed.
    """
    columns = _columns().validate_json(content)
    if len(columns) == len(_PACKED_FIELDS):
        columns.append([1])
    if len(columns) != len(_PACKED_FIELDS) + 1 or any(len(column) not in (1, of) for column in columns):
        raise ValueError("these are not the results of so many items")
    outcome, *others = ((column * of if len(column) == 1 else column)[places] for column in columns)
    return [
        ItemResult(index, item, Outcome(word), message, process, row_id, batch_id, None, not_sent, resent, True, tries)
        for index, item, word, message, process, row_id, batch_id, not_sent, resent, tries in zip(
            indexes, items, outcome, *others, strict=True
        )
    ]


def outcomes_of(content: bytes, of: int) -> Counter[str]:
    """How many of so many packed results have which outcome.

    Raises:
        ValueError: it is not what was packed.
    """
    words, *_ = _columns().validate_json(content)
    return Counter(words * of if len(words) == 1 else words)


def spans_of(indexes: Sequence[int]) -> list[int]:
    """Ascending indexes, at least one, as first and length, first and length, and so on."""
    if indexes[-1] - indexes[0] == len(indexes) - 1:  # nearly always
        return [indexes[0], len(indexes)]
    runs = groupby(enumerate(indexes), key=lambda each: each[1] - each[0])
    return list(chain.from_iterable((run[0][1], len(run)) for _, group in runs if (run := list(group))))


def indexes_of(spans: Sequence[int]) -> list[int]:
    """What `spans_of` was given."""
    return [
        index for first, length in zip(spans[::2], spans[1::2], strict=True) for index in range(first, first + length)
    ]
