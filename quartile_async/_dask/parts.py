"""Parts of an input: what one task uploads, and how a worker gets at the items."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from .._errors import JournalError
from .._frames import TableItems, is_table, opened_table
from .._resources import Resource
from .._tables.places import START, Place
from ..files import ItemFile
from .forms import Form, opened_as


@dataclass(slots=True, frozen=True)
class SourceFile:
    """A file of the input, as it was when it was divided.

    Attributes:
        path: absolute.
        size: in bytes.
        modified: time of the last change, in nanoseconds since 1970.
        form: how it is read.
    """

    path: str
    size: int
    modified: int
    form: Form


@dataclass(slots=True, frozen=True)
class Records:
    """Consecutive records of a file.

    Attributes:
        file: it.
        first: the place before the first of them.
        stop: the number, from 0, of the first one that is no more among them; None: they reach to the end.
    """

    file: SourceFile
    first: Place = START
    stop: int | None = None


@dataclass(slots=True, frozen=True)
class Partition:
    """A partition of a Dask collection, by its number from 0."""

    number: int


@dataclass(slots=True, frozen=True)
class Part:
    """What one task uploads. It is small, and can be sent to workers.

    Attributes:
        number: from 0, in the order of the input.
        account: whose items they are; None: the client's.
        items: where they are.
    """

    number: int
    account: str | None
    items: Records | Partition

    def __str__(self) -> str:
        """Where its items are, for people: records are counted from 1."""
        return self._place if self.account is None else f"{self.account}: {self._place}"

    @property
    def _place(self) -> str:
        match self.items:
            case Partition(number):
                return f"partition {number}"
            case Records(file, first, None):
                return Path(file.path).name + (f", records from {first.record + 1:,} on" if first.record else "")
            case Records(file, first, stop):
                return f"{Path(file.path).name}, records {first.record + 1:,} to {stop:,}"


class OtherInputError(JournalError):
    """The input is another one than the one that was divided into parts."""


Items: TypeAlias = ItemFile | TableItems | Sequence[Any]


def items_of(part: Part, data: Any, resource: Resource[Any]) -> Items:
    """The items of a part, on a worker, to be iterated as often as one likes.

    It looks at the file: on an event loop, call it in a worker thread.

    Args:
        part: it.
        data: the content of a partition. One that was lost with its worker is computed again, and must be the same
            again; where it is not, its journal refuses to go on.
        resource: what the items are.

    Raises:
        ConfigurationError: a partition lacks a column that the items need.
        JournalError: the file is another one than when the input was divided, or is not there.
    """
    if isinstance(part.items, Records):
        file = part.items.file
        check_is_the_same(file, "on this worker")
        return opened_as(file.path, file.form).between(part.items.first, part.items.stop)
    if is_table(data):
        return opened_table(data, resource)
    return data if isinstance(data, list | tuple) else list(data)


def check_is_the_same(file: SourceFile, where: str = "now") -> None:
    """Looks whether a file is the one that was divided.

    Raises:
        OtherInputError: it has changed since.
        JournalError: it cannot be opened.
    """
    try:
        found = Path(file.path).stat()
    except OSError as error:
        raise JournalError(
            f"{file.path}, which this upload has divided into parts, cannot be opened {where}: {error.strerror}. See "
            "to it that it stands there on all machines, with its time of change, and run the same again."
        ) from error
    if (found.st_size, found.st_mtime_ns) == (file.size, file.modified):
        return
    raise OtherInputError(
        f"{file.path} is not the file that this upload has divided into parts: it had {file.size:,} bytes and was last "
        f"changed at {_time(file.modified)}; {where} it has {found.st_size:,} bytes, and was changed at "
        f"{_time(found.st_mtime_ns)}. Put the former file back (on all machines, with its time), and run the same "
        "again; or give the journal a new name, to begin a new upload."
    )


def _time(nanoseconds: int) -> str:
    return dt.datetime.fromtimestamp(nanoseconds / 1e9, dt.UTC).isoformat(" ", "milliseconds")
