"""Records of CSV, each with the line where it begins."""

from __future__ import annotations

import csv
import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import IO, Self

from .._errors import ConfigurationError
from .headers import listed
from .opening import REPLACED, MeasuredLines, TextFile, as_latin, is_text, told_where_it_breaks_off
from .places import START, Place, Places, places_from
from .rows import MalformedRow, RecordIterator, Row

DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}

MOST_LINES = 100
"""The most lines that a quoted cell may span; beyond it, a quote was not closed."""

SAMPLE = 1 << 17
"""Characters at the beginning of a file by which it is told how it is separated."""

NOT_UTF_8 = "The record is not in UTF-8: save the file as 'CSV UTF-8'."


@dataclass(slots=True)
class CsvTable:
    """A file of CSV.

    Attributes:
        needed: the columns whose cells must be certain; None: all of them. In the others what is not UTF-8 is read as
            Latin-1.
    """

    file: TextFile
    delimiter: str
    header: tuple[str, ...]
    complete: bool = True

    @property
    def described(self) -> str:
        return f"separated by {DELIMITERS[self.delimiter]}"

    def records(self, renamed: Mapping[str, str], needed: frozenset[str] | None) -> RecordIterator:
        """The records, with the columns under their new names."""
        return self.records_from(START, None, renamed, needed)

    @property
    def can_be_entered(self) -> bool:
        return self.file.can_be_entered

    def records_from(
        self, first: Place, stop: int | None, renamed: Mapping[str, str], needed: frozenset[str] | None
    ) -> RecordIterator:
        """The records from a place on."""
        with closing(self.file.open(first.offset)) as file, told_where_it_breaks_off(self.file.path):
            lines = _Lines(file, first.line)
            header = tuple(renamed.get(name, name) for name in self.header) if first.offset else ()
            yield from _records(lines, self.delimiter, renamed, _repairer(self.file, needed), header)

    def places(self, every: int) -> Places:
        """Where parts of so many records begin. It takes the same reader to tell: a cell may have line breaks."""
        after, count = list[Place](), 0
        with closing(self.file.open()) as file, told_where_it_breaks_off(self.file.path):
            measured = MeasuredLines(file, self.file)
            lines = _Lines(measured)
            for count, _ in enumerate(_records(lines, self.delimiter, {}, _as_it_is), 1):
                if count % every == 0:
                    offset = measured.offset - self.file.bytes_of(lines.given_back)
                    after.append(Place(count, offset, lines.number))
        return places_from(after, count)

    def estimate(self) -> int:
        """About how many there are, by the lines."""
        return max(0, self.file.count(b"\n") - 1)


def opened_csv(file: TextFile, sniff: Callable[[bytes], str | None]) -> CsvTable:
    """Reads the header of a file of CSV.

    Args:
        file: it.
        sniff: tells the delimiter from the beginning of the file, in UTF-8.

    Raises:
        ConfigurationError: it cannot be used.
    """
    name = file.path.name
    with closing(file.open()) as text, told_where_it_breaks_off(file.path):
        sample = text.read(SAMPLE)
    if not sample:
        raise ConfigurationError(f"{name} is empty. Its first line must name the columns.")
    whole_lines = sample[: sample.rfind("\n") + 1] or sample
    delimiter = sniff(whole_lines.encode("utf-8", "replace"))
    first = whole_lines.lstrip("\r\n").partition("\n")[0]
    if not delimiter or delimiter not in first:  # rows that are no rows can mislead; the names of the columns rarely do
        delimiter = sniff(f"{first}\n".encode("utf-8", "replace")) or delimiter
    if delimiter not in DELIMITERS:
        seem = f"seem to be separated by {delimiter!r}" if delimiter else "cannot be told apart"
        raise ConfigurationError(f"{name}: the columns {seem}. Separate them by {', '.join(DELIMITERS.values())}.")
    with closing(file.open()) as text, told_where_it_breaks_off(file.path):
        header = _header(text, delimiter)
    if "" in header or len(set(header)) < len(header):
        raise ConfigurationError(
            f"{name} has the columns {listed(header)} (separated by {DELIMITERS[delimiter]}). Give each "
            "column a name of its own."
        )
    return CsvTable(file, delimiter, header)


