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
import threading
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from contextvars import Token
from http import HTTPStatus
from time import perf_counter, time_ns
from types import TracebackType
from typing import Any, NamedTuple, ParamSpec, Self
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
SUCCEEDED = Outcome.SUCCEEDED.value

NOWHERE = context.Context({"quartile_async": "no span"})
"""For measurements without an exemplar, which costs as much as a measurement."""

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
        meters = kwargs.get("meter_provider")
        key = metrics if meters is None else meters  # the global one may be set later
        if (instruments := _made.get(key)) is None:  # else they would be there twice: a meter forgets nothing
            instruments = _made[key] = _Instruments(meters)
        _tracing.active = _Telemetry(kwargs.get("tracer_provider"), instruments)

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


class _Total:
    """A sum for one set of attributes."""

    def __init__(self, attributes: Mapping[str, AttributeValue], lock: threading.Lock) -> None:
        self.attributes = attributes
        self.value = 0
        self._lock = lock

    def add(self, count: int) -> None:
        with self._lock:
            self.value += count


class _Totals:
    """Sums that are asked for when metrics are read: adding to one is much cheaper than measuring."""

    def __init__(self) -> None:
        self._totals: dict[frozenset[tuple[str, AttributeValue]], _Total] = {}
        self._lock = threading.Lock()

    def of(self, attributes: Mapping[str, AttributeValue]) -> _Total:
        return self._totals.setdefault(frozenset(attributes.items()), _Total(attributes, self._lock))

    def __call__(self, options: metrics.CallbackOptions) -> list[metrics.Observation]:
        return [metrics.Observation(total.value, total.attributes) for total in list(self._totals.values())]


class _Instruments:
    """The instruments, of one provider; None: the global one."""

    def __init__(self, provider: metrics.MeterProvider | None) -> None:
        meter = metrics.get_meter("quartile_async", __version__, provider, SCHEMA)
        self.items, self.active_batches, self.polls = _Totals(), _Totals(), _Totals()
        meter.create_observable_counter(
            "quartile.items", [self.items], "{item}", "Items that have a result, by outcome"
        )
        meter.create_observable_up_down_counter(
            "quartile.batches.active", [self.active_batches], "{batch}", "Batches in flight"
        )
        meter.create_observable_counter("quartile.polls", [self.polls], "{poll}", "Requests that asked for a batch")
        self.throttled_time = meter.create_counter("quartile.throttled.time", "s", "Time for which the gate is closed")
        self.request_duration = meter.create_histogram(
            "http.client.request.duration",
            "s",
            "Duration of HTTP client requests.",
            explicit_bucket_boundaries_advisory=BUCKETS,
        )


_made: weakref.WeakKeyDictionary[Any, _Instruments] = weakref.WeakKeyDictionary()
"""By provider."""


class _Telemetry:
    """The tracer and the instruments."""

    def __init__(self, tracers: trace.TracerProvider | None, instruments: _Instruments) -> None:
        self.tracer = trace.get_tracer("quartile_async", __version__, tracers, SCHEMA)
        self.instruments = instruments

    def upload(self, labels: Mapping[str, object], server: str) -> _Upload:
        return _Upload(self, labels, server)

    def request(self, method: str, server: str, path: str, route: str, resends: int) -> _Request:
        return _Request(self, _place(method, server, route), path, resends)

    def waiting(self, what: Wait) -> _Waiting:
        return _Waiting(what)

    @_harmless
    def throttled(self, seconds: float, reason: str) -> None:
        self.instruments.throttled_time.add(seconds, {"quartile.throttled.reason": reason})


class _Followed(ABC):
    """A span, from the beginning of a block to its end."""

    span: trace.Span = trace.INVALID_SPAN

    def __enter__(self) -> Self:
        self._begin()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._end(error)

    @abstractmethod
    def _begin(self) -> None: ...

    @abstractmethod
    def _end(self, error: BaseException | None) -> None: ...

    def _note(self, error: BaseException) -> None:
        """The kind of an error, without its words."""
        self.span.set_status(trace.StatusCode.ERROR)
        self.span.set_attribute("error.type", _kind_of(error))
        if isinstance(error, APIError) and error.status is not None:
            self.span.set_attribute("http.response.status_code", int(error.status))


