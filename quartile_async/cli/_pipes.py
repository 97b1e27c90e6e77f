"""Input that can be read only once: it is copied to a file first."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO

from .._retry_file import CSV_SUFFIXES, JSON_LINES_SUFFIXES

STANDARD_INPUT = Path("-")


def is_pipe(file: Path) -> bool:
    """Whether it is standard input, a named pipe, or anything else that is not simply a file."""
    return file == STANDARD_INPUT or (file.exists() and not file.is_file() and not file.is_dir())


@contextmanager
def spooled(file: Path, pipe_format: str | None) -> Iterator[Path]:
    """A file with all that comes through the pipe, for as long as the block lasts.

    The upload begins when the pipe has ended: the columns can be told then, and the items read more than once.
    """
    suffix = file.suffix if file.suffix in CSV_SUFFIXES + JSON_LINES_SUFFIXES else ".csv"
    with TemporaryDirectory(prefix="quartile-async-") as folder:
        path = Path(folder) / f"input{f'.{pipe_format}' if pipe_format else suffix}"
        with path.open("wb") as copy:
            if file == STANDARD_INPUT:
                _copy(sys.stdin.buffer, copy)
            else:
                with file.open("rb") as pipe:
                    _copy(pipe, copy)
        yield path


def _copy(source: BinaryIO, to: BinaryIO) -> None:
    shutil.copyfileobj(source, to)
