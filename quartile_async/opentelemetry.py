"""Traces and metrics by OpenTelemetry: `QuartileInstrumentor().instrument()`, once in a process.

There is a span for each upload, within it one for each batch, and within that one for each HTTP request. The upload's
parent is the span that was current where its iteration began, and the upload's own is current in what reads the input.
Clients made before and after are followed alike; an upload that runs already is not, and one that has begun is followed
to its end.

No span and no metric holds a secret, an item, or the words of an error, which may quote one: those are in the log. The
server is told nothing of the traces: no header is added to any request.

It needs the extra `opentelemetry`. Names of spans, attributes and metrics stand in the manual.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Collection, Iterable, Mapping
from contextvars import Token
from time import perf_counter, time_ns
from types import TracebackType
from typing import Any, ParamSpec, Self
from urllib.parse import urlsplit

from opentelemetry import context, metrics, trace
from opentelemetry.context import _SUPPRESS_HTTP_INSTRUMENTATION_KEY as SUPPRESS_HTTP  # as instrumentations take it
from opentelemetry.instrumentation.instrumentor import BaseInstrumentor  # type: ignore[attr-defined]  # mypy does not look in
from opentelemetry.util.types import AttributeValue

from . import __version__, _tracing
from ._api import FINISHED
from ._errors import APIError, TransportError
from ._results import ItemResult, Outcome
from ._traces import EndedBy, Wait

__all__ = ["QuartileInstrumentor"]

P = ParamSpec("P")

logger: logging.Logger = logging.getLogger("quartile_async")

SCHEMA = "https://opentelemetry.io/schemas/1.30.0"

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
"""Seconds; the conventions' own for `http.client.request.duration`."""

OUTCOMES = tuple((outcome, outcome.value) for outcome in Outcome)

BATCH = context.create_key("quartile_async batch")


class QuartileInstrumentor(BaseInstrumentor):  # type: ignore[misc]  # for the same reason
    """Follows all uploads, batches and requests of this process.

    `instrument(tracer_provider=..., meter_provider=...)`: without them the global providers are taken. Doing it twice
    does it once. `uninstrument()` ends it: what has begun is followed to its end. The command
    `opentelemetry-instrument` finds it by itself.
    """

    def instrumentation_dependencies(self) -> Collection[str]:
        """Nothing: it comes with what it instruments."""
        return ()

    def _instrument(self, **kwargs: Any) -> None:
        _tracing.active = _Telemetry(kwargs.get("tracer_provider"), kwargs.get("meter_provider"))

    def _uninstrument(self, **kwargs: Any) -> None:
        _tracing.active = None


def _harmless(method: Callable[P, None]) -> Callable[P, None]:
    """Logs what is raised, by a sampler or a processor of somebody's own, say: the work goes on."""

    @functools.wraps(method)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            method(*args, **kwargs)
        except Exception:
            logger.exception("A trace has failed; the work goes on.")

    return guarded


class _Telemetry:
    """The tracer and the instruments."""

    def __init__(self, tracers: trace.TracerProvider | None, meters: metrics.MeterProvider | None) -> None:
        self.tracer = trace.get_tracer("quartile_async", __version__, tracers, SCHEMA)
        meter = metrics.get_meter("quartile_async", __version__, meters, SCHEMA)
        self.items = meter.create_counter("quartile.items", "{item}", "Items that have a result, by outcome")
        self.active_batches = meter.create_up_down_counter("quartile.batches.active", "{batch}", "Batches in flight")
        self.polls = meter.create_counter("quartile.polls", "{poll}", "Requests that asked for a batch")
        self.throttled_time = meter.create_counter("quartile.throttled.time", "s", "Time for which the gate is closed")
        self.request_duration = meter.create_histogram(
            "http.client.request.duration",
            "s",
            "Duration of HTTP client requests.",
            explicit_bucket_boundaries_advisory=BUCKETS,
        )

    def upload(self, labels: Mapping[str, object], server: str) -> _Upload:
        return _Upload(self, labels, server)

    def request(self, method: str, server: str, path: str, route: str, resends: int) -> _Request:
        return _Request(self, method, server, path=path, route=route, resends=resends)

    def waiting(self, what: Wait) -> _Waiting:
        return _Waiting(what)

    @_harmless
    def throttled(self, seconds: float, reason: str) -> None:
        self.throttled_time.add(seconds, {"quartile.throttled.reason": reason})


