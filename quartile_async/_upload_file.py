"""The synchronous door, for scripts and notebooks: a file or a table in, its summary out."""

from __future__ import annotations

import asyncio
import contextvars
import errno
import os
import signal
import threading
from collections.abc import AsyncIterable, Callable, Coroutine, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeAlias, TypeVar

import anyio
import anyio.to_thread

from ._client import QuartileClient
from ._errors import ConfigurationError
from ._journal import Journal
from ._masterlist import MASTERLIST
from ._resources import Resource
from ._results import ItemResult, Summary, Tally
from ._tables.formats import Format
from ._tables.outputs import check_are_different, check_results_format, part_of
from ._upload import Upload, is_perhaps_a_table

T = TypeVar("T")

PathLike: TypeAlias = str | os.PathLike[str]

BLOCK = 1_000
"""Results that are written in one go."""

MOMENT = 0.2
"""Seconds after which a thread that waits for another one listens to Ctrl-C, where the platform needs that."""


def upload_file(
    path: PathLike | Iterable[Any] | AsyncIterable[Any],
    resource: Resource[T] = MASTERLIST,  # type: ignore[assignment]  # where none is given, T does not matter
    *,
    results: PathLike | None = None,
    journal: PathLike | Journal | None = None,
    retry: Callable[[ItemResult[T]], bool | float | None] | None = None,
    max_item_tries: int = 3,
    **client_options: Any,
) -> Summary:
    """Uploads a file, and returns when each of its items has its result.

    It works in a script, and in a notebook, where an event loop runs already. Ctrl-C ends it cleanly.

    Args:
        path: a file of items (see `quartile_async.files.read_items`, whose result may be given as well), or a list of
            such files, which become one upload; or what `QuartileClient.upload` takes, such as a DataFrame.
        resource: where the items go, and what they look like.
        results: a file for the results: .csv, .jsonl or .parquet. It also has the items whose result was not learned,
            where the upload has ended by an error or by Ctrl-C.
        journal: as for `QuartileClient.upload`.
        retry: the same.
        max_item_tries: the same.
        client_options: settings of `QuartileClient`; the others are those of the environment, as for
            `QuartileClient.from_env`.

    Raises:
        ConfigurationError: the file, or a setting, cannot be used; nothing was sent.
        QuartileError: what ended the upload.
        OSError: a file cannot be opened, or is damaged.
    """
    _check_files(path, results, journal)
    source = _opened(path, resource)
    client = QuartileClient.from_env(**client_options)

    async def main() -> Summary:
        async with client:
            upload = client.upload(resource, source.items, journal=journal, retry=retry, max_item_tries=max_item_tries)
            with _Writer(results, source) as writer:
                return await _taken(upload, writer)

    return _run(main)


def _check_files(path: Any, results: PathLike | None, journal: Any) -> None:
    """Raises what would otherwise be known only when something has been sent, or written over."""
    inputs = path if isinstance(path, list | tuple) else [getattr(path, "path", path)]
    files = [Path(each) for each in inputs if isinstance(each, str | os.PathLike)]
    named = (("results", results), ("journal", journal))
    written = {name: Path(each) for name, each in named if isinstance(each, str | os.PathLike)}
    if (where := written.get("results")) is not None:
        check_results_format(where)
        if not where.parent.is_dir():
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(where.parent))
        if where.suffix.lower() in Format.PARQUET.value:
            written["results, while they are written,"] = part_of(where)
    check_are_different(files, written)


@dataclass(slots=True)
class Source:
    """What is uploaded.

    Attributes:
        items: for `QuartileClient.upload`.
        columns: the names of the items' fields, as far as they are known.
        complete: whether items can have no other fields.
        with_file: whether items have the name of their file.
    """

    items: Any
    columns: tuple[str, ...] = ()
    complete: bool = True
    with_file: bool = False


def _opened(path: Any, resource: Resource[Any]) -> Source:
    """Reads the beginning of what is uploaded."""
    if isinstance(path, str | os.PathLike):
        return _source_of(_read(path, resource))
    if isinstance(path, list | tuple) and path and all(isinstance(each, str | os.PathLike) for each in path):
        from .files import ItemFiles

        return _source_of(ItemFiles([_read(each, resource) for each in path]))
    if is_perhaps_a_table(path):
        from ._frames import is_table, opened_table

        if is_table(path):
            return _source_of(opened_table(path, resource))
    return _source_of(path)


