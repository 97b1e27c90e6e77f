"""Places at which a file can be entered, so that not all that stands before has to be read again. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, TypeGuard

from .rows import RecordIterator


@dataclass(slots=True, frozen=True)
class Place:
    """A place between two records of a file.

    Attributes:
        record: how many records stand before it.
        offset: how many bytes; 0 in a format that is entered by the number of the record.
        line: how many lines, where these are counted; else 0.
    """

    record: int = 0
    offset: int = 0
    line: int = 0


START = Place()


@dataclass(slots=True, frozen=True)
class Places:
    """Where a file can be entered.

    Attributes:
        starts: the beginning, and the place after each so many records that others follow; none in a file without
            records.
        records: how many records the file has.
    """

    starts: tuple[Place, ...]
    records: int


class EnterableTable(Protocol):
    """A table that can be entered at a place.

    Attributes:
        can_be_entered: whether this one can, or has to be read from its beginning.
    """

    @property
    def can_be_entered(self) -> bool: ...

    def records_from(
        self, first: Place, stop: int | None, renamed: Mapping[str, str], needed: frozenset[str] | None
    ) -> RecordIterator:
        """The records from a place on, as `Table.records` gives them; those from `stop` on may be left out."""
        ...

    def places(self, every: int) -> Places:
        """The places at which parts of so many records begin; all of the file is read for it, if need be."""
        ...


def is_enterable(table: object) -> TypeGuard[EnterableTable]:
    """Whether a table can be entered at a place."""
    return bool(getattr(table, "can_be_entered", False))


def places_from(after: list[Place], records: int) -> Places:
    """Places of a file, from those after each so many records, of which the last may be its end."""
    starts = (START, *after) if records else ()
    return Places(tuple(place for place in starts if place.record < records), records)
