"""A wait, told as an event."""

from __future__ import annotations

from time import perf_counter, time_ns
from types import TracebackType

from .._traces import Wait
from .batches import Batch, current
from .guard import harmless


class Waiting:
    """A wait, as an event of the batch that waits, where there is one: `client.submit`, for instance, has none."""

    def __init__(self, what: Wait) -> None:
        self._what = what

    def __enter__(self) -> None:
        self._batch: Batch | None = current.get()
        self._since, self._begun = time_ns(), perf_counter()

    @harmless
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # A token may be fetched for longer than the batch lasts that needed it first.
        if self._batch is not None and self._batch.span.is_recording():
            seconds = {"quartile.wait.seconds": perf_counter() - self._begun}
            self._batch.span.add_event(f"quartile.{self._what}", seconds, self._since)