def _read(path: PathLike, resource: Resource[Any]) -> Any:
    from .files import read_items

    try:
        return read_items(os.fspath(path), resource=resource)
    except ModuleNotFoundError as error:
        raise _without_extra(path, error) from error


def _source_of(items: Any) -> Source:
    columns = getattr(items, "columns", None)
    known = tuple(columns) if isinstance(columns, tuple) else ()
    return Source(items, known, getattr(items, "complete", True), hasattr(items, "files"))


class _Writer:
    """Writes results to a file, if there is to be one; with `with`.

    The file is opened for the first results: an upload that does not begin leaves an earlier file as it is.
    """

    def __init__(self, path: PathLike | None, source: Source) -> None:
        self._path = path
        self._source = source
        self._writer: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._path is not None and self._writer is None and error is None:
            self._writer = self._opened()  # an upload of nothing has a file of nothing
        if self._writer is not None:
            self._writer.__exit__(kind, error, trace)

    def write(self, results: list[ItemResult[Any]]) -> None:
        """Writes them."""
        if self._path is not None:
            writer = self._writer = self._writer or self._opened()
            writer.write(results)

    def _opened(self) -> Any:
        from .files import ResultWriter

        assert self._path is not None
        source = self._source
        path = os.fspath(self._path)
        return ResultWriter(path, source.columns, complete=source.complete, with_file=source.with_file)


def _without_extra(path: PathLike, error: ModuleNotFoundError) -> ConfigurationError:
    return ConfigurationError(
        f"{os.fspath(path)} cannot be used without the package {error.name}: pip install 'quartile-async[cli]'"
    )


async def _taken(upload: Upload[Any], writer: _Writer) -> Summary:
    """Takes all results, and writes and counts them."""
    tally, block = Tally(), list[ItemResult[Any]]()
    clock = asyncio.get_running_loop().time
    started = clock()

    async def write() -> None:
        tally.add(block)
        if block:
            await anyio.to_thread.run_sync(writer.write, block.copy())
        block.clear()

    try:
        async for result in upload:
            block.append(result)
            if len(block) >= BLOCK:
                await write()
    finally:
        with anyio.CancelScope(shield=True):
            await upload.aclose()
            block += upload.unaccounted
            await write()
    return tally.summary(batches=upload.progress.batches_submitted, seconds=clock() - started)


def _run(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Runs it to its end, also where an event loop runs in this thread already."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(main())
    return _run_beside(main)


def _run_beside(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Runs it on a loop of its own in another thread, while this one waits: Ctrl-C comes here."""
    loops: list[tuple[asyncio.AbstractEventLoop, asyncio.Task[Any]]] = []
    outcome: list[T | BaseException] = []
    # Not `Thread.join`: up to Python 3.12, one that Ctrl-C has interrupted takes the thread for ended.
    done = threading.Event()

    async def noted() -> T:
        task = asyncio.current_task()
        assert task is not None
        loops.append((asyncio.get_running_loop(), task))
        return await main()

    def run() -> None:
        try:
            outcome.append(asyncio.run(noted()))
        except BaseException as error:  # noqa: BLE001  # it is raised where the caller waits
            outcome.append(error)
        finally:
            done.set()

    context = contextvars.copy_context()
    thread = threading.Thread(target=context.run, args=(run,), name="quartile_async upload_file", daemon=True)
    thread.start()
    try:
        with _ctrl_c_is_heard():
            _wait_for(done)
    except BaseException:  # Ctrl-C, as a rule
        for loop, task in loops:
            with suppress(RuntimeError):  # it has ended in this moment
                loop.call_soon_threadsafe(task.cancel)
        _wait_for(done)
        raise
    thread.join()
    (end,) = outcome
    if isinstance(end, BaseException):
        raise end
    return end


@contextmanager
def _ctrl_c_is_heard() -> Iterator[None]:
    """`asyncio.run` has Ctrl-C cancel the task that runs on its loop, which stands still meanwhile."""
    handler = signal.getsignal(signal.SIGINT)
    is_asyncios = getattr(getattr(handler, "func", None), "__qualname__", "") == "Runner._on_sigint"
    if not is_asyncios or threading.current_thread() is not threading.main_thread():
        yield
        return
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)


def _wait_for(done: threading.Event) -> None:
    while not done.wait(MOMENT):
        pass
