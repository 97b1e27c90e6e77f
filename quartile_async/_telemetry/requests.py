"""The span of an HTTP request."""

from __future__ import annotations

from contextvars import Token
from http import HTTPStatus
from time import perf_counter, time_ns
from typing import NamedTuple

from opentelemetry import context, trace
from opentelemetry.context import _SUPPRESS_HTTP_INSTRUMENTATION_KEY as SUPPRESS_HTTP  # as instrumentations take it
from opentelemetry.util.types import AttributeValue

from .attributes import Place, kind_beneath
from .batches import Batch, current
from .guard import harmless
from .metrics import NOWHERE, Instruments

CLIENT = trace.SpanKind.CLIENT
FAILED = int(HTTPStatus.BAD_REQUEST)
"""The least status that is an error."""


class RequestTelemetry(NamedTuple):
    """What all requests share."""

    tracer: trace.Tracer
    instruments: Instruments


class Request:
    """An HTTP exchange that begins, as `RequestTrace`, in whatever task: what was current there is put back.

    Its span is made after its end, since nothing is within it, and then all is known at once: that is cheaper.

    Args:
        watched: others see it too, an instrumentation of aiohttp: it would make another span of it, and add headers.
    """

    # Many wait to be written: little is kept of each.
    __slots__ = (
        "_batch",
        "_failure",
        "_here",
        "_path",
        "_place",
        "_resends",
        "_seconds",
        "_since",
        "_status",
        "_telemetry",
        "_token",
    )

    def __init__(self, telemetry: RequestTelemetry, place: Place, path: str, resends: int, *, watched: bool) -> None:
        self._telemetry = telemetry
        self._place = place
        self._path = path
        self._resends = resends
        self._status: int | None = None
        self._failure: str | None = None
        self._here = context.get_current()
        self._batch = current.get()
        self._token: Token[context.Context] | None = None
        if watched:
            self._token = context.attach(context.set_value(SUPPRESS_HTTP, True, self._here))
        self._since, self._seconds = time_ns(), -perf_counter()

    def answered(self, status: int) -> None:
        self._status = status
        self._end()

    def failed(self, error: BaseException) -> None:
        self._failure = kind_beneath(error)
        if isinstance(error, GeneratorExit):  # a coroutine that is thrown away is closed in whatever context
            self._token = None
        self._end()

    def _end(self) -> None:
        self._seconds += perf_counter()
        if self._token is not None:
            context.detach(self._token)
        here, batch = self._here, self._batch
        del self._here, self._batch, self._token  # or a batch would hold its requests, and they the batch
        if self._place.asks:
            self._count_poll(batch)
        if batch and batch.here is here:
            batch.requested(self)
        else:
            self.write(here)

    def _count_poll(self, batch: Batch | None) -> None:
        if batch is None:
            self._telemetry.instruments.polls.add({}, 1)
        else:
            batch.polls.value += 1

    @harmless
    def write(self, parent: context.Context) -> None:
        """Writes the span within the one that is current in that context."""
        tracer, instruments = self._telemetry
        place, status = self._place, self._status
        measured = place.attributes.copy()
        if status is not None:
            measured["http.response.status_code"] = int(status)
        failed = status is None or status >= FAILED
        if failed:
            measured["error.type"] = self._failure or str(status)
        attributes: dict[str, AttributeValue] = {**measured, "url.full": place.server + self._path}
        if self._resends:
            attributes["http.request.resend_count"] = self._resends
        span = tracer.start_span(place.name, parent, CLIENT, attributes, start_time=self._since)
        if failed:
            span.set_status(trace.StatusCode.ERROR)
        span.end(self._since + int(self._seconds * 1e9))
        instruments.request_duration.record(self._seconds, measured, NOWHERE)