def _header(file: IO[str], delimiter: str) -> tuple[str, ...]:
    """The names of the columns: the first line that is not blank."""
    try:
        for cells in csv.reader(itertools.islice(file, MOST_LINES), delimiter=delimiter, strict=True):
            if any(cells):
                return _names(cells)
    except csv.Error as error:
        raise ConfigurationError(f"The first line, which must name the columns, cannot be read: {error}.") from None
    return ()


def _names(cells: Iterable[str]) -> tuple[str, ...]:
    return tuple((cell if is_text(cell) else as_latin(cell)).strip() for cell in cells)


Repair = Callable[[Sequence[str], Sequence[str]], Sequence[str] | None]
"""Takes header and cells of which one is not certain; gives cells that are, or None where that takes guessing."""


def _repairer(file: TextFile, needed: frozenset[str] | None) -> Repair:
    def repair(header: Sequence[str], cells: Sequence[str]) -> Sequence[str] | None:
        for name, cell in zip(header, cells, strict=True):
            if (needed is None or name in needed) and (not is_text(cell) or REPLACED in cell):
                return None
        return [cell if is_text(cell) else as_latin(cell) for cell in cells]

    def as_it_is(header: Sequence[str], cells: Sequence[str]) -> Sequence[str] | None:
        unsure = any(
            REPLACED in cell for name, cell in zip(header, cells, strict=True) if needed is None or name in needed
        )
        return None if unsure else cells

    return repair if file.is_utf_8 else as_it_is


def _as_it_is(header: Sequence[str], cells: Sequence[str]) -> Sequence[str] | None:
    return cells


class _Lines:
    """The lines of a file, or those that follow so many; those of a record that went wrong can be given back."""

    def __init__(self, file: Iterator[str], before: int = 0) -> None:
        self._file = file
        self._given_back: deque[str] = deque()
        self._record: list[str] = []
        self.number = before

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> str:
        if len(self._record) >= MOST_LINES:
            raise csv.Error(f"a quote is not closed within {MOST_LINES} lines")
        line = self._given_back.popleft() if self._given_back else next(self._file)
        self.number += 1
        self._record.append(line)
        return line

    def begin_record(self) -> int:
        """A new record begins; gives the number of its first line."""
        self._record = []
        return self.number + 1

    @property
    def record(self) -> str:
        """The lines of the record, as they are."""
        return "".join(self._record)

    @property
    def given_back(self) -> str:
        """The lines that will be read again."""
        return "".join(self._given_back)

    def give_back_all_but_the_first(self) -> str:
        """Gives the record's first line; the others will be read again."""
        first, *others = self._record
        self._given_back.extendleft(reversed(others))
        self.number -= len(others)
        return first


def _records(
    lines: _Lines, delimiter: str, renamed: Mapping[str, str], repair: Repair, header: tuple[str, ...] = ()
) -> RecordIterator:
    """The records in these lines; where there is no header yet, they begin with it."""
    reader = csv.reader(lines, delimiter=delimiter, strict=True)

    def malformed(reason: str, text: str, record: str | None = None) -> MalformedRow:
        return MalformedRow(
            reason, line=line, text=text, record=record, separated_by=delimiter, columns=len(header) or None
        )

    while True:
        line = lines.begin_record()
        try:
            cells: Sequence[str] | None = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield malformed(f"The record cannot be read: {error}.", lines.give_back_all_but_the_first())
            continue
        assert cells is not None
        if not any(cells):
            continue
        if not header:
            header = tuple(renamed.get(name, name) for name in _names(cells))
            continue
        if len(cells) != len(header):
            # Where a quote was not closed, the lines that it swallowed are records of their own.
            text = lines.give_back_all_but_the_first()
            yield malformed(f"The record has {len(cells)} cells, the header {len(header)}.", text)
            continue
        as_read = cells
        if not _is_certain(cells) and (cells := repair(header, cells)) is None:
            yield malformed(NOT_UTF_8, ascii(delimiter.join(as_read)), lines.record)
            continue
        yield Row(zip(header, cells, strict=True), line)


def _is_certain(cells: Iterable[str]) -> bool:
    return not any(
        char == REPLACED or "\udc80" <= char <= "\udcff" for cell in cells if not cell.isascii() for char in cell
    )
