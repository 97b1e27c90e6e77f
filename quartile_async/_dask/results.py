"""What comes out of a distributed upload: plain data."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from .._errors import QuartileError
from .._results import ItemResult, Progress, Summary


@dataclass(slots=True)
class PartItemResult(ItemResult[Any]):
    """What became of one item.

    Attributes:
        part: the number of its part; `index` is the item's position within it. `upload.parts[part]` says where it is.
        item: the item; a model as a mapping, and what JSON has no word for as its text.
    """

    part: int = 0


class PartState(enum.StrEnum):
    """How a part ended."""

    NOT_BEGUN = "not begun"
    """Nothing of it was sent in this run."""
    FINISHED = "finished"
    """Each of its items has its result."""
    STOPPED = "stopped"
    """It was stopped; the same call goes on with it."""
    FAILED = "failed"
    """It ended by an error."""


@dataclass(slots=True, frozen=True)
class PartEnd:
    """What a run has come to for one part.

    Attributes:
        part: its number.
        state: how it ended.
        read: items read from it.
        batches: batches that the server accepted in this run; where workers have died, those of which results came.
        in_batches: the ids of batches whose end was not awaited, each with how many of the part's items: the server
            may complete them, and the same call learns their ends.
        unsent: items that were read and certainly not sent.
        in_doubt: items that may have been sent, without a batch's id. Of a part whose worker has died, those that it
            had read, as far as it had told that, and that have no result.
        foreign_rows: as in `Progress`.
        error: what ended it, with the name of its class before it; "" where nothing did.
        worker: the address of the worker that had it last; "" where none had.
    """

    part: int
    state: PartState
    read: int = 0
    batches: int = 0
    in_batches: dict[str, int] = field(default_factory=dict)
    unsent: int = 0
    in_doubt: int = 0
    foreign_rows: int = 0
    error: str = ""
    worker: str = ""


@dataclass(slots=True, frozen=True)
class PartsProgress(Progress):
    """Counts of all parts so far.

    Attributes:
        parts: how many there are.
        parts_ended: how many of them have ended.
    """

    parts: int = 0
    parts_ended: int = 0


@dataclass(slots=True, frozen=True)
class PartsSummary(Summary):
    """A run that has ended, in counts.

    Attributes:
        parts: what became of each part, by its number.
    """

    parts: tuple[PartEnd, ...] = ()


class PartsFailedError(QuartileError):
    """Parts have ended by an error; the others have their results, or were stopped or not begun for it.

    Attributes:
        ends: of the parts that have.
    """

    def __init__(self, ends: Sequence[PartEnd], of: int, finished: int) -> None:
        first = ends[0]
        why = first.error if first.error.endswith((".", "!", "?")) else f"{first.error}."
        more = f" So did {len(ends) - 1} more." if len(ends) > 1 else ""
        others = _of_others(finished, of - finished - len(ends))
        super().__init__(
            f"Part {first.part} of {of} ended by an error: {why}{more}{others} `ends` says of each what may be on the "
            "server. Mend that, and call the same again: it goes on where this ended."
        )
        self.ends: tuple[PartEnd, ...] = tuple(ends)


def _of_others(finished: int, left: int) -> str:
    if left:
        return f" {finished} have their results, {left} were not finished."
    return " The others have their results." if finished else ""