class _Upload(_Followed):
    """An upload. It runs in a task of its own: what is made current there need not be put back."""

    def __init__(self, telemetry: _Telemetry, labels: Mapping[str, object], server: str) -> None:
        self.labels = {f"quartile.{name}": str(value) for name, value in labels.items() if value is not None}
        self.context = context.get_current()
        self.tracer = telemetry.tracer
        self.batch_name = f"batch {labels['resource']}"
        self.active_batches = telemetry.instruments.active_batches.of(self.labels)
        self.polls = telemetry.instruments.polls.of(self.labels)
        self._name = f"upload {labels['resource']}"
        self._server = server
        self._items = telemetry.instruments.items
        self._counts: dict[str, int] = {}
        self._replayed = 0

    @_harmless
    def _begin(self) -> None:
        attributes: dict[str, AttributeValue] = {**self.labels, **_address(self._server)}
        self.span = self.tracer.start_span(self._name, attributes=attributes)
        self.context = trace.set_span_in_context(self.span)
        context.attach(self.context)

    @_harmless
    def _end(self, error: BaseException | None) -> None:
        self.span.end()

    def batch(self, items: int, *, resumed: bool) -> _Batch:
        return _Batch(self, items, resumed=resumed)

    @_harmless
    def results(self, results: Sequence[ItemResult[Any]]) -> None:
        fresh = [result.outcome for result in results if not result.replayed]
        self._count(_counted(fresh))
        self._replayed += len(results) - len(fresh)

    @_harmless
    def ended(self, by: EndedBy, *, read: int, batches: int, error: Exception | None) -> None:
        if (rest := read - self._replayed - sum(self._counts.values())) > 0:
            self._count({Outcome.UNKNOWN.value: rest})
        if self._replayed:
            self.span.set_attribute("quartile.items.replayed", self._replayed)
        self.span.set_attributes(_as_attributes(self._counts))
        self.span.set_attributes({"quartile.items": read, "quartile.batches": batches, "quartile.ended_by": by})
        if error is not None:
            self._note(error)

    def _count(self, counts: Mapping[str, int]) -> None:
        _add(self._counts, counts)
        for outcome, count in counts.items():
            self._items.of(self.labels | {"quartile.outcome": outcome}).add(count)


class _Batch(_Followed):
    """A batch. Its task, too, has nothing else to do, but for further batches of the same upload."""

    def __init__(self, upload: _Upload, items: int, *, resumed: bool) -> None:
        self.polls = upload.polls
        self._upload = upload
        self._items = items
        self._resumed = resumed
        self._counts: dict[str, int] = {}
        self._found: dict[str, AttributeValue] = {}

    @_harmless
    def _begin(self) -> None:
        upload = self._upload
        upload.active_batches.add(1)
        attributes: dict[str, AttributeValue] = {**upload.labels, "quartile.items": self._items}
        if self._resumed:
            attributes["quartile.batch.resumed"] = True
        self.span = upload.tracer.start_span(upload.batch_name, upload.context, attributes=attributes)
        context.attach(context.set_value(BATCH, self, trace.set_span_in_context(self.span, upload.context)))

    @_harmless
    def results(self, results: Sequence[ItemResult[Any]], status: str | None = None) -> None:
        _add(self._counts, _counted([result.outcome for result in results]))
        if status is not None:
            self._found["quartile.batch.status"] = status if status in FINISHED else "other"

    @_harmless
    def failed(self, error: Exception) -> None:
        self._note(error)

    def known_as(self, batch_id: str | None, *, resent: bool) -> None:
        if batch_id is not None:
            self._found["quartile.batch.id"] = batch_id
        if resent:
            self._found["quartile.batch.resent"] = True

    @_harmless
    def _end(self, error: BaseException | None) -> None:
        self._upload.active_batches.add(-1)
        if isinstance(error, Exception):
            self._note(error)
        elif error is not None:
            self._found["quartile.batch.left"] = True
        if error is not None and (rest := self._items - sum(self._counts.values())) > 0:
            _add(self._counts, {Outcome.UNKNOWN.value: rest})
        self.span.set_attributes(_as_attributes(self._counts) | self._found)
        self.span.end()