class _Followed:
    """A span, from the beginning of a block to its end."""

    span: trace.Span = trace.INVALID_SPAN

    def __enter__(self) -> Self:
        self._begin()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._end(error)

    def _begin(self) -> None:
        raise NotImplementedError

    def _end(self, error: BaseException | None) -> None:
        raise NotImplementedError

    def _note(self, error: BaseException) -> None:
        """The kind of an error, without its words."""
        self.span.set_status(trace.StatusCode.ERROR)
        self.span.set_attribute("error.type", _kind_of(error))
        if isinstance(error, APIError) and error.status is not None:
            self.span.set_attribute("http.response.status_code", int(error.status))


class _Upload(_Followed):
    """An upload. It runs in a task of its own: what is made current there need not be put back."""

    def __init__(self, telemetry: _Telemetry, labels: Mapping[str, object], server: str) -> None:
        self.telemetry = telemetry
        self.resource = str(labels["resource"])
        self.labels = {f"quartile.{name}": str(value) for name, value in labels.items() if value is not None}
        self.context = context.get_current()
        self._server = server
        self._counts: dict[str, int] = {value: 0 for _, value in OUTCOMES}
        self._replayed = 0
        self._of_outcome = {value: self.labels | {"quartile.outcome": value} for _, value in OUTCOMES}

    @_harmless
    def _begin(self) -> None:
        address, port, _ = _place(self._server)
        attributes: dict[str, AttributeValue] = {**self.labels, "server.address": address, "server.port": port}
        self.span = self.telemetry.tracer.start_span(f"upload {self.resource}", attributes=attributes)
        self.context = trace.set_span_in_context(self.span)
        context.attach(self.context)

    @_harmless
    def _end(self, error: BaseException | None) -> None:
        self.span.end()

    def batch(self, items: int, *, resumed: bool) -> _Batch:
        return _Batch(self, items, resumed=resumed)

    @_harmless
    def results(self, results: Iterable[ItemResult[Any]]) -> None:
        fresh = [result for result in results if not result.replayed]
        self._replayed += sum(1 for result in results if result.replayed)
        for value, count in _counted(fresh).items():
            self._count(value, count)

    @_harmless
    def ended(self, by: EndedBy, *, read: int, batches: int, error: Exception | None) -> None:
        if (rest := read - self._replayed - sum(self._counts.values())) > 0:
            self._count(Outcome.UNKNOWN.value, rest)
        if self._replayed:
            self.span.set_attribute("quartile.items.replayed", self._replayed)
        self.span.set_attributes({f"quartile.items.{value}": count for value, count in self._counts.items()})
        self.span.set_attributes({"quartile.items": read, "quartile.batches": batches, "quartile.ended_by": by})
        if error is not None:
            self._note(error)

    def _count(self, value: str, count: int) -> None:
        self._counts[value] += count
        self.telemetry.items.add(count, self._of_outcome[value])


class _Batch(_Followed):
    """A batch. Its task, too, has nothing else to do, but for further batches of the same upload."""

    def __init__(self, upload: _Upload, items: int, *, resumed: bool) -> None:
        self.labels = upload.labels
        self._upload = upload
        self._items = items
        self._resumed = resumed
        self._counts: dict[str, int] = {value: 0 for _, value in OUTCOMES}

    @_harmless
    def _begin(self) -> None:
        upload = self._upload
        attributes: dict[str, AttributeValue] = {**self.labels, "quartile.items": self._items}
        if self._resumed:
            attributes["quartile.batch.resumed"] = True
        self.span = upload.telemetry.tracer.start_span(
            f"batch {upload.resource}", context=upload.context, attributes=attributes
        )
        context.attach(context.set_value(BATCH, self, trace.set_span_in_context(self.span, upload.context)))
        upload.telemetry.active_batches.add(1, self.labels)

    @_harmless
    def results(self, results: Iterable[ItemResult[Any]], status: str | None = None) -> None:
        for value, count in _counted(results).items():
            self._counts[value] += count
        if status is not None:
            self.span.set_attribute("quartile.batch.status", status if status in FINISHED else "other")

    @_harmless
    def failed(self, error: Exception) -> None:
        self._note(error)

    @_harmless
    def known_as(self, batch_id: str | None, *, resent: bool) -> None:
        if batch_id is not None:
            self.span.set_attribute("quartile.batch.id", batch_id)
        if resent:
            self.span.set_attribute("quartile.batch.resent", True)

    @_harmless
    def _end(self, error: BaseException | None) -> None:
        self._upload.telemetry.active_batches.add(-1, self.labels)
        if isinstance(error, Exception):
            self._note(error)
        elif error is not None:
            self.span.set_attribute("quartile.batch.left", True)
        if error is not None:
            self._counts[Outcome.UNKNOWN.value] += self._items - sum(self._counts.values())
        self.span.set_attributes({f"quartile.items.{value}": count for value, count in self._counts.items()})
        self.span.end()


