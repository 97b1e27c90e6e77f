"""A journal in one SQLite file: a log to which records are only ever appended.

Whatever is left of it after a crash is a beginning of it, and so how it stood at some earlier time. Each record has a
checksum that includes the one before it; their numbers have no gap.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, suppress
from itertools import chain
from pathlib import Path
from typing import Any

from pydantic_core import from_json, to_json

from ._errors import JournalError
from ._journal import Contents, ItemsRead, Record, RecordedBatch, Subject
from ._journal_path import beside, make_file
from ._journal_rows import Row, batch_of, check_subject, checksum, items_read_of, row_of, subject_of

VERSION = 1
APPLICATION_ID = 0x51_61_4A_31
"""Marks the file as one of ours, for SQLite and for `file`."""

PAGE = 64
"""Records that are read in one go."""

MOST_ROWS = 1000
"""The most rows of one statement: SQLite has a limit for their values."""

_LAYOUT = """
CREATE TABLE records (
    seq INTEGER PRIMARY KEY,   -- from 1, without a gap
    at INTEGER NOT NULL,       -- Unix time in milliseconds
    kind TEXT NOT NULL,        -- begin, read, intended, taken, ended, given up, void, finished
    number INTEGER NOT NULL,   -- of the batch, or 0
    first INTEGER NOT NULL,    -- index of the first item, or 0
    content TEXT NOT NULL,     -- JSON, or nothing
    crc INTEGER NOT NULL       -- of all this, and of the record before
);
"""

# Only what an earlier run wrote is ever looked for, so they are made when a journal is opened again.
_INDEXES = """
CREATE INDEX IF NOT EXISTS batches ON records (number, kind) WHERE number > 0;
CREATE INDEX IF NOT EXISTS intended ON records (first, number) WHERE kind = 'intended';
"""

_READ_FROM = """
SELECT seq, first, content FROM records WHERE kind = 'read' AND first >= ? AND seq > ? AND seq <= ? ORDER BY seq LIMIT ?
"""

_BATCHES_FROM = """
SELECT number, content,
    (SELECT content FROM records WHERE number = i.number AND kind = 'taken'),
    (SELECT json_array(kind, content) FROM records
     WHERE number = i.number AND kind IN ('ended', 'given up', 'void') ORDER BY seq DESC LIMIT 1)
FROM records AS i
WHERE kind = 'intended' AND (first, number) > (?, ?) AND number <= ? ORDER BY first, number LIMIT ?
"""

# In one pass, without the indexes. Where there are several ends, the last one counts: their order is that of `seq`.
_ALL_BATCHES = """
SELECT number,
    max(CASE WHEN kind = 'intended' THEN content END),
    max(CASE WHEN kind = 'taken' THEN content END),
    substr(max(CASE WHEN kind IN ('ended', 'given up', 'void')
        THEN printf('%016d', seq) || json_array(kind, content) END), 17)
