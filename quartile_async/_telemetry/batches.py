"""The span of a batch, and those of its requests within it."""

from __future__ import annotations

from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from time import time_ns
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from opentelemetry import context, trace
from opentelemetry.context import _SUPPRESS_HTTP_INSTRUMENTATION_KEY as SUPPRESS_HTTP  # as instrumentations take it
from opentelemetry.util.types import AttributeValue

from .._api import FINISHED
from .._results import ItemResult, Outcome
from .attributes import Tally, add, of_counts, of_error, tally
from .guard import harmless
from .late import MANY, LateSpan, Writer
from .metrics import Total

if TYPE_CHECKING:
    from .requests import Request

current: ContextVar[Batch | None] = ContextVar("quartile_async batch", default=None)
"""The batch that is under way in this task."""


@dataclass(slots=True, frozen=True)
class BatchTelemetry:
    """What the batches of one upload share.

    Attributes:
        name: of their spans.
        parent: the context with the upload's span.
        labels: of the upload; attributes of all its spans and metrics.
        counted: of the batch that ended last; the upload is told of the same results, most often at once.
    """

    tracer: trace.Tracer
    writer: Writer
    name: str
    parent: context.Context
    labels: dict[str, AttributeValue]
    active: Total
    polls: Total
    counted: list[Tally]


class Batch:
    """A batch, as `BatchTrace`. Its task has nothing else to do, but for further batches of the same upload.

    Attributes:
        span: current in the batch's task.
        here: the context that is current there, if nobody has put another over it.
        silent: the same, for requests: instrumentations of HTTP clients make no span there.
        polls: where its polls are counted.
    """

    def __init__(self, telemetry: BatchTelemetry, items: int, *, resumed: bool) -> None:
        self.polls = telemetry.polls
        self._requests: list[Request] = []
        self._telemetry = telemetry
        self._items = items
        self._resumed = resumed
        self._counts: dict[str, int] = {}
        self._found: dict[str, AttributeValue] = {}
        self._error: BaseException | None = None
        self._until: int | None = None

    def __enter__(self) -> Self:
        telemetry = self._telemetry
        telemetry.active.add(1)
        telemetry.writer.begun(self)
        attributes: dict[str, AttributeValue] = {**telemetry.labels, "quartile.items": self._items}
        if self._resumed:
            attributes["quartile.batch.resumed"] = True
        self.span = LateSpan(telemetry.tracer, telemetry.name, telemetry.parent, attributes)
        self.here = trace.set_span_in_context(self.span, telemetry.parent)
        self.silent = context.set_value(SUPPRESS_HTTP, True, self.here)
        current.set(self)
        context.attach(self.here)
        return self

    def requested(self, request: Request) -> None:
        """A request has ended: one of the batch, or one for a token that outlasted the batch which needed it first."""
        self._requests.append(request)
        if self._until is not None or len(self._requests) >= MANY:
            self._write_requests(self.span.made)
        else:
            self._telemetry.writer.soon()

    def results(self, results: Sequence[ItemResult[Any]], status: str | None = None) -> None:
        told = tally(results)
        self._telemetry.counted[:] = [told]
        add(self._counts, told.counts)
        if status is not None:
            self._found["quartile.batch.status"] = status if status in FINISHED else "other"

    def failed(self, error: Exception) -> None:
        self._error = error

    def known_as(self, batch_id: str | None, *, resent: bool) -> None:
        if batch_id is not None:
            self._found["quartile.batch.id"] = batch_id
        if resent:
            self._found["quartile.batch.resent"] = True

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._telemetry.active.add(-1)
        if isinstance(error, Exception):
            self._error = error
        elif error is not None:
            self._found["quartile.batch.left"] = True
        if error is not None and (rest := self._items - sum(self._counts.values())) > 0:
            add(self._counts, {Outcome.UNKNOWN.value: rest})
        self._until = time_ns()
        self._telemetry.writer.ended(self)

    @harmless
    def write(self) -> None:
        """Writes the requests that have ended, and where the batch has ended, its span."""
        if self._until is None:
            if self._requests:
                self._write_requests(self.span.made)
            return
        found = of_counts(self._counts) | self._found
        if self._error is not None:
            found |= of_error(self._error)
        span = self.span.write(found)
        if self._error is not None:
            span.set_status(trace.StatusCode.ERROR)
        self._write_requests(span)
        span.end(self._until)

    def _write_requests(self, span: trace.Span) -> None:
        requests, self._requests = self._requests, []
        parent = trace.set_span_in_context(span, self._telemetry.parent)
        for request in requests:
            request.write(parent)
