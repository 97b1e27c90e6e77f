"""The one task that an upload runs in: it owns the task groups, so that no generator and no client has to."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterable, Callable, Coroutine, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import anyio

from . import _tracing
from ._again import Again
from ._batch import BatchRun, BatchTools
from ._errors import QuartileError
from ._intake import Intake, ReadyChunk
from ._outbox import Outbox
from ._pacing import Slots
from ._unfinished import Results

if TYPE_CHECKING:
    from ._traces import EndedBy, Tracer, UploadTrace


@dataclass(slots=True, frozen=True)
class UploadTools:
    """What an upload needs of its client.

    Attributes:
        batch: what its batches share.
        slots: the client's.
        linger: seconds after which a chunk leaves although it is not full.
        spawn: starts a task that the client knows of.
        again: keeps failed items until they are sent again; None: none is.
    """

    batch: BatchTools
    slots: Slots
    linger: float
    spawn: Callable[[Supervisor, Coroutine[Any, Any, None]], asyncio.Task[None]]
    again: Again | None = None


class Supervisor:
    """Runs one upload: reads, starts a batch as soon as there is a slot, and hands results to the outbox."""

    def __init__(self, items: Iterable[Any] | AsyncIterable[Any], tools: UploadTools) -> None:
        self._tools = tools
        self._wake = asyncio.Event()
        self.outbox = Outbox()
        self.intake = Intake(
            items,
            tools.batch.resource,
            order=tools.batch.order,
            recorder=tools.batch.recorder,
            max_in_flight=tools.slots.limit,
            linger=tools.linger,
            in_line=lambda: tools.slots.in_line,
            hand_over=self.outbox.put,
            wake=self._wake.set,
            may_read=tools.batch.api.traffic.outage.over,
            again=tools.again,
        )
        if tools.again is not None:
            tools.again.on_failure = self._input_failed
        self._recorder = tools.batch.recorder
        self._recorder.on_failure = self.fail
        self._runs: dict[BatchRun, asyncio.Task[None] | None] = {}
        """Those that have not ended well; None: one that is just being started."""
        self._in_flight: dict[object, ReadyChunk] = {}
        self._task: asyncio.Task[None] | None = None
        self._opening: anyio.CancelScope | None = None
        self._feeding: anyio.CancelScope | None = None
        self._trace: UploadTrace | None = None
        self._stopped = False
        self.left = False
        self.error: Exception | None = None
        """What ended the upload, other than its input's end."""

    @property
    def in_flight(self) -> int:
        """Batches being submitted or polled."""
        return len(self._in_flight)

    @property
    def ended(self) -> bool:
        return self._task is not None and self._task.done()

    @property
    def unaccounted(self) -> Results:
        """A result for each item that was read and has none in the outbox; complete once this has ended."""
        return [result for run in self._runs for result in run.unaccounted] + self.intake.unaccounted

    def start(self) -> None:
        tracer = _tracing.active
        self._task = self._tools.spawn(self, self._run() if tracer is None else self._run_traced(tracer))

    def stop(self) -> None:
        """Reads and submits no more; what is in flight is finished."""
        self._stopped = True
        if self._feeding is not None:
            self._feeding.cancel()

    def fail(self, error: Exception) -> None:
        """Ends at once, by an error; the first one counts."""
        if not self.ended and not self.left:
            self.error = self.error or error
            self._cancel()

    async def leave(self) -> None:
        """Ends at once, and waits until nothing is left of it."""
        self.left = True
        if self._task is None:
            return
        self._cancel()
        if not self._task.done():
            # Shielded: whoever leaves because of a cancellation still waits for the end.
            with anyio.CancelScope(shield=True):
                await asyncio.wait([self._task])

    def _cancel(self) -> None:
        self._stopped = True
        for scope in (self._opening, self._feeding):
            if scope is not None:
                scope.cancel()
        for run, task in self._runs.items():
            if task is not None:
                run.leave(task)

    async def _run_traced(self, tracer: Tracer) -> None:
        """The same as `_run`, followed by a tracer."""
        batch = self._tools.batch
        with tracer.upload(batch.labels, batch.api.server) as trace:
            self._trace = self.outbox.trace = trace
            try:
                await self._run()
            finally:
                read, batches = self.intake.read, batch.counts.submitted
                trace.ended(self._ended_by(), read=read, batches=batches, error=self.error)

    def _ended_by(self) -> EndedBy:
        if self.error is not None:
            return "error"
        if self.left:
            return "left"
        return "stop" if self._stopped else "input" if self.intake.exhausted else "left"

    async def _run(self) -> None:
        try:
            # asyncio's own group: one of anyio costs a batch four times as much. What may end early is told so by
            # name (`BatchRun.leave`); a group that is cancelled as a whole could not wait for a submit on the wire.
            async with asyncio.TaskGroup() as batches:
                if not self._stopped and await self._open_journal() and not self._stopped:
                    await self._feed(batches)
        finally:
            for borrower in list(self._in_flight):  # of what was cancelled before it had begun
                self._settle(borrower)
            self.intake.forget_waiting()
            with anyio.CancelScope(shield=True):
                await self._close_journal()
            self.outbox.close()

    async def _open_journal(self) -> bool:
        try:
            with anyio.CancelScope() as self._opening:
                await self._recorder.open()
                return True
        except Exception as error:  # noqa: BLE001  # also of a journal of somebody's own
            self.error = error
        return False

    async def _close_journal(self) -> None:
        whole = self.intake.exhausted and not self._runs and self.error is None
        try:
            await self._recorder.close(whole=whole)
        except Exception as error:  # noqa: BLE001  # also of a journal of somebody's own
            self.error = self.error or error

    async def _feed(self, batches: asyncio.TaskGroup) -> None:
        with anyio.CancelScope() as self._feeding:
            async with anyio.create_task_group() as reading:
                reading.start_soon(self._read, name="quartile_async reader")
                await self._dispatch(batches)

    async def _read(self) -> None:
        try:
            await self.intake.read_all()
        except Exception as error:  # noqa: BLE001  # it is the input's own, and reaches the consumer as it is
            self._input_failed(error)
        except asyncio.CancelledError:
            if not self._stopped:
                self._input_failed(QuartileError("The input's own iteration was cancelled; it cannot be read on."))
            raise

    def _input_failed(self, error: Exception) -> None:
        self.error = self.error or error
        self.stop()

    async def _dispatch(self, batches: asyncio.TaskGroup) -> None:
        """Starts batches until the input is used up: one task for a chunk, and only once it has a slot."""
        while not self._stopped and not self._has_sent_all():
            self._wake.clear()
            if not self.intake.has_ready():
                await self._wake.wait()
                continue
            borrower = object()
            if not await self._has_slot(borrower):
                return
            ready = self._take_ready()
            if ready is None:
                self._tools.slots.give_back(borrower)
                continue
            run = BatchRun(
                ready.chunk,
                self._tools.batch,
                deliver=functools.partial(self._deliver, ready),
                settled=functools.partial(self._settle, borrower),
                traces=self._trace,
                send_again=None if self._tools.again is None else functools.partial(self.intake.send_again, ready),
            )
            self._in_flight[borrower] = ready
            self._runs[run] = None
            task = batches.create_task(self._run_batch(run, borrower), name="quartile_async batch")
            if run in self._runs:  # where tasks are eager, it may have ended already
                self._runs[run] = task

    def _has_sent_all(self) -> bool:
        # While a batch is under way, some of its items may fail and be sent again.
        return self.intake.exhausted and (self._tools.again is None or not self._runs)

    async def _has_slot(self, borrower: object) -> bool:
        try:
            await self._tools.slots.take(borrower)
        except QuartileError as error:  # the quota that it is one of cannot be asked
            self.fail(error)
            return False
        return True

    def _take_ready(self) -> ReadyChunk | None:
        try:
            return None if self._stopped else self.intake.take_ready()
        except Exception as error:  # noqa: BLE001  # checking items runs the user's own validators
            self.fail(error)
            return None

    async def _run_batch(self, run: BatchRun, borrower: object) -> None:
        try:
            await run.run()
            del self._runs[run]
        except Exception as error:  # noqa: BLE001  # whatever it is, it ends this upload and reaches its consumer
            self.fail(error)
        finally:
            self._settle(borrower)
            if self._tools.again is not None:
                self._wake.set()

    def _settle(self, borrower: object) -> None:
        """Makes way for the next batch, and for newer writes of its keys."""
        if (ready := self._in_flight.pop(borrower, None)) is not None:
            self._tools.slots.give_back(borrower)
            self._tools.batch.order.leave(ready.ticket)

    def _deliver(self, ready: ReadyChunk, results: Results) -> None:
        self.outbox.put(results, ready.parcel)
