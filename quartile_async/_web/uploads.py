"""The uploads that one process runs, of a folder that any number of processes share."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import anyio.to_thread
import filelock

from .._client import QuartileClient
from .._resources import Resource
from .._upload import Upload
from .lines import Line
from .records import Folder, GoneError, ResultLines, State, StoppingError, Stored
from .running import RunningUpload, items_of, journal_of

LOOK_EVERY = 0.25
"""Seconds between two looks at whether an upload is to be stopped, and at lines that another process writes."""

ADOPT_EVERY = 2.0
"""Seconds between two looks for uploads that nobody runs."""

logger = logging.getLogger("quartile_async")


class ClosingError(Exception):
    """No more uploads are begun here."""


class Uploads:
    """Starts uploads, and goes on with those that were left; use it with `async with`."""

    def __init__(
        self,
        folder: Path,
        client: QuartileClient,
        resources: Mapping[str, Resource[Any]],
        *,
        most_open: int,
        most_running: int = 64,
    ) -> None:
        self._path = folder
        self._most_open = most_open
        self._most_running = most_running
        self._client = client
        self._resources = resources
        self._running: dict[str, RunningUpload] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._watch: asyncio.Task[None] | None = None
        self._look_now = asyncio.Event()
        self._is_closing = False

    async def __aenter__(self) -> Uploads:
        self._folder = await anyio.to_thread.run_sync(Folder.made, self._path, self._most_open)
        await self._adopt()
        self._watch = asyncio.create_task(self._look_after(), name="quartile_async uploads")
        return self

    async def __aexit__(self, *_: object) -> None:
        self._is_closing = True
        tasks = [task for task in (self._watch, *self._tasks) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def start(self, owner: str, name: str, resource: str, items: Sequence[Any]) -> Stored:
        """Begins an upload, or goes on with one of that name that was stopped or has failed.

        Raises:
            ClosingError, OtherItemsError, StoppingError, TooManyError: it is not begun.
        """
        if self._is_closing:
            raise ClosingError
        stored, is_new = await anyio.to_thread.run_sync(self._folder.create, owner, name, resource, items)
        if is_new or await anyio.to_thread.run_sync(_can_go_on, stored):
            await self._begin(stored)
        return stored

    async def find(self, owner: str, name: str) -> Stored | None:
        """An owner's upload."""
        return await anyio.to_thread.run_sync(self._folder.find, owner, name)

    async def of(self, owner: str) -> list[dict[str, Any]]:
        """An owner's uploads, the newest first, each as `told` has it."""
        found = await anyio.to_thread.run_sync(self._folder.of, owner)
        return [await self.told(stored) for stored in found]

    async def told(self, stored: Stored) -> dict[str, Any]:
        """How an upload stands."""
        running = self._running.get(stored.key)
        if running is not None:
            return _told(stored, running.state, running.progress, None)
        return await anyio.to_thread.run_sync(_told_from_disk, stored)

    async def stop(self, stored: Stored) -> None:
        """Stops an upload, whoever runs it; does nothing to one that has ended."""
        running = self._running.get(stored.key)
        if running is not None:
            running.stop()
        await anyio.to_thread.run_sync(stored.ask_to_stop)

    async def lines(self, stored: Stored, position: int) -> AsyncIterator[Line]:
        """The lines of an upload from that position on, as they come, and the last one at its end."""
        results = ResultLines(stored)
        await anyio.to_thread.run_sync(results.begin_at, position)
        while True:
            # Looked at before the lines: so none is missed that was written before the end.
            end = await anyio.to_thread.run_sync(lambda: stored.end)
            lines = await anyio.to_thread.run_sync(results.read)
            for line in lines:
                if line["position"] >= position:
                    yield line
            if lines:
                continue
            last = await anyio.to_thread.run_sync(_last_lines, results, end)
            for told in last:
                if told.get("position", position) >= position:
                    yield told
            if last:
                return
            await self._more_lines(stored)

    async def _more_lines(self, stored: Stored) -> None:
        running = self._running.get(stored.key)
        if running is not None:
            await running.changed(LOOK_EVERY)
        else:
            await asyncio.sleep(LOOK_EVERY)

    async def _begin(self, stored: Stored) -> None:
        """Runs an upload, unless somebody does."""
        if not self._may_run(stored):
            return
        lock = filelock.FileLock(stored.path / "lock", thread_local=False)
        if not await anyio.to_thread.run_sync(_taken, lock):
            return
        if not self._may_run(stored) or await anyio.to_thread.run_sync(_is_over, stored):
            lock.release()
            return

        def open_upload() -> Upload[Any]:
            resource = self._resources[stored.info.resource]
            return self._client.upload(resource, items_of(stored), journal=journal_of(stored))

        running = self._running[stored.key] = RunningUpload(stored, open_upload)
        task = asyncio.create_task(running.run(), name=f"quartile_async upload {stored.info.id}")
        self._tasks.add(task)
        task.add_done_callback(lambda task: self._done(stored.key, task, lock))
        if await anyio.to_thread.run_sync(lambda: stored.is_to_be_stopped):
            running.stop()

    def _may_run(self, stored: Stored) -> bool:
        known = stored.info.resource in self._resources
        # The others wait, here or for another process: each that runs keeps files open.
        has_room = len(self._running) < self._most_running
        return known and has_room and not self._is_closing and stored.key not in self._running

    def _done(self, key: str, task: asyncio.Task[None], lock: filelock.BaseFileLock) -> None:
        # Here, and not in the task: one that is cancelled before its first step would keep it.
        lock.release()
        self._tasks.discard(task)
        self._running.pop(key, None)
        self._look_now.set()  # somebody may wait for the room
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("An upload could not be written down. It will be gone on with.", exc_info=error)

    async def _look_after(self) -> None:
        """Stops what is to be stopped, and goes on with what nobody runs, for as long as the process lives."""
        loop = asyncio.get_running_loop()
        adopted_at = loop.time()
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_EVERY):
                    await self._look_now.wait()
            is_due = self._look_now.is_set() or loop.time() - adopted_at >= ADOPT_EVERY
            self._look_now.clear()
            try:
                for running in await anyio.to_thread.run_sync(_to_be_stopped, list(self._running.values())):
                    running.stop()
                if is_due:
                    adopted_at = loop.time()
                    await self._adopt()
            except Exception:
                logger.exception("The uploads cannot be looked after; it is tried again.")
                await asyncio.sleep(ADOPT_EVERY)

    async def _adopt(self) -> None:
        for stored in await anyio.to_thread.run_sync(self._folder.open_uploads):
            try:
                await self._begin(stored)
            except OSError:
                logger.exception("Upload %s cannot be gone on with; it is tried again.", stored.info.id)


