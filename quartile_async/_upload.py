"""An upload as its consumer sees it: results one by one, or all together, and what became of the rest."""

from __future__ import annotations

import asyncio
import contextlib
import time
import warnings
import weakref
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable, Iterator, Mapping, Sized
from dataclasses import replace
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

import pydantic

from ._errors import AlreadyStartedError, ConfigurationError
from ._resources import Resource
from ._results import ItemResult, Outcome, Progress, Summary, Tally
from ._supervisor import Supervisor, UploadTools
from ._unfinished import Results

T = TypeVar("T")


class Upload(Generic[T]):
    """Items on their way, and their results as batches end.

    Made by `QuartileClient.upload`; it starts when it is first iterated (or collected, or summed up), and only
    once. Use it in one of these ways:

        async for result in client.upload(MASTERLIST, items): ...

        async with client.upload(MASTERLIST, items) as upload:
            async for result in upload: ...

        results = await client.upload(MASTERLIST, items).collect()
        summary = await client.upload(MASTERLIST, items).summary()

    Iterating gives each item's `ItemResult` as soon as its batch's end is known, in no promised order. It raises:
        QuartileError: what ended the upload, after all results that were there; `unaccounted` on it has the rest.
        Exception: whatever the input raised, as it is, after what was in flight has been finished.
    """

    _warns = False

    def __init__(self, items: Iterable[Any] | AsyncIterable[Any], tools: UploadTools) -> None:
        self._supervisor = Supervisor(checked_items(items, tools.batch.resource), tools)
        self._length = len(items) if isinstance(items, Sized) else None
        self._counts = tools.batch.counts
        self._label = tools.batch.resource.path
        self._clock: Callable[[], float] = time.monotonic
        self._started_at: float | None = None
        self._ended_at: float | None = None
        self._done = dict.fromkeys(Outcome, 0)
        self._not_handed_over: Results = []
        self._iteration: weakref.ref[AsyncGenerator[ItemResult[T], None]] | None = None
        self._warns = True

    def __repr__(self) -> str:
        state = "not started" if self._started_at is None else "ended" if self._supervisor.ended else "running"
        return f"<Upload of {self._label}, {state}, {self._supervisor.intake.read} read, {self._total_done} done>"

    def __del__(self) -> None:
        if self._warns:
            warnings.warn(f"{self!r} was never started: nothing was read or sent.", RuntimeWarning, 2, source=self)

    def __aiter__(self) -> AsyncGenerator[ItemResult[T], None]:
        self._check_not_started()
        iteration = self._iterate()
        # Weak: after a `break` nothing but the loop may hold on to the generator, or it would not be finalised.
        self._iteration = weakref.ref(iteration)
        return iteration

    async def __aenter__(self) -> Self:
        self._warns = False
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Leaves the upload: sends no further request, and waits until nothing of it is left."""
        self._warns = False
        await self._supervisor.leave()
        if self._iteration is not None and (iteration := self._iteration()) is not None:
            # Where a `break` left it behind, the loop is closing it already: that takes one more turn.
            with contextlib.suppress(RuntimeError):
                await iteration.aclose()
            await asyncio.sleep(0)

    def stop(self) -> None:
        """Reads and submits no more; what is in flight is finished, and the iteration then ends normally."""
        self._supervisor.stop()

    async def collect(self) -> list[ItemResult[T]]:
        """Runs the upload to its end.

        Returns:
            All results, in input order.

        Raises:
            As the iteration does; the error's `results` are those that were there before it, in input order.
        """
        results: list[ItemResult[T]] = []
        try:
            async for result in self:
                results.append(result)  # noqa: PERF401  # what was there before an error must be kept
        except Exception as error:
            with contextlib.suppress(AttributeError):  # an error of the input's may not take attributes
                error.results = sorted(results, key=_by_index)  # type: ignore[attr-defined]  # for the same reason
            raise
        return sorted(results, key=_by_index)

    async def summary(self) -> Summary:
        """Runs the upload to its end, in memory that does not grow with the input.

        Raises:
            As the iteration does.
        """
        tally = Tally()
        async for result in self:
            tally.add((result,))
        return tally.summary(batches=self._counts.submitted, seconds=self._seconds)

    @property
    def progress(self) -> Progress:
        """Counts up to this moment."""
        seconds, done = self._seconds, self._total_done
        rate = done / seconds if seconds > 0 else 0.0
        return Progress(
            read=self._supervisor.intake.read,
            done=done,
            succeeded=self._done[Outcome.SUCCEEDED],
            failed=self._done[Outcome.FAILED],
            rejected=self._done[Outcome.REJECTED],
            unknown=self._done[Outcome.UNKNOWN],
            batches_submitted=self._counts.submitted,
            batches_finished=self._counts.finished,
            in_flight=self._supervisor.in_flight,
            rate=rate,
            time_left=max(0, self._length - done) / rate if self._length is not None and rate > 0 else None,
            foreign_rows=self._counts.foreign_rows,
        )

    @property
    def unaccounted(self) -> list[ItemResult[T]]:
        """An UNKNOWN result for each item that was read and whose result was not handed over, in input order.

        Empty while the upload runs, and after it has ended by its input's end. `batch_id` says where an item was
        submitted, `not_sent` that it was not. A result that was there but not handed over (after a `break`, for
        instance) stands here with the server's words in its message.
        """
        if not self._supervisor.ended:
            return []
        learned = [_not_handed_over(result) for result in (*self._not_handed_over, *self._supervisor.outbox.left)]
        return sorted(learned + self._supervisor.unaccounted, key=_by_index)

    @property
    def _total_done(self) -> int:
        return sum(self._done.values())

    @property
    def _seconds(self) -> float:
        if self._started_at is None:
            return 0.0
        return (self._clock() if self._ended_at is None else self._ended_at) - self._started_at

    def _check_not_started(self) -> None:
        if self._started_at is not None or self._supervisor.left:
            raise AlreadyStartedError(
                "This upload has been started or closed already. An upload is iterated once: "
                "open another one with client.upload(...)."
            )

    async def _iterate(self) -> AsyncGenerator[ItemResult[T], None]:
        self._check_not_started()
        self._warns = False
        self._clock = asyncio.get_running_loop().time
        self._started_at = self._clock()
        self._supervisor.start()
        handing_over: Iterator[ItemResult[T]] = iter(())
        try:
            while (delivery := await self._supervisor.outbox.take()) is not None:
                self._count(delivery.results, 1)
                handing_over = iter(delivery.results)
                for result in handing_over:
                    yield result
                self._supervisor.intake.delivered(delivery.parcel, len(delivery.results))
                del delivery  # it would be kept until the next batch ends
        finally:
            self._not_handed_over = list(handing_over)
            self._count(self._not_handed_over, -1)
            await self._supervisor.leave()
            self._ended_at = self._clock()
        self._raise_what_ended_it()

    def _count(self, results: Results, by: int) -> None:
        outcomes = [result.outcome for result in results]
        succeeded = outcomes.count(Outcome.SUCCEEDED)
        self._done[Outcome.SUCCEEDED] += by * succeeded
        if succeeded < len(outcomes):
            for outcome in (Outcome.FAILED, Outcome.REJECTED, Outcome.UNKNOWN):
                self._done[outcome] += by * outcomes.count(outcome)

    def _raise_what_ended_it(self) -> None:
        error = self._supervisor.error
        if error is None:
            return
        with contextlib.suppress(AttributeError):  # an error of the input's may not take attributes
            error.unaccounted = self.unaccounted  # type: ignore[attr-defined]  # for the same reason
        try:
            raise error
        finally:
            del error  # or its traceback would hold this frame, and the frame the error, until a garbage collection


OF_TABLES = ("__arrow_c_stream__", "__dataframe__", "iloc")
"""What tables of rows and columns have one of. Most of them are iterated by column name."""


def is_perhaps_a_table(items: Any) -> bool:
    """Whether it is worth asking; see `_frames.is_table`."""
    return any(hasattr(items, name) for name in OF_TABLES)


def checked_items(items: Any, resource: Resource[Any]) -> Any:
    """What can be read item by item.

    Raises:
        ConfigurationError: it is one item, a text, or cannot be iterated; or a table without a column that is needed.
    """
    if is_perhaps_a_table(items):
        from ._frames import is_table, opened_table  # when there may be one

        if is_table(items):
            return opened_table(items, resource)
    if isinstance(items, Mapping | str | bytes | pydantic.BaseModel):
        raise ConfigurationError(
            f"The items are a single {type(items).__name__}. Give an iterable, or an async iterable, of mappings "
            "or models."
        )
    if not isinstance(items, Iterable | AsyncIterable):
        raise ConfigurationError(
            f"The items are a {type(items).__name__}, which is neither an iterable nor an async iterable."
        )
    return items


def _by_index(result: ItemResult[Any]) -> int:
    return result.index


def _not_handed_over(result: ItemResult[Any]) -> ItemResult[Any]:
    if result.outcome is Outcome.UNKNOWN:
        return result
    words = f": {result.message}" if result.message else "."
    return replace(
        result,
        outcome=Outcome.UNKNOWN,
        message=f"The upload was left before this result was handed over: it had {result.outcome}{words}",
    )
