"""The file of a journal as a file: made for its owner alone, or set aside. SQLite keeps a log beside it."""

from __future__ import annotations

import os
import stat
import time
from itertools import chain, count
from pathlib import Path


def is_empty(path: Path) -> bool:
    """Whether there is no journal there, but perhaps an empty file, where one was about to be made."""
    return not path.exists() or (not path.stat().st_size and not beside(path, "-wal").exists())


def set_aside(path: Path, at: float) -> Path:
    """Gives a journal that is not open a name with this time, and makes way for a new one.

    Raises:
        OSError: it cannot be renamed.
    """
    dated = f"{path.stem}.{time.strftime('%Y-%m-%dT%H%M%S', time.localtime(at))}"
    names = chain((f"{dated}{path.suffix}",), (f"{dated}-{number}{path.suffix}" for number in count(2)))
    new = next(found for name in names if not (found := path.with_name(name)).exists())
    for end in ("-wal", "-shm"):  # left by a crash; without them the latest records would be missing
        if beside(path, end).exists():
            beside(path, end).rename(beside(new, end))
    path.rename(new)
    return new


def beside(path: Path, end: str) -> Path:
    """The file of SQLite's whose name ends like this, too."""
    return path.with_name(path.name + end)


def make_file(path: Path) -> None:
    """Makes the file where there is none; only its owner can read it, from its beginning."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except FileExistsError:
        if path.is_file() and stat.S_IMODE(path.stat().st_mode) & 0o077:
            path.chmod(0o600)
