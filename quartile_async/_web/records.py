"""Uploads in a folder: what any process that sees it can tell of them. All of this blocks.

::

    folder/open/OWNER-ID               empty; there while an upload has not ended
    folder/uploads/OWNER/ID/           OWNER and ID are digests
        upload.json  items.jsonl       what was asked for
        journal                        what became of it, to be gone on with after a crash
        results.jsonl                  the lines that were learned, in that order
        progress.json                  the counts so far, by who runs it
        stop                           somebody wants it to be stopped
        unaccounted.jsonl  end.json    the lines of the items without a result, and how it ended
        lock                           held by who runs it
"""

from __future__ import annotations

import enum
import itertools
import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, Self

from pydantic_core import from_json, to_json

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


@dataclass(slots=True, frozen=True)
class Info:
    """What was asked for.

    Attributes:
        digest: of resource and items.
        created: Unix time.
    """

    id: str
    owner: str
    resource: str
    items: int
    digest: str
    created: float


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

    def write_progress(self, content: Mapping[str, Any]) -> None:
        """Tells the others how far it is."""
        _write(self.path / "progress.json", content)

    def write_end(self, content: Mapping[str, Any], unaccounted: Iterable[Mapping[str, Any]]) -> None:
        """It has ended; from now on nobody goes on with it."""
        with (self.path / "unaccounted.jsonl").open("wb") as file:
            file.writelines(to_json(line) + b"\n" for line in unaccounted)
        _write(self.path / "end.json", content)
        self.mark.unlink(missing_ok=True)

    def open_again(self) -> None:
        """One that was stopped, or has failed, will be gone on with."""
        self.mark.touch()
        for name in ("stop", "end.json", "unaccounted.jsonl"):
            (self.path / name).unlink(missing_ok=True)

    def indexes_with_results(self) -> bytearray:
        """Which items have a result in the file, 1 for each that has; what a crash left half written is cut off."""
        path, seen = self.path / "results.jsonl", bytearray(self.info.items)
        path.touch()
        whole = 0
        with path.open("rb+") as file:
            for line in file:
                if not line.endswith(b"\n"):
                    break
                seen[from_json(line)["index"]] = 1
                whole += len(line)
            file.truncate(whole)
        return seen

    def append_results(self, lines: Iterable[Mapping[str, Any]]) -> None:
        """Adds lines to those that were learned."""
        with (self.path / "results.jsonl").open("ab") as file:
            file.write(b"".join(to_json(line) + b"\n" for line in lines))


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

    def unaccounted(self) -> Iterator[dict[str, Any]]:
        """The lines of the items without a result, once it has ended."""
        with suppress(FileNotFoundError), (self.stored.path / "unaccounted.jsonl").open("rb") as file:
            for line in file:
                yield from_json(line) | {"position": self.position}
                self.position += 1


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
        stored = Stored(self.path, key_of(owner, name), Info(name, owner, resource, len(items), digest, time.time()))
        return self._written(stored, lines)

    def _written(self, stored: Stored, lines: bytes) -> tuple[Stored, bool]:
        unfinished = Path(tempfile.mkdtemp(dir=self.path, prefix=".new-"))
        (unfinished / "items.jsonl").write_bytes(lines)
        _write(unfinished / "upload.json", asdict(stored.info))
        stored.mark.touch()
        stored.path.parent.mkdir(exist_ok=True, mode=0o700)
        try:
            unfinished.rename(stored.path)  # all at once: another process may be making it, too
        except OSError:
            shutil.rmtree(unfinished)
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
        return None if content is None else Stored(self.path, key, Info(**content))

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
        return found


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
    try:
        content: dict[str, Any] = from_json(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    return content


def _write(path: Path, content: Mapping[str, Any]) -> None:
    """Replaces a file as a whole."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    unfinished.write_bytes(to_json(content))
    unfinished.replace(path)
