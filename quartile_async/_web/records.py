"""Uploads in a folder: what any process that sees it can tell of them. All of this blocks.

::

    folder/open/OWNER-ID               empty; there while an upload has not ended
    folder/uploads/OWNER/ID/           OWNER and ID are digests
        upload.json  items.jsonl       what was asked for
        journal                        what became of it, to be gone on with after a crash
        results.jsonl                  the lines that are certain, in the order in which they were learned
        progress.json                  the counts so far, by who runs it
        stop                           somebody wants it to be stopped
        end.json  rest-TIME.jsonl      how it ended, and the lines of the items whose fate is not known
        lock                           held by who runs it
"""

from __future__ import annotations

import enum
import itertools
import logging
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, Self

from pydantic_core import from_json, to_json

logger = logging.getLogger("quartile_async")

OPEN, UPLOADS = "open", "uploads"
STALE = 60.0
"""Seconds after which a mark without an upload is what a crash has left."""


class State(enum.StrEnum):
    """How an upload stands."""

    WAITING = "waiting"
    """Nobody runs it; whoever runs uploads in this folder will."""
    RUNNING = "running"
    STOPPING = "stopping"
    FINISHED = "finished"
    STOPPED = "stopped"
    FAILED = "failed"


ENDED = (State.FINISHED, State.STOPPED, State.FAILED)


class OtherItemsError(Exception):
    """There is an upload of that name, with other items."""


class TooManyError(Exception):
    """As many uploads as may be have not ended."""


class StoppingError(Exception):
    """The upload is being stopped, and has not ended yet."""


class GoneError(Exception):
    """Somebody has removed the upload, or put another one in its place."""


@dataclass(slots=True, frozen=True)
class Info:
    """What was asked for.

    Attributes:
        digest: of resource and items.
        created: Unix time.
        token: of this upload alone, should there ever be another one in its place.
    """

    id: str
    owner: str
    resource: str
    items: int
    digest: str
    created: float
    token: str


@dataclass(slots=True, frozen=True)
class Stored:
    """An upload in the folder."""

    folder: Path
    key: str
    info: Info

    @property
    def path(self) -> Path:
        """Its own folder."""
        return _path_of(self.folder, self.key)

    @property
    def mark(self) -> Path:
        return self.folder / OPEN / self.key

    @property
    def end(self) -> Mapping[str, Any] | None:
        """How it ended; None: it has not."""
        return _read(self.path / "end.json")

    @property
    def is_to_be_stopped(self) -> bool:
        return (self.path / "stop").exists()

    @property
    def progress(self) -> Mapping[str, Any]:
        """The counts that were written last."""
        return _read(self.path / "progress.json") or {}

    def ask_to_stop(self) -> None:
        """Whoever runs it will see that."""
        (self.path / "stop").touch()

    def check_there(self) -> None:
        """Raises GoneError where it is not there any more."""
        content = _read(self.path / "upload.json")
        if content is None or content.get("token") != self.info.token:
            raise GoneError

    def write_progress(self, content: Mapping[str, Any]) -> None:
        """Tells the others how far it is."""
        self.check_there()
        _write(self.path / "progress.json", content)

    def write_end(self, content: Mapping[str, Any], rest: Iterable[Mapping[str, Any]]) -> None:
        """It has ended; from now on nobody goes on with it."""
        self.check_there()
        name = f"rest-{time.time_ns()}.jsonl"
        _write_durably(self.path / name, b"".join(to_json(line) + b"\n" for line in rest))
        _write_durably(self.path / "end.json", to_json({**content, "rest": name}))
        self.mark.unlink(missing_ok=True)

    def open_again(self) -> None:
        """One that was stopped, or has failed, will be gone on with."""
        self.mark.touch()
        for path in (self.path / "stop", self.path / "end.json", *self.path.glob("rest-*.jsonl")):
            path.unlink(missing_ok=True)

    def known(self) -> Known:
        """What has been learned of the items; what a crash has left half written is cut off."""
        path, known = self.path / "results.jsonl", Known(bytearray(self.info.items), set())
        path.touch()
        whole = 0
        with path.open("rb+") as file:
            for line in file:
                try:
                    known.add(from_json(line))
                except (ValueError, KeyError, IndexError, TypeError):
                    break
                if not line.endswith(b"\n"):
                    break
                whole += len(line)
            file.truncate(whole)
        return known

    def append_results(self, lines: Iterable[Mapping[str, Any]]) -> None:
        """Adds lines to those that were learned."""
        self.check_there()
        with (self.path / "results.jsonl").open("ab") as file:
            file.write(b"".join(to_json(line) + b"\n" for line in lines))


OUTCOMES = ("", "succeeded", "failed", "rejected")


@dataclass(slots=True, frozen=True)
class Known:
    """What has been learned of an upload's items, by all its runs.

    Attributes:
        outcomes: of each item, as a place in OUTCOMES; 0: none that is certain.
        batches: the ids of the batches.
    """

    outcomes: bytearray
    batches: set[str]

    def add(self, line: Mapping[str, Any]) -> None:
        """Takes a line into account."""
        self.outcomes[line["index"]] = OUTCOMES.index(line["outcome"])
        if line["batch_id"]:
            self.batches.add(line["batch_id"])

    def counts(self) -> dict[str, int]:
        """How many items have which outcome."""
        counts = {name: self.outcomes.count(place) for place, name in enumerate(OUTCOMES) if name}
        return counts | {"unknown": self.outcomes.count(0)}


