"""The span of a batch, and those of its requests within it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from time import time_ns
from typing import Any

from opentelemetry import context, trace
from opentelemetry.util.types import AttributeValue

from .._api import FINISHED
from .._results import ItemResult, Outcome
from .attributes import Tally, of_counts, of_error, sums, tally_of
from .guard import harmless
from .late import Writer
from .metrics import Total
from .requests import Request, RequestTelemetry
from .spans import LateSpan, context_within

current: ContextVar[Batch | None] = ContextVar("quartile_async batch", default=None)
"""The batch that is under way in this task."""


_making = threading.RLock()


@dataclass(slots=True)
class BatchTelemetry:
    """What the batches of one upload share.

    Attributes:
        name: of their spans.
        parent: the context with the upload's span.
        labels: of the upload; attributes of all its spans and metrics.
        told: of the batch that had results last; the upload is told of the same, most often at once.
    """

    requests: RequestTelemetry
    writer: Writer
    name: str
    parent: context.Context
    labels: dict[str, AttributeValue]
    active: Total
    polls: Total
    told: Tally | None = None


class Batch(LateSpan):
    """A batch, as `BatchTrace`. Its task has nothing else to do, but for further batches of the same upload.

    Attributes:
        task: its own; None once it has ended.
        requests: those that are still to be written.
    """

    _span: trace.Span | None = None
    _status: str | None = None
    _batch_id: str | None = None
    _resent = _left = False
    _error: Exception | None = None
    _until: int | None = None

    def __init__(self, telemetry: BatchTelemetry, items: int, *, resumed: bool) -> None:
        self.task = asyncio.current_task()
        self.requests: list[Request] = []
        self._telemetry = telemetry
        self._items = items
        self._resumed = resumed
        self._counts: Mapping[str, int] = {}
        telemetry.active.value += 1
        telemetry.writer.begun(self)
        current.set(self)
        context.attach(context_within(self, telemetry.parent))
        self._since = time_ns()

    @property
    def labels(self) -> Mapping[str, AttributeValue]:
        """Of its upload."""
        return self._telemetry.labels

    @property
    def span(self) -> trace.Span:
        """The SDK's own; INVALID_SPAN where it fails to make one. Safe in any thread."""
        return self._made({})

    def results(self, results: Sequence[ItemResult[Any]], status: str | None = None, *, replayed: bool = False) -> None:
        told = tally_of(results, replayed=replayed)
        self._telemetry.told = told
        self._counts = sums(self._counts, told.counts)
        self._status = status or self._status

    def failed(self, error: Exception) -> None:
        self._error = error

    def ended(self, batch_id: str | None, *, resent: bool, error: BaseException | None = None) -> None:
        self._batch_id = batch_id
        self._resent = resent
        self._telemetry.active.value -= 1
        if error is not None:
            self._ended_by(error)
        self._until = time_ns()
        self.task = None  # which holds it by its context
        self._telemetry.writer.ended(self, 1 + len(self.requests))

    def _ended_by(self, error: BaseException) -> None:
        if isinstance(error, Exception):
            self._error = error
        else:
            self._left = True
        if (rest := self._items - sum(self._counts.values())) > 0:
            self._counts = sums(self._counts, {Outcome.UNKNOWN.value: rest})

    @harmless
    def write(self) -> None:
        """Writes the requests that have ended, and where the batch has ended, its span."""
        if self._until is None:
            if any(request.has_ended for request in self.requests):
                self._write_requests(self.span)
            return
        found = self._found()
        with _making:
            is_made = self._span is not None
            span = self._made(found)
        if is_made:
            span.set_attributes(found)
        if self._error is not None:
            span.set_status(trace.StatusCode.ERROR)
        self._write_requests(span)
        span.end(self._until)

    def _made(self, further: dict[str, AttributeValue]) -> trace.Span:
        with _making:
            if self._span is None:
                self._span = trace.INVALID_SPAN  # a processor may write a log record, and so ask for what is being made
                self._make(further)
            return self._span

    @harmless
    def _make(self, further: dict[str, AttributeValue]) -> None:
        telemetry = self._telemetry
        attributes: dict[str, AttributeValue] = {**telemetry.labels, "quartile.items": self._items, **further}
        if self._resumed:
            attributes["quartile.batch.resumed"] = True
        self._span = telemetry.requests.tracer.start_span(
            telemetry.name, telemetry.parent, attributes=attributes, start_time=self._since
        )

    def _found(self) -> dict[str, AttributeValue]:
        found = of_counts(self._counts)
        if self._status is not None:
            found["quartile.batch.status"] = self._status if self._status in FINISHED else "other"
        if self._batch_id is not None:
            found["quartile.batch.id"] = self._batch_id
        if self._resent:
            found["quartile.batch.resent"] = True
        if self._left:
            found["quartile.batch.left"] = True
        if self._error is not None:
            found |= of_error(self._error)
        return found

    def _write_requests(self, span: trace.Span) -> None:
        ended, self.requests = self.requests, []
        if self._until is None:
            self.requests = [request for request in ended if not request.has_ended]
            ended = [request for request in ended if request.has_ended]
        parent = context_within(span, self._telemetry.parent)
        for request in ended:
            if request.method == "GET":  # each asks for a batch
                self._telemetry.polls.value += 1
            request.write(self._telemetry.requests, parent)
