"""What a journal holds, in numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Self

from pydantic_core import to_json

from .._journal import Contents, RecordedBatch, Stage, Subject, outcomes_of
from .._journal_sqlite import JournalFile
from ._words import moment

OPEN = (Stage.INTENDED, Stage.TAKEN)
"""The stages of a batch whose items have no result."""

MOST_LISTED = 20


@dataclass(slots=True, frozen=True)
class OpenBatch:
    """A batch without a result: how many items it has, and its id where that is known."""

    items: int
    batch_id: str | None


@dataclass(slots=True)
class Held:
    """What one journal holds.

    Attributes:
        items: how many were read.
        started_at, touched_at, finished_at: Unix times; the last is None where the upload has not finished.
        batches: by their stage. Items that were rejected here, in one go, count as a batch that has ended.
        outcomes: items by their outcome.
        open: the batches without a result.
    """

    journal: str
    subject: Subject
    items: int
    started_at: float
    touched_at: float
    finished_at: float | None
    batches: dict[str, int] = field(default_factory=dict)
    outcomes: dict[str, int] = field(default_factory=dict)
    open: list[OpenBatch] = field(default_factory=list)

    @classmethod
    def of(cls, path: Path) -> Self:
        """Reads a journal.

        Raises:
            JournalError: it cannot be read, or an upload is using it.
        """
        file = JournalFile(path)
        contents = file.open(None)
        try:
            held = cls._of(path, file.subject, contents)
            for batch in file.batches():
                held._add(batch)
        finally:
            file.close()
        return held

    @classmethod
    def _of(cls, path: Path, subject: Subject, contents: Contents) -> Self:
        return cls(str(path), subject, contents.items, contents.started_at, contents.touched_at, contents.finished_at)

    def _add(self, batch: RecordedBatch) -> None:
        _add_to(self.batches, {batch.stage.value: 1})
        if batch.results is not None:
            _add_to(self.outcomes, outcomes_of(batch.results, len(batch.indexes)))
        elif batch.stage in OPEN:
            self.open.append(OpenBatch(len(batch.indexes), batch.batch_id))

    @property
    def without_result(self) -> int:
        return self.items - sum(self.outcomes.values())

    def as_json(self) -> str:
        """One line."""
        return to_json(asdict(self) | {"without_result": self.without_result}).decode()

    def as_text(self) -> str:
        """For people."""
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        subject = self.subject
        yield f"{self.journal}: an upload of {subject.resource}"
        yield f"to {subject.server}, account {subject.account}"
        yield f"started       {moment(self.started_at)}"
        yield f"last touched  {moment(self.touched_at)}"
        yield f"finished      {'no' if self.finished_at is None else moment(self.finished_at)}"
        yield f"items read    {self.items}"
        for name, count in sorted(self.outcomes.items()):
            yield f"{count:>10} {name}"
        if self.without_result:
            yield f"{self.without_result:>10} without a result so far"
        yield f"batches       {sum(self.batches.values())}"
        for name, count in sorted(self.batches.items()):
            yield f"{count:>10} {_STAGES[Stage(name)]}"
        yield from self._open_lines()

    def _open_lines(self) -> Iterator[str]:
        if self.open:
            yield "still open"
        for batch in self.open[:MOST_LISTED]:
            yield f"{batch.items:>10} items, {f'batch {batch.batch_id}' if batch.batch_id else 'no id'}"
        if len(self.open) > MOST_LISTED:
            yield f"{'':>10} and {len(self.open) - MOST_LISTED} others"


_STAGES = {
    Stage.INTENDED: "about to be sent, or sent, with no answer yet",
    Stage.TAKEN: "taken by the server, and not ended yet",
    Stage.ENDED: "ended",
    Stage.GIVEN_UP: "given up; a rerun asks for them once more",
    Stage.VOID: "not sent",
}


def _add_to(counts: dict[str, int], more: Mapping[str, int]) -> None:
    for name, count in more.items():
        counts[name] = counts.get(name, 0) + count
