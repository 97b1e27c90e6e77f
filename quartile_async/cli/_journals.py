"""The journal beside a file: what an earlier one means for the upload that is asked for now."""

from __future__ import annotations

import enum
from collections.abc import AsyncIterable, AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import anyio.to_thread
from rich.console import Console

from .. import ConfigurationError, JournalError
from .._digests import digested, parting
from .._journal import Contents, Subject
from .._journal_path import is_empty, set_aside
from .._journal_sqlite import JournalFile, is_in_use
from ._inputs import Inputs
from ._words import moment, say


@dataclass(slots=True, frozen=True)
class Wish:
    """What is asked for.

    Attributes:
        path: of the journal.
        again: a file that was uploaded already is to be sent once more.
        restart: whatever the journal holds is to be left behind.
    """

    path: Path
    again: bool = False
    restart: bool = False


@dataclass(slots=True, frozen=True)
class Earlier:
    """What a journal holds, beside what is to be uploaded now.

    Attributes:
        items: how many were read.
        finished: whether each has its final result.
        at: Unix time of its last record.
        same_subject: whether resource, server and account are the same.
        parts_at: the index from which on the file's items are others, or missing; None: they are the same.
        grew: whether the file has more items.
    """

    items: int
    finished: bool
    at: float
    same_subject: bool = True
    parts_at: int | None = None
    grew: bool = False


class Way(enum.Enum):
    """How to go on."""

    RESUME = enum.auto()
    REPLAY = enum.auto()
    SET_ASIDE = enum.auto()
    REFUSE = enum.auto()


def way_on(earlier: Earlier, wish: Wish) -> Way:
    """What to do with a journal that is there."""
    if wish.restart:
        return Way.SET_ASIDE
    if earlier.finished:
        is_new = not earlier.same_subject or earlier.parts_at is not None or earlier.grew
        return Way.SET_ASIDE if wish.again or is_new else Way.REPLAY
    # Another subject is refused where the journal is opened, with the words that tell what differs.
    return Way.REFUSE if earlier.same_subject and earlier.parts_at is not None else Way.RESUME


def default_journal(inputs: Inputs, account: str | None) -> Path | None:
    """Where the journal of an upload is, unless one is named; None where the items come through a pipe."""
    if inputs.is_pipe:
        return None
    first, others = inputs.paths[0], len(inputs.paths) - 1
    label = "".join(char if char.isalnum() or char in "-_" else "_" for char in account or "")
    more = f"and-{others}-more" if others else ""
    return first.parent / ".".join(filter(None, (first.name, more, label, "journal")))


@dataclass(slots=True, frozen=True)
class Standing:
    """How a journal stands before an upload.

    Attributes:
        earlier: what it holds; None: nothing, or nothing that can be read.
        way: how to go on with it; None: there is none.
    """

    earlier: Earlier | None = None
    way: Way | None = None

    @property
    def left_off_at(self) -> int:
        """How many items an unfinished upload had read that is gone on with."""
        return self.earlier.items if self.earlier is not None and self.way is Way.RESUME else 0

    @property
    def when(self) -> str:
        """When it was touched last."""
        return moment(self.earlier.at) if self.earlier else ""


async def standing_of(wish: Wish, subject: Subject, items: AsyncIterable[Any], name: str) -> Standing:
    """How the journal stands; changes nothing.

    Raises:
        ConfigurationError: it is about other items, and unfinished.
        JournalError: it cannot be used.
    """
    with _ways_out():
        if await anyio.to_thread.run_sync(is_empty, wish.path):
            return Standing()
        earlier = await _looked_at(wish, subject, items)
    standing = Standing(earlier, Way.SET_ASIDE if earlier is None else way_on(earlier, wish))
    if earlier is not None and standing.way is Way.REFUSE:
        raise ConfigurationError(
            f"{name} has changed since the upload of {standing.when}, which is unfinished: its items are others from "
            f"index {earlier.parts_at} on (the first item has index 0). Nothing was sent. Put the old file back to go "
            f"on with it, or begin anew with --restart, which sets {wish.path} aside."
        )
    return standing


async def make_way(wish: Wish, standing: Standing, subject: Subject, name: str, console: Console) -> None:
    """Sees to it that the journal can be used, and says what became of an earlier one.

    Raises:
        JournalError: it cannot be used.
        OSError: it cannot be set aside.
    """
    if standing.way is Way.SET_ASIDE:
        at = standing.earlier.at if standing.earlier else wish.path.stat().st_mtime
        await _set_aside(wish.path, at, console)
    elif standing.way is Way.REPLAY:
        say(
            console,
            f"{name} was uploaded already: that finished on {standing.when}. Nothing is sent; the results are those of "
            "then. To send it once more: --again",
        )
    elif standing.left_off_at and standing.earlier is not None and standing.earlier.same_subject:
        words = f"{standing.left_off_at} items had been read"
        say(console, f"Resuming the upload that was last under way on {standing.when}: {words}.")
    with _ways_out():
        async with _open(wish.path, subject):
            pass  # whatever is wrong with it is better told now


@contextmanager
def _ways_out() -> Iterator[None]:
    try:
        yield
    except JournalError as error:
        raise JournalError(f"{error} {_WAYS_OUT}") from error


async def _looked_at(wish: Wish, subject: Subject, items: AsyncIterable[Any]) -> Earlier | None:
    """What the journal holds; None where it cannot be read, and need not be."""
    try:
        async with _open(wish.path, None) as (file, contents):
            finished, at = contents.finished_at is not None, contents.touched_at
            if wish.restart or await anyio.to_thread.run_sync(lambda: file.subject) != subject:
                return Earlier(contents.items, finished, at, same_subject=False)
            parts_at, grew = await _difference(file, contents, items)
            return Earlier(contents.items, finished, at, parts_at=parts_at, grew=grew)
    except JournalError as error:
        if wish.restart and not is_in_use(error) and await anyio.to_thread.run_sync(wish.path.is_file):
            return None
        raise


async def _difference(file: JournalFile, contents: Contents, items: AsyncIterable[Any]) -> tuple[int | None, bool]:
    """The index at which the items part from those that were read, and whether more of them follow."""
    coming, index = aiter(items), 0
    while index < contents.items and (blocks := await anyio.to_thread.run_sync(file.items_from, index)):
        for block in blocks:
            now = [item async for item in _next(coming, block.end - index)]
            if (parts_at := parting(block, digested(index, now))) is not None:
                return parts_at, False
            index = block.end
    return None, bool([item async for item in _next(coming, 1)])


async def _next(items: AsyncIterator[Any], count: int) -> AsyncIterator[Any]:
    for _ in range(count):
        try:
            yield await anext(items)
        except StopAsyncIteration:
            return


@asynccontextmanager
async def _open(path: Path, subject: Subject | None) -> AsyncIterator[tuple[JournalFile, Contents]]:
    file = JournalFile(path)
    contents = await anyio.to_thread.run_sync(file.open, subject)
    try:
        yield file, contents
    finally:
        await anyio.to_thread.run_sync(partial(file.close, finished=False))


async def _set_aside(path: Path, at: float, console: Console) -> None:
    new = await anyio.to_thread.run_sync(set_aside, path, at)
    say(console, f"The earlier journal was set aside: {new}")


_WAYS_OUT = (
    "On the command line: --journal PATH names another journal, --restart sets this one aside, and --no-journal does "
    "without."
)