def _last_lines(results: ResultLines, end: Mapping[str, Any] | None) -> list[Line]:
    """What comes after the results at this end; nothing where it is none, or is gone on with meanwhile."""
    stored = results.stored
    if _is_gone(stored):
        return [GONE | {"unaccounted": stored.info.items - results.position}]
    rest = results.rest(str(end.get("rest"))) if end is not None else None
    return [] if rest is None or end is None or stored.end != end else [*rest, end["last"]]


def _is_gone(stored: Stored) -> bool:
    try:
        stored.check_there()
    except GoneError:
        return True
    return False


GONE: dict[str, Any] = {
    "type": "error",
    "error": "GoneError",
    "message": "The upload was removed.",
    "retry_after": None,
}


def _can_go_on(stored: Stored) -> bool:
    """Whether an upload that had been there is to be gone on with; it is prepared for that."""
    end = stored.end
    if end is None:
        if stored.is_to_be_stopped:
            raise StoppingError
        return True
    if end["state"] == State.FINISHED and not end["last"].get("unknown"):
        return False
    stored.open_again()
    return True


def _is_over(stored: Stored) -> bool:
    return stored.end is not None


def _taken(lock: filelock.BaseFileLock) -> bool:
    try:
        lock.acquire(blocking=False)
    except filelock.Timeout:
        return False
    return True


def _to_be_stopped(running: Sequence[RunningUpload]) -> list[RunningUpload]:
    return [each for each in running if each.state is State.RUNNING and each.stored.is_to_be_stopped]


def _told_from_disk(stored: Stored) -> dict[str, Any]:
    end, progress = stored.end, dict(stored.progress)
    state = State(progress.pop("state", State.WAITING)) if end is None else State(end["state"])
    if state is State.RUNNING and stored.is_to_be_stopped:
        state = State.STOPPING
    return _told(stored, state, progress, None if end is None else end["last"])


def _told(stored: Stored, state: State, progress: Mapping[str, Any], last: Line | None) -> dict[str, Any]:
    info = stored.info
    return {
        "id": info.id,
        "state": state,
        "resource": info.resource,
        "items": info.items,
        "created": info.created,
        "progress": progress or None,
        "last": last,
    }