FROM records WHERE number > 0 GROUP BY number
"""


class JournalFile:
    """The file, for one thread. Every function raises a JournalError that names the file and what to do."""

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.time) -> None:
        self._path = path
        self._clock = clock
        self._database: sqlite3.Connection | None = None
        self._last_seq = self._last_crc = 0
        self._known_seq = self._known_batches = 0
        self._read_to = (0, 0)
        self._finished = False

    def open(self, subject: Subject | None) -> Contents:
        """Opens or makes it; None: opens what is there, whatever it is about, to look at it."""
        with self._explained():
            try:
                return self._opened(subject)
            except BaseException:
                self.let_go(damaged=True)
                raise

    def append(self, records: Iterable[Record]) -> None:
        with self._explained():
            self._append(map(row_of, records))
            self._finished = False

    def items_from(self, index: int) -> list[ItemsRead]:
        with self._explained():
            # Asked for one after the other, they need no index: it goes on where it had come to.
            after = self._read_to[1] if index == self._read_to[0] else 0
            rows = list(self._ask(_READ_FROM, index, after, self._known_seq, PAGE))
            found = [items_read_of(first, content) for _, first, content in rows]
            if found:
                self._read_to = (found[-1].end, rows[-1][0])
            return found

    def batches_from(self, first: int, number: int) -> list[RecordedBatch]:
        with self._explained():
            rows = self._ask(_BATCHES_FROM, first, number, self._known_batches, PAGE)
            return [_batch_of(*row) for row in rows]

    def close(self, *, finished: bool = False) -> None:
        with self._explained():
            try:
                if finished and not self._finished:
                    self._append([("finished", 0, 0, "")])
            finally:
                self.let_go()

    def _opened(self, subject: Subject | None) -> Contents:
        if self._path.is_dir():
            raise JournalError(f"{self._path} is a folder. Name a file in it for the journal.")
        if subject is not None:
            make_file(self._path)
        if not self._path.stat().st_size and beside(self._path, "-wal").exists():
            raise JournalError(self._damaged("it is empty, but its write-ahead log is there"))
        # Never waits for a lock: whoever has it keeps it for as long as an upload lasts.
        uri = f"{self._path.absolute().as_uri()}?mode=rw"
        self._database = sqlite3.connect(uri, timeout=0.0, isolation_level=None, uri=True, check_same_thread=False)
        self._database.execute("PRAGMA locking_mode = EXCLUSIVE")
        application, version = (self._value(f"PRAGMA {name}") for name in ("application_id", "user_version"))
        is_new = not self._value("SELECT count(*) FROM sqlite_master") and application in (0, APPLICATION_ID)
        if not is_new and application != APPLICATION_ID:
            raise JournalError(f"{self._path} is a database, but not a journal. {_LEFT} {_ANOTHER}")
        if version > VERSION:
            raise JournalError(
                f"The journal {self._path} has version {version}, and this quartile_async knows version {VERSION}. "
                f"{_LEFT} Go on with the version of quartile_async that made it, or name another journal."
            )
        if is_new and subject is None:
            raise JournalError(f"{self._path} is empty: nothing was journaled in it.")
        if is_new:
            self._lay_out(subject)
        else:
            self._check(subject)
        if subject is not None:
            self._prepare()
        return self._contents()

    def _prepare(self) -> None:
        """Makes it ready for an upload."""
        self._value("PRAGMA journal_mode = WAL")
        self._execute("PRAGMA synchronous = FULL")
        for statement in _INDEXES.strip().split(";\n") if self._last_seq > 1 else ():
            self._execute(statement)

    def _lay_out(self, subject: Subject | None) -> None:
        row = ("begin", 0, 0, to_json(subject).decode())
        self._execute("BEGIN EXCLUSIVE")
        for statement in (_LAYOUT, f"PRAGMA application_id = {APPLICATION_ID}"):
            self._execute(statement)
        self._execute(f"PRAGMA user_version = {VERSION}")
        self._append([row])
        self._execute("COMMIT")

    def _check(self, subject: Subject | None) -> None:
        """Raises where it is damaged, or about something else."""
        if self._value("PRAGMA integrity_check(1)") != "ok":
            raise JournalError(self._damaged("SQLite finds errors in it"))
        for seq, at, kind, number, first, content, crc in self._ask(
            "SELECT seq, at, kind, number, first, content, crc FROM records ORDER BY seq"
        ):
            if seq != self._last_seq + 1 or crc != checksum(self._last_crc, at, (kind, number, first, content)):
                raise JournalError(self._damaged(f"record {seq} is not what was written"))
            self._last_seq, self._last_crc, self._finished = seq, crc, kind == "finished"
            self._known_batches = max(self._known_batches, number)
            if kind == "read":
                self._read_to = (first, seq - 1)
        if self._last_seq == 0:
            raise JournalError(self._damaged("its first record is missing"))
        if subject is not None:
            check_subject(self._path, self.subject, subject)

    @property
    def subject(self) -> Subject:
        return subject_of(self._value("SELECT content FROM records WHERE seq = 1"))

    def batches(self) -> Iterator[RecordedBatch]:
        """All that there are, by their number."""
        with self._explained():
            for row in self._ask(_ALL_BATCHES):
                yield _batch_of(*row)

    def _contents(self) -> Contents:
        self._known_seq = self._last_seq
        last_read = self.items_from(self._read_to[0])
        started = self._value("SELECT at FROM records WHERE seq = 1")
        touched = self._value("SELECT at FROM records WHERE seq = ?", self._last_seq)
        return Contents(
            items=last_read[0].end if last_read else 0,
            batches=self._known_batches,
            started_at=started / 1000,
            touched_at=touched / 1000,
            finished_at=touched / 1000 if self._finished else None,
        )

    def _append(self, rows: Iterable[Row]) -> None:
        at, seq, crc = int(self._clock() * 1000), self._last_seq, self._last_crc
        values: list[tuple[object, ...]] = []
        for row in rows:
            seq, crc = seq + 1, checksum(crc, at, row)
            values.append((seq, at, *row, crc))
        self._insert(values)
        self._last_seq, self._last_crc = seq, crc

    def _insert(self, rows: Sequence[tuple[object, ...]]) -> None:
        """All of them or none. Nearly always in one statement, which is one transaction.

        Each statement lets go of Python's lock, and to get it back from a busy event loop takes long.
        """
        if len(rows) > MOST_ROWS:
            self._execute("BEGIN")
        for start in range(0, len(rows), MOST_ROWS):
            some = rows[start : start + MOST_ROWS]
            places = ", ".join(["(?, ?, ?, ?, ?, ?, ?)"] * len(some))
            statement = f"INSERT INTO records VALUES {places}"  # noqa: S608  # nothing but question marks
            self._execute(statement, *chain.from_iterable(some))
        if len(rows) > MOST_ROWS:
            self._execute("COMMIT")

    def _execute(self, statement: str, *values: object) -> None:
        assert self._database is not None
        self._database.execute(statement, values)

    def _ask(self, statement: str, *values: object) -> Iterator[Any]:
        assert self._database is not None
        with closing(self._database.execute(statement, values)) as cursor:
            while rows := cursor.fetchmany(PAGE):
                yield from rows

    def _value(self, statement: str, *values: object) -> Any:
        return next(self._ask(statement, *values))[0]

    def let_go(self, *, damaged: bool = False) -> None:
        """Closes the file, if it is open, and says nothing."""
        database, self._database = self._database, None
        if database is None:
            return
        if damaged and hasattr(database, "setconfig"):  # from Python 3.12 on
            with suppress(sqlite3.Error):
                database.setconfig(sqlite3.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, True)  # type: ignore[attr-defined]  # as the line above says
        database.close()

    def _explained(self) -> _Explained:
        return _Explained(self._path)

    def _damaged(self, how: str) -> str:
        return (
            f"The journal {self._path} is damaged: {how}. {_LEFT} Put a copy from before in its place; or move it away "
            "and upload anew, which sends every item once more."
        )


def _batch_of(number: int, spans: str, taken: str | None, end: str | None) -> RecordedBatch:
    kind, content = (None, "") if end is None else from_json(end)
    return batch_of(number, spans, taken, kind, content.encode())


class _Explained:
    """What SQLite and the system say, as a JournalError."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, sqlite3.Error):
            raise JournalError(self._words(error)) from error
        if isinstance(error, OSError):
            raise JournalError(
                f"The journal {self._path} cannot be opened: {error.strerror}. Nothing was sent. {_ANOTHER}"
            ) from error
        if isinstance(error, ValueError | TypeError):  # not JSON, or not the JSON that was written
            raise JournalError(
                f"The journal {self._path} holds what nobody wrote there ({error}). {_LEFT} {_ANOTHER}"
            ) from error

    def _words(self, error: sqlite3.Error) -> str:
        name = getattr(error, "sqlite_errorname", "")
        for beginning, words in _MEANINGS.items():
            if name.startswith(beginning):
                return f"The journal {self._path} {words} (SQLite: {error}.)"
        return f"The journal {self._path} cannot be used: {error}. {_LEFT} {_ANOTHER}"


