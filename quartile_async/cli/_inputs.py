"""The files that are named: patterns, pipes, and what to type to name them again."""

from __future__ import annotations

import glob
import re
import shutil
import sys
from collections.abc import Container, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO

from .. import ConfigurationError
from .._tables.formats import kind_of

STANDARD_INPUT = Path("-")
JOURNAL = re.compile(r"\.journal(-\w+)?$")


@dataclass(slots=True, frozen=True)
class Inputs:
    """Files that can be read more than once.

    Attributes:
        paths: in the order in which they are read.
        name: what they are called, for people.
        is_pipe: whether they came through a pipe, and are gone when this process is.
    """

    paths: tuple[Path, ...]
    name: str
    is_pipe: bool = False


@contextmanager
def inputs_of(named: Sequence[Path], pipe_format: str | None, outputs: Iterable[Path] = ()) -> Iterator[Inputs]:
    """The files that these names mean, for as long as the block lasts.

    Args:
        named: files, patterns, or one pipe.
        pipe_format: what comes through the pipe.
        outputs: what is written: a pattern does not mean it.

    Raises:
        ConfigurationError: a pattern means none, or a pipe is not alone.
        OSError: a pipe cannot be read.
    """
    if not any(map(is_pipe, named)):
        first, *more = dict.fromkeys(
            path for each in named for path in _matching(each, set(map(Path.absolute, outputs)))
        )
        yield Inputs((first, *more), f"{first.name} and {len(more)} more" if more else first.name)
        return
    if len(named) > 1:
        raise ConfigurationError("A pipe (-) cannot be uploaded together with other files. Upload one after the other.")
    with _spooled(named[0], pipe_format) as path:
        yield Inputs((path,), str(named[0]), is_pipe=True)


def is_pipe(file: Path) -> bool:
    """Whether it is standard input, a named pipe, or anything else that is not simply a file."""
    return file == STANDARD_INPUT or (file.exists() and not file.is_file() and not file.is_dir())


def _matching(named: Path, outputs: Container[Path]) -> list[Path]:
    """A file, or all those that a pattern means, by their names."""
    if named.exists() or not glob.has_magic(str(named)):
        return [named]
    paths = map(Path, glob.glob(str(named), recursive=True))  # noqa: PTH207  # a pattern may begin with a root
    # Journals lie beside the files, and are none of them.
    found = sorted(
        path for path in paths if path.is_file() and not JOURNAL.search(path.name) and path.absolute() not in outputs
    )
    if not found:
        raise ConfigurationError(f"No file matches {named}. Check the folder and the pattern.")
    return found


@contextmanager
def _spooled(file: Path, pipe_format: str | None) -> Iterator[Path]:
    """A file with all that comes through the pipe, for as long as the block lasts.

    The upload begins when the pipe has ended: the columns can be told then, and the items read more than once.
    """
    with TemporaryDirectory(prefix="quartile-async-") as folder:
        path = Path(folder) / f"input{f'.{pipe_format}' if pipe_format else _suffixes(file)}"
        with path.open("wb") as copy:
            if file == STANDARD_INPUT:
                _copy(sys.stdin.buffer, copy)
            else:
                with file.open("rb") as pipe:
                    _copy(pipe, copy)
        yield path


def _suffixes(file: Path) -> str:
    try:
        kind_of(file)
    except ConfigurationError:
        return ".csv"
    return "".join(file.suffixes[-2:])


def _copy(source: BinaryIO, to: BinaryIO) -> None:
    shutil.copyfileobj(source, to)
