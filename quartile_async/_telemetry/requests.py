"""The span of an HTTP request."""

from __future__ import annotations

from contextvars import Token
from http import HTTPStatus
from time import perf_counter, time_ns
from types import TracebackType
from typing import Self

from opentelemetry import context, trace
from opentelemetry.context import _SUPPRESS_HTTP_INSTRUMENTATION_KEY as SUPPRESS_HTTP  # as instrumentations take it
from opentelemetry.util.types import AttributeValue

from .attributes import kind_beneath, place_of
from .batches import current
from .guard import harmless
from .metrics import NOWHERE, Instruments

CLIENT = trace.SpanKind.CLIENT
FAILED = int(HTTPStatus.BAD_REQUEST)
"""The least status that is an error."""


class Request:
    """An HTTP exchange, as `RequestTrace`, in whatever task it is made: what was current there is put back.

    Its span is made after its end, since nothing is within it, and then all is known at once: that is cheaper.

    Args:
        target: method, base URL and route, as `place_of` takes them.
    """

    __slots__ = (
        "_batch",
        "_begun",
        "_failure",
        "_here",
        "_instruments",
        "_path",
        "_resends",
        "_seconds",
        "_since",
        "_status",
        "_target",
        "_token",
        "_tracer",
    )

    def __init__(
        self,
        tracer: trace.Tracer,
        instruments: Instruments,
        target: tuple[str, str, str],
        path: str,
        resends: int,
    ) -> None:
        self._tracer = tracer
        self._instruments = instruments
        self._target = target
        self._path = path
        self._resends = resends
        self._status: int | None = None
        self._failure: str | None = None

    def __enter__(self) -> Self:
        self._here = here = context.get_current()
        self._batch = batch = current.get()
        # Else an instrumentation of aiohttp would make another span of it, and add headers.
        silent = batch.silent if batch and batch.here is here else context.set_value(SUPPRESS_HTTP, True, here)
        self._token: Token[context.Context] = context.attach(silent)
        self._since, self._begun = time_ns(), perf_counter()
        return self

    def answered(self, status: int) -> None:
        self._status = status

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._seconds = perf_counter() - self._begun
        if error is not None:
            self._failure = kind_beneath(error)
        # A coroutine that is thrown away is closed in whatever context that happens.
        if not isinstance(error, GeneratorExit):
            context.detach(self._token)
        here, batch = self._here, self._batch
        del self._here, self._batch, self._token  # or a batch would hold its requests, and they the batch
        if self._target[0] == "GET":  # each asks for a batch
            (batch.polls if batch else self._instruments.polls.of({})).add(1)
        if batch and batch.here is here:
            batch.requested(self)
        else:
            self.write(here)

    @harmless
    def write(self, parent: context.Context) -> None:
        """Writes the span within the one that is current in that context."""
        place, status = place_of(*self._target), self._status
        measured = place.attributes.copy()
        if status is not None:
            measured["http.response.status_code"] = int(status)
        failed = status is None or status >= FAILED
        if failed:
            measured["error.type"] = self._failure or str(status)
        attributes: dict[str, AttributeValue] = {**measured, "url.full": place.server + self._path}
        if self._resends:
            attributes["http.request.resend_count"] = self._resends
        span = self._tracer.start_span(place.name, parent, CLIENT, attributes, start_time=self._since)
        if failed:
            span.set_status(trace.StatusCode.ERROR)
        span.end(self._since + int(self._seconds * 1e9))
        self._instruments.request_duration.record(self._seconds, measured, NOWHERE)