class _Request:
    """An HTTP exchange, in whatever task it is made: what was current there is put back.

    Its span is made at its end, since nothing is within it, and then all is known at once: that is cheaper.
    """

    __slots__ = ("_begun", "_here", "_path", "_place", "_resends", "_since", "_status", "_telemetry", "_token")

    def __init__(self, telemetry: _Telemetry, place: _Place, path: str, resends: int) -> None:
        self._telemetry = telemetry
        self._place = place
        self._path = path
        self._resends = resends
        self._status: int | None = None

    def __enter__(self) -> Self:
        # Else an instrumentation of aiohttp would make another span of it, and add headers.
        self._here = context.get_current()
        self._token: Token[context.Context] = context.attach(context.set_value(SUPPRESS_HTTP, True, self._here))
        self._since, self._begun = time_ns(), perf_counter()
        return self

    def answered(self, status: int) -> None:
        self._status = int(status)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        seconds = perf_counter() - self._begun
        # A coroutine that is thrown away is closed in whatever context that happens.
        if not isinstance(error, GeneratorExit):
            context.detach(self._token)
        self._tell(seconds, error)

    @_harmless
    def _tell(self, seconds: float, error: BaseException | None) -> None:
        place, instruments = self._place, self._telemetry.instruments
        measured: dict[str, AttributeValue] = place.attributes.copy()
        if self._status is not None:
            measured["http.response.status_code"] = self._status
        failed = self._status is None or self._status >= HTTPStatus.BAD_REQUEST
        if failed:
            measured["error.type"] = str(self._status) if error is None else _kind_beneath(error)
        attributes = {**measured, "url.full": place.server + self._path}
        if self._resends:
            attributes["http.request.resend_count"] = self._resends
        span = self._telemetry.tracer.start_span(
            place.name, self._here, trace.SpanKind.CLIENT, attributes, start_time=self._since
        )
        if failed:
            span.set_status(trace.StatusCode.ERROR)
        span.end()
        instruments.request_duration.record(seconds, measured, NOWHERE)
        if place.polls:
            batch = self._here.get(BATCH)
            (batch.polls if isinstance(batch, _Batch) else instruments.polls.of({})).add(1)


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


def _add(total: dict[str, int], counts: Mapping[str, int]) -> None:
    for outcome, count in counts.items():
        total[outcome] = total.get(outcome, 0) + count


def _as_attributes(counts: Mapping[str, int]) -> dict[str, AttributeValue]:
    return {f"quartile.items.{outcome}": count for outcome, count in counts.items() if count}


def _counted(outcomes: Sequence[Outcome]) -> dict[str, int]:
    """How many there are of each outcome that there is."""
    succeeded = outcomes.count(Outcome.SUCCEEDED)
    if succeeded == len(outcomes):  # the usual case
        return {SUCCEEDED: succeeded} if succeeded else {}
    return {value: count for outcome, value in OUTCOMES if (count := outcomes.count(outcome))}


class _Place(NamedTuple):
    """Where requests of one kind go.

    Attributes:
        name: of their spans.
        server: the base URL.
        polls: whether they ask for a batch.
        attributes: the same for all of them.
    """

    name: str
    server: str
    polls: bool
    attributes: dict[str, AttributeValue]


@functools.lru_cache(maxsize=256)
def _place(method: str, server: str, route: str) -> _Place:
    template = urlsplit(server).path + route
    attributes: dict[str, AttributeValue] = {"http.request.method": method, "url.template": template}
    return _Place(f"{method} {template}", server, method == "GET", attributes | _address(server))


def _address(server: str) -> dict[str, AttributeValue]:
    url = urlsplit(server)
    port = url.port or (443 if url.scheme == "https" else 80)
    return {"server.address": url.hostname or "", "server.port": port}


def _kind_beneath(error: BaseException) -> str:
    """The class of the failure that an error speaks of: aiohttp's or the system's, where there is one."""
    beneath = error.__cause__ if isinstance(error, TransportError) else None
    return _kind_of(beneath or error)


def _kind_of(error: BaseException) -> str:
    """The error's class, or the public one that it is a case of."""
    kind = next(kind for kind in type(error).__mro__ if not kind.__module__.startswith("quartile_async._"))
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
