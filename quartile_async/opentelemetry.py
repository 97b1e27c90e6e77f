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

import asyncio
import weakref
from collections.abc import Collection, Mapping
from typing import Any

from opentelemetry import metrics, trace
from opentelemetry.instrumentation.instrumentor import BaseInstrumentor  # type: ignore[attr-defined]  # mypy does not look in

from . import __version__, _tracing
from ._telemetry.batches import current
from ._telemetry.guard import harmless
from ._telemetry.metrics import SCHEMA, Instruments
from ._telemetry.requests import LoneRequest, Request, RequestTelemetry
from ._telemetry.uploads import Upload
from ._telemetry.waits import Waiting
from ._traces import RequestTrace, Wait

__all__ = ["QuartileInstrumentor"]


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
            instruments = _made[key] = Instruments(meters)
        _tracing.active = _Telemetry(kwargs.get("tracer_provider"), instruments)

    def _uninstrument(self, **kwargs: Any) -> None:
        _tracing.active = None


class _Telemetry:
    """The tracer and the instruments, as `Tracer`."""

    def __init__(self, tracers: trace.TracerProvider | None, instruments: Instruments) -> None:
        tracer = trace.get_tracer("quartile_async", __version__, tracers, SCHEMA)
        self._instruments = instruments
        self._requests = RequestTelemetry(tracer, instruments)

    def upload(self, labels: Mapping[str, object], server: str) -> Upload:
        return Upload(self._requests, labels, server)

    def request(self, method: str, server: str, path: str, route: str, resends: int, *, watched: bool) -> RequestTrace:
        request, batch = Request(method, server, path, route, resends), current.get()
        if batch is not None and batch.task is asyncio.current_task() and not watched:
            batch.requests.append(request)
            return request
        return LoneRequest(self._requests, {} if batch is None else batch.labels, request, silent=watched)

    def waiting(self, what: Wait) -> Waiting:
        return Waiting(what)

    @harmless
    def throttled(self, seconds: float, reason: str) -> None:
        self._instruments.throttled_time.add(seconds, {"quartile.throttled.reason": reason})


_made: weakref.WeakKeyDictionary[Any, Instruments] = weakref.WeakKeyDictionary()
"""By provider."""
