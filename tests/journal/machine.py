"""A machine that dies at a chosen moment, and another one that goes on with what is on its disk; in virtual time."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

from quartile_async import ItemResult, QuartileClient, Resource, Upload
from quartile_async._answers import Answer
from quartile_async._journal import Record
from quartile_async._journal_sqlite import JournalFile
from quartile_async.emulator import Emulator, Request

from ..simulation.virtual import Exchange, VirtualHttp

NAME = "catalogue.journal"

COMMIT = 0.002
"""Seconds until a record is durable."""


class Death:
    """Counts what happens on a machine, and ends it after so many things; None: it lives."""

    def __init__(self, after: int | None, disk: Path, snapshot: Path) -> None:
        self._after = after
        self._disk = disk
        self._snapshot = snapshot
        self.history: list[str] = []
        self.happened = asyncio.Event()

    def note(self, what: str) -> None:
        """Something has happened: a record is durable, a request has arrived, an answer has come."""
        if self.happened.is_set():
            return
        self.history.append(what)
        if len(self.history) == self._after:
            shutil.copytree(self._disk, self._snapshot)
            self.happened.set()

    async def check(self) -> None:
        """Nothing goes on after death."""
        if self.happened.is_set():
            await asyncio.Event().wait()


class Wire:
    """The way to the server: what arrives there while the machine lives is noted."""

    def __init__(self, emulator: Emulator, death: Death) -> None:
        self._emulator = emulator
        self._death = death
        self.finish = emulator.finish

    def receive(self, request: Request) -> Any:
        exchange = self._emulator.receive(request)
        self._death.note(f"{request.method} arrived")
        return exchange


class MortalHttp(VirtualHttp):
    """Requests arrive and are answered while the machine lives; the server goes on without it."""

    death: Death

    async def _served(self, seen: Exchange, request: Request) -> Answer:
        await self.death.check()
        answer = await super()._served(seen, request)
        await self.death.check()
        self.death.note(f"{request.method} answered")
        await self.death.check()
        return answer


class MortalThread:
    """Stands in for the journal's thread: a record is durable a moment after it is written, and none after death."""

    death: Death

    def __init__(self, file: JournalFile) -> None:
        self.file = file
        self._waiting: list[tuple[Sequence[Record], asyncio.Future[Any]]] = []

    def start(self) -> None: ...

    def end(self) -> None:
        self.file.let_go()

    def ask(self, call: Callable[[], object]) -> asyncio.Future[Any]:
        while self._waiting:
            self._append()
        if self.death.happened.is_set():
            return _done(None)
        try:
            return _done(call())
        except Exception as error:  # noqa: BLE001  # whatever it is, the one who asked is told
            return _done(error)

    def write(self, records: Sequence[Record]) -> asyncio.Future[Any]:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        self._waiting.append((records, future))
        loop.call_later(COMMIT, self._append)
        return future

    def _append(self) -> None:
        if not self._waiting:
            return
        records, future = self._waiting.pop(0)
        if self.death.happened.is_set():
            return
        self.file.append(records)
        self.death.note(f"wrote {', '.join(type(record).__name__ for record in records)}")
        if not self.death.happened.is_set() and not future.done():
            future.set_result(None)


def _done(result: object) -> asyncio.Future[Any]:
    future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    if isinstance(result, Exception):
        future.set_exception(result)
    else:
        future.set_result(result)
    return future


@dataclass
class Run:
    """One run of an upload, to its end or to its machine's."""

    results: list[ItemResult[Any]] = field(default_factory=list)
    unaccounted: list[ItemResult[Any]] = field(default_factory=list)
    error: BaseException | None = None
    died: bool = False
    history: list[str] = field(default_factory=list)
    requests: list[Exchange] = field(default_factory=list)
    disk: Path = Path()


@dataclass
class Ordeal:
    """An upload that is begun and gone on with on one machine after the other, against one server.

    Attributes:
        pace: seconds between two items of the input; None: the input is there at once.
        faulty: whether the server has faults.
        retry: the upload's.
    """

    emulator: Emulator
    resource: Resource[Any]
    items: list[Any]
    folder: Path
    settings: dict[str, Any] = field(default_factory=dict)
    pace: float | None = None
    faulty: bool = False
    retry: Callable[[ItemResult[Any]], bool | float | None] | None = None
    runs: list[Run] = field(default_factory=list)

    async def run(self, *, dies_after: int | None = None, items: list[Any] | None = None) -> Run:
        """Starts, or goes on with what the last machine left on its disk."""
        number = len(self.runs)
        disk = self.runs[-1].disk if self.runs else self.folder / "0"
        disk.mkdir(exist_ok=True)
        death = Death(dies_after, disk, self.folder / f"{number + 1}")
        run = Run(history=death.history)
        self.runs.append(run)
        client = self._client(death, run)
        with mock.patch("quartile_async._journal_thread._Thread", _thread_of(death)):
            source = self._source(self.items if items is None else items)
            upload = client.upload(self.resource, source, journal=disk / NAME, retry=self.retry)
            reading = asyncio.ensure_future(_read(upload, run, death))
            dying = asyncio.ensure_future(death.happened.wait())
            await asyncio.wait([reading, dying], return_when=asyncio.FIRST_COMPLETED)
            run.died = death.happened.is_set()
            dying.cancel()
            reading.cancel()
            await asyncio.gather(reading, dying, return_exceptions=True)
            await client.aclose()
        run.unaccounted = upload.unaccounted
        run.disk = self.folder / f"{number + 1}" if run.died else disk
        return run

    def _source(self, items: list[Any]) -> Any:
        if self.pace is None:
            return items

        async def slowly() -> AsyncIterator[Any]:
            for item in items:
                await asyncio.sleep(self.pace or 0.0)
                yield item

        return slowly()

    def _client(self, death: Death, run: Run) -> QuartileClient:
        settings = {"request_timeout": 30.0, **self.settings}
        client = QuartileClient(
            subscription_key=self.emulator.subscription_key,
            auth=self.emulator.issue_token(lifetime=1e9),
            base_url="http://127.0.0.1:1",
            **settings,
        )
        headers = {"Subscription-Key": self.emulator.subscription_key, "Content-Type": "application/json"}
        http = MortalHttp(Wire(self.emulator, death), settings["request_timeout"], headers, seen=run.requests)  # type: ignore[arg-type]  # a stand-in
        http.death = death
        client._transport._http = client._http = http  # type: ignore[assignment]  # a stand-in
        return client


def _thread_of(death: Death) -> type[MortalThread]:
    return type("Thread", (MortalThread,), {"death": death})


async def _read(upload: Upload[Any], run: Run, death: Death) -> None:
    try:
        async with upload:
            async for result in upload:
                if not run.results or run.results[-1].batch_id != result.batch_id:
                    death.note("told")
                    await death.check()
                run.results.append(result)
    except asyncio.CancelledError:
        raise
    except Exception as error:  # noqa: BLE001  # what ended the upload
        run.error = error