class _Request(_Followed):
    """An HTTP exchange, in whatever task it is made: what was current there is put back."""

    _token: Token[context.Context] | None = None

    def __init__(self, telemetry: _Telemetry, method: str, server: str, *, path: str, route: str, resends: int) -> None:
        address, port, before = _place(server)
        self._telemetry = telemetry
        self._url = server + path
        self._resends = resends
        self._begun = perf_counter()
        self._attributes: dict[str, str | int] = {
            "http.request.method": method,
            "server.address": address,
            "server.port": port,
            "url.template": before + route,
        }

    @_harmless
    def _begin(self) -> None:
        attributes = {**self._attributes, "url.full": self._url}
        if self._resends:
            attributes["http.request.resend_count"] = self._resends
        self.span = self._telemetry.tracer.start_span(
            f"{attributes['http.request.method']} {attributes['url.template']}",
            kind=trace.SpanKind.CLIENT,
            attributes=attributes,
        )
        # Else an instrumentation of aiohttp would make another span of it, and add headers.
        current = context.set_value(SUPPRESS_HTTP, True, trace.set_span_in_context(self.span))
        self._token = context.attach(current)

    @_harmless
    def answered(self, status: int) -> None:
        found: dict[str, str | int] = {"http.response.status_code": int(status)}
        if status >= 400:
            found["error.type"] = str(int(status))
            self.span.set_status(trace.StatusCode.ERROR)
        self.span.set_attributes(found)
        self._attributes |= found

    @_harmless
    def _end(self, error: BaseException | None) -> None:
        try:
            if error is not None:
                beneath = error.__cause__ if isinstance(error, TransportError) else None
                self._note(beneath or error)
                self._attributes["error.type"] = _kind_of(beneath or error)
            self._measure()
        finally:
            # A coroutine that is thrown away is closed in whatever context that happens.
            if self._token is not None and not isinstance(error, GeneratorExit):
                context.detach(self._token)
            self.span.end()

    def _measure(self) -> None:
        self._telemetry.request_duration.record(perf_counter() - self._begun, self._attributes)
        if self._attributes["http.request.method"] == "GET":
            batch = context.get_value(BATCH)
            self._telemetry.polls.add(1, batch.labels if isinstance(batch, _Batch) else None)


class _Waiting(_Followed):
    """A wait, told as an event of the batch that waits, where there is one: `client.submit`, for instance, has none."""

    def __init__(self, what: Wait) -> None:
        self._what = what
        self._since, self._begun = time_ns(), perf_counter()

    @_harmless
    def _begin(self) -> None:
        if isinstance(batch := context.get_value(BATCH), _Batch) and batch.span.is_recording():
            self.span = batch.span

    @_harmless
    def _end(self, error: BaseException | None) -> None:
        if self.span.is_recording():  # a token may be fetched for longer than the batch lasts that needed it first
            seconds = {"quartile.wait.seconds": perf_counter() - self._begun}
            self.span.add_event(f"quartile.{self._what}", seconds, self._since)


def _counted(results: Iterable[ItemResult[Any]]) -> dict[str, int]:
    """How many there are of each outcome that there is."""
    outcomes = [result.outcome for result in results]
    return {value: count for outcome, value in OUTCOMES if (count := outcomes.count(outcome))}


@functools.lru_cache(maxsize=64)
def _place(server: str) -> tuple[str, int, str]:
    """A base URL's host, port and path."""
    url = urlsplit(server)
    return url.hostname or "", url.port or (443 if url.scheme == "https" else 80), url.path


def _kind_of(error: BaseException) -> str:
    """The error's class, or the public one that it is a case of."""
    kind = next(kind for kind in type(error).__mro__ if not kind.__module__.startswith("quartile_async._"))
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
