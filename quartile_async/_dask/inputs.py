"""What can be uploaded: files, files of accounts, or a collection of Dask. Nothing is read here."""

from __future__ import annotations

import os
from collections.abc import AsyncIterable, Iterable, Mapping, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from .._errors import ConfigurationError
from .._tables.formats import kind_of
from .._tables.places import START
from ..files import ItemFile, ItemFiles
from .forms import Form, form_of

CAN_BE_GIVEN = (
    "Give a path, an iterable of paths or of (account, path) pairs, or a bag or a dataframe of Dask. Files are read by "
    "the workers: put other items into a file that they can open, or into a bag."
)

NO_FILES = (bytes, bytearray, Mapping, AsyncIterable)


@dataclass(slots=True, frozen=True)
class FileInput:
    """A file, as it was given.

    Attributes:
        account: whose items it has; None: the client's.
        path: absolute.
        form: how it is read, where it was opened before; else None.
    """

    account: str | None
    path: str
    form: Form | None = None


@dataclass(slots=True, frozen=True)
class Files:
    """Files, in order."""

    files: tuple[FileInput, ...]


@dataclass(slots=True, frozen=True)
class Collection:
    """A collection of Dask. A partition may be computed more than once, and has to have the same items each time.

    Attributes:
        kind: "bag" or "dataframe".
        partitions: each as a Delayed, to be computed where its items are needed.
    """

    kind: str
    partitions: tuple[Any, ...]

    def __str__(self) -> str:
        return f"a {self.kind} of {len(self.partitions)} partitions"


Input: TypeAlias = Files | Collection


def input_of(given: Any) -> Input:
    """What was given, as what can be divided.

    Raises:
        ConfigurationError: it is something else, or a file in no known format; the message says what can be given.
    """
    if isinstance(given, str | os.PathLike | ItemFile):
        return Files((_file_of(None, given),))
    if hasattr(given, "__dask_graph__"):
        return _collection_of(given)
    if isinstance(given, ItemFiles):
        given = given.files
    if isinstance(given, Set):
        raise ConfigurationError(f"A {type(given).__name__} has no order. Give its paths as a list.")
    if isinstance(given, NO_FILES) or not isinstance(given, Iterable) or hasattr(given, "columns"):
        raise ConfigurationError(f"A {type(given).__name__} cannot be divided into parts. {CAN_BE_GIVEN}")
    files = tuple(_pair_of(each) for each in given)
    if not files:
        raise ConfigurationError(f"No file was given. {CAN_BE_GIVEN}")
    _check_forms(files)
    return Files(files)


def _pair_of(given: Any) -> FileInput:
    match given:
        case str() | os.PathLike() | ItemFile():
            return _file_of(None, given)
        case (str() | None as account, str() | os.PathLike() | ItemFile() as path) if isinstance(given, tuple):
            try:
                return _file_of(account, path)
            except ConfigurationError as error:
                raise ConfigurationError(f"{error} In a pair, the account comes first: (account, path).") from None
    raise ConfigurationError(f"{type(given).__name__} is no file. {CAN_BE_GIVEN}")


def _file_of(account: str | None, given: Any) -> FileInput:
    if isinstance(given, ItemFile):
        if given.first != START or given.stop is not None:
            raise ConfigurationError(f"{given.path} was given in part. Give the whole file, or another one.")
        # Not resolved: a link may lead elsewhere on another machine.
        return FileInput(account, os.path.abspath(given.path), form_of(given))  # noqa: PTH100  # as said above
    named = os.fsdecode(given)
    if "://" in named:
        raise ConfigurationError(
            f"{named.partition('://')[0]}://... is no file. Give a path under which all workers find the file, or read "
            "it by dask.dataframe or dask.bag and give what these make of it."
        )
    path = os.path.abspath(named)  # noqa: PTH100  # as said above
    kind_of(Path(path))
    return FileInput(account, path)


def _check_forms(files: tuple[FileInput, ...]) -> None:
    """Raises ConfigurationError where a file is to be read in two ways."""
    forms: dict[str, Form | None] = {}
    for file in files:
        if forms.setdefault(file.path, file.form) != file.form:
            raise ConfigurationError(
                f"{file.path} was given twice, to be read in two ways. Give it in the same way each time."
            )


def _collection_of(given: Any) -> Collection:
    # By the names of its class, which has all attributes where it is a Delayed.
    where = type(given).__module__
    if where.startswith("dask.bag.") and hasattr(given, "npartitions"):
        return Collection("bag", tuple(given.to_delayed()))
    if where.startswith("dask.dataframe.") and given.ndim == 2:
        return Collection("dataframe", tuple(given.to_delayed()))
    raise ConfigurationError(f"A {type(given).__name__} of Dask cannot be uploaded. {CAN_BE_GIVEN}")
