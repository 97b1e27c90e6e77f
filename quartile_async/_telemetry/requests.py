"""The span of an HTTP request: it is made after the end, since nothing is within it, and then all is known at once."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import Token
from http import HTTPStatus
from time import perf_counter, time_ns
from typing import NamedTuple

from opentelemetry import context, trace
from opentelemetry.context import _SUPPRESS_HTTP_INSTRUMENTATION_KEY as SUPPRESS_HTTP  # as instrumentations take it
from opentelemetry.util.types import AttributeValue

from .attributes import kind_beneath, place_of
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
    """An HTTP exchange that begins, as `RequestTrace`: one that a batch's own task makes, and that the batch writes."""

    # Many wait to be written: little is kept of each.
    __slots__ = ("_failure", "_path", "_resends", "_route", "_seconds", "_server", "_since", "_status", "method")

    def __init__(self, method: str, server: str, path: str, route: str, resends: int) -> None:
        self.method = method
        self._server = server
        self._path = path
        self._route = route
        self._resends = resends
        self._status: int | None = None
        self._failure: str | None = None
        self._since, self._seconds = time_ns(), -perf_counter()

    @property
    def has_ended(self) -> bool:
        return self._seconds >= 0

    def answered(self, status: int) -> None:
        self._seconds += perf_counter()
        self._status = status

    def failed(self, error: BaseException) -> None:
        self._seconds += perf_counter()
        self._failure = kind_beneath(error)

    @harmless
    def write(self, telemetry: RequestTelemetry, parent: context.Context) -> None:
        """Writes the span within the one that is current in that context."""
        place, status = place_of(self.method, self._server, self._route), self._status
        measured = place.attributes.copy()
        if status is not None:
            measured["http.response.status_code"] = int(status)
        failed = status is None or status >= FAILED
        if failed:
            measured["error.type"] = self._failure or str(status)
        attributes: dict[str, AttributeValue] = {**measured, "url.full": self._server + self._path}
        if self._resends:
            attributes["http.request.resend_count"] = self._resends
        span = telemetry.tracer.start_span(place.name, parent, CLIENT, attributes, start_time=self._since)
        if failed:
            span.set_status(trace.StatusCode.ERROR)
        span.end(self._since + int(self._seconds * 1e9))
        telemetry.instruments.request_duration.record(self._seconds, measured, NOWHERE)


class LoneRequest:
    """One that is made elsewhere, in whatever task: it is within what is current there, and is written at its end.

    Args:
        labels: of the upload that it may be a part of; for its metrics.
        silent: others see it too, an instrumentation of aiohttp: it would make another span of it, and add headers.
    """

    def __init__(
        self, telemetry: RequestTelemetry, labels: Mapping[str, AttributeValue], request: Request, *, silent: bool
    ) -> None:
        self._telemetry = telemetry
        self._labels = labels
        self._request = request
        self._here = context.get_current()
        self._token: Token[context.Context] | None = None
        if silent:
            self._token = context.attach(context.set_value(SUPPRESS_HTTP, True, self._here))

    def answered(self, status: int) -> None:
        self._request.answered(status)
        self._end()

    def failed(self, error: BaseException) -> None:
        self._request.failed(error)
        if isinstance(error, GeneratorExit):  # a coroutine that is thrown away is closed in whatever context
            self._token = None
        self._end()

    def _end(self) -> None:
        if self._token is not None:
            context.detach(self._token)
        if self._request.method == "GET":  # each asks for a batch
            self._telemetry.instruments.polls.add(self._labels, 1)
        self._request.write(self._telemetry, self._here)