@dataclass(slots=True)
class ResultLines:
    """The lines of an upload, read as they come.

    Attributes:
        position: of the next one, from 0.
    """

    stored: Stored
    position: int = 0
    _offset: int = 0

    def begin_at(self, position: int) -> None:
        """Begins at that line, or at the end of those that are there."""
        self._offset, self.position = 0, 0
        with suppress(FileNotFoundError), (self.stored.path / "results.jsonl").open("rb") as file:
            for line in itertools.islice(file, max(0, position)):
                if not line.endswith(b"\n"):
                    return
                self._offset += len(line)
                self.position += 1

    def read(self, most: int = 1_000) -> list[dict[str, Any]]:
        """The next lines that are there, with their positions."""
        lines: list[dict[str, Any]] = []
        with suppress(FileNotFoundError), (self.stored.path / "results.jsonl").open("rb") as file:
            file.seek(self._offset)
            for line in file:
                if not line.endswith(b"\n") or len(lines) == most:
                    break
                self._offset += len(line)
                lines.append(from_json(line) | {"position": self.position})
                self.position += 1
        return lines

    def rest(self, name: str) -> list[dict[str, Any]] | None:
        """The lines of the items whose fate is not known, in the file of an end; None: it is an end no more."""
        try:
            lines = (self.stored.path / name).read_bytes().splitlines()
        except FileNotFoundError:
            return None
        return [from_json(line) | {"position": self.position + number} for number, line in enumerate(lines)]


@dataclass(slots=True, frozen=True)
class Folder:
    """The folder of all uploads, of any number of processes.

    Attributes:
        most_open: uploads that may not have ended at once.
    """

    path: Path
    most_open: int

    @classmethod
    def made(cls, path: Path, most_open: int) -> Self:
        """Makes it where it is not there; only its owner can look into it."""
        for name in (OPEN, UPLOADS):
            (path / name).mkdir(parents=True, exist_ok=True, mode=0o700)
        return cls(path.absolute(), most_open)

    def create(self, owner: str, name: str, resource: str, items: Sequence[Any]) -> tuple[Stored, bool]:
        """Writes an upload down; gives it, and whether it is new.

        Raises:
            OtherItemsError: there is one of that name, with other items.
            TooManyError: too many have not ended.
        """
        lines = b"".join(to_json(item) + b"\n" for item in items)
        digest = blake2b(resource.encode() + b"\n" + lines, digest_size=16).hexdigest()
        if (found := self.find(owner, name)) is not None:
            return _checked(found, digest), False
        if sum(1 for _ in os.scandir(self.path / OPEN)) >= self.most_open:
            raise TooManyError
        info = Info(name, owner, resource, len(items), digest, time.time(), secrets.token_hex(16))
        return self._written(Stored(self.path, key_of(owner, name), info), lines)

    def _written(self, stored: Stored, lines: bytes) -> tuple[Stored, bool]:
        unfinished = Path(tempfile.mkdtemp(dir=self.path, prefix=".new-"))
        try:
            _write_durably(unfinished / "items.jsonl", lines)
            _write_durably(unfinished / "upload.json", to_json(asdict(stored.info)))
            stored.mark.touch()
            stored.path.parent.mkdir(exist_ok=True, mode=0o700)
            unfinished.rename(stored.path)  # all at once: another process may be making it, too
        except OSError:
            shutil.rmtree(unfinished, ignore_errors=True)
            found = self.find(stored.info.owner, stored.info.id)
            if found is None:
                raise
            return _checked(found, stored.info.digest), False
        return stored, True

    def find(self, owner: str, name: str) -> Stored | None:
        """An owner's upload."""
        return self.stored(key_of(owner, name))

    def stored(self, key: str) -> Stored | None:
        """The upload with this key."""
        content = _read(_path_of(self.path, key) / "upload.json")
        try:
            return None if content is None else Stored(self.path, key, Info(**content))
        except TypeError:
            logger.warning("The upload in %s cannot be read, and is left alone.", _path_of(self.path, key))
            return None

    def of(self, owner: str) -> list[Stored]:
        """An owner's uploads, the newest first."""
        digest = _digest(owner)
        with suppress(FileNotFoundError):
            names = [entry.name for entry in os.scandir(self.path / UPLOADS / digest)]
            found = filter(None, (self.stored(f"{digest}-{name}") for name in names))
            return sorted(found, key=lambda stored: -stored.info.created)
        return []

    def open_uploads(self) -> list[Stored]:
        """Those that have not ended."""
        found = []
        for entry in os.scandir(self.path / OPEN):
            stored = self.stored(entry.name)
            if stored is not None and stored.end is None:
                found.append(stored)
            elif stored is not None or time.time() - entry.stat().st_mtime > STALE:
                Path(entry.path).unlink(missing_ok=True)
        return sorted(found, key=lambda stored: stored.info.created)


def key_of(owner: str, name: str) -> str:
    """What an owner's upload is called on disk: whatever is in the names, and only this owner's."""
    return f"{_digest(owner)}-{_digest(name)}"


def _checked(stored: Stored, digest: str) -> Stored:
    if stored.info.digest != digest:
        raise OtherItemsError
    return stored


def _digest(text: str) -> str:
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def _path_of(folder: Path, key: str) -> Path:
    owner, _, name = key.partition("-")
    return folder / UPLOADS / owner / name


def _read(path: Path) -> dict[str, Any] | None:
    """The content of a file; None where there is none that can be read."""
    try:
        content: dict[str, Any] = from_json(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValueError:
        logger.warning("%s cannot be read, and is taken for one that is not there.", path)
        return None
    return content


def _write(path: Path, content: Mapping[str, Any]) -> None:
    """Replaces a file as a whole."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    unfinished.write_bytes(to_json(content))
    unfinished.replace(path)


def _write_durably(path: Path, content: bytes) -> None:
    """Replaces a file as a whole; when this returns, it survives a power cut."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    with unfinished.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)