_LEFT = "The file is left as it is."
_ANOTHER = "Mend that, or name another journal."
_NO_MORE = "Nothing more is sent, and what was delivered stays true. Run the same upload again to go on"

_MEANINGS = {
    "SQLITE_BUSY": "is in use by another upload, in this process or another one. Wait for its end, or name another "
    "journal.",
    "SQLITE_NOTADB": f"is not a journal. {_LEFT} {_ANOTHER}",
    "SQLITE_CORRUPT": f"is damaged. {_LEFT} Put a copy from before in its place; or move it away and upload anew, "
    "which sends every item once more.",
    "SQLITE_FULL": f"cannot be written: the disk is full. {_NO_MORE} once there is room.",
    "SQLITE_IOERR": f"cannot be read or written; the disk may be full or failing. {_NO_MORE} once that is mended.",
    "SQLITE_READONLY": f"cannot be written: the file, or its folder, is read-only. {_ANOTHER}",
    "SQLITE_CANTOPEN": f"cannot be opened: is its folder there, and may files be made in it? {_ANOTHER}",
}
"""By the beginning of SQLite's name of the error."""


def is_in_use(error: JournalError) -> bool:
    """Whether it says that another upload has the journal."""
    return getattr(error.__cause__, "sqlite_errorname", "").startswith("SQLITE_BUSY")
