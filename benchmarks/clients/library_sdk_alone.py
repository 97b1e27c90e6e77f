"""The library with the spans of `library_traced`, made by the SDK alone: of constants, many at once, and nothing else.

What is traced is followed by nobody here, so that this is the least that so many spans cost.
"""

from __future__ import annotations

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

from quartile_async import _tracing

from .library_traced import exported_by

AT_ONCE = 256
"""Batches whose spans are made in one go."""

BATCH: dict[str, str | int] = {
    "quartile.resource": "process/masterlist",
    "quartile.items": 100,
    "quartile.items.succeeded": 100,
    "quartile.batch.status": "COMPLETED",
    "quartile.batch.id": "00000000-0000-0000-0000-000000000000",
}
REQUEST: dict[str, str | int] = {
    "http.request.method": "GET",
    "url.template": "/amazon/v2/batch/{batch_id}",
    "server.address": "127.0.0.1",
    "server.port": 8080,
    "http.response.status_code": 200,
    "url.full": "http://127.0.0.1:8080/amazon/v2/batch/00000000-0000-0000-0000-000000000000",
}


class Nobody:
    """Whoever is told of an upload, a batch or a request, and keeps nothing of it."""

    def __init__(self, spans: Spans) -> None:
        self._spans = spans

    def __enter__(self) -> Nobody:
        return self

    def __exit__(self, *error: object) -> None:
        """An upload has ended."""
        self._spans.make()

    def batch(self, items: int, *, resumed: bool) -> Nobody:
        return self

    def results(self, *told: object, **how: object) -> None:
        """Of a batch, and of the upload."""

    def answered(self, status: int) -> None:
        """A request was."""

    def failed(self, error: BaseException) -> None:
        """A request, or a batch."""

    def ended(self, *told: object, resent: bool | None = None, **how: object) -> None:
        """A batch or an upload."""
        if resent is not None:
            self._spans.due()


class Spans:
    """Makes the spans of so many batches, of which each has two requests."""

    def __init__(self, tracer: trace.Tracer) -> None:
        self._tracer = tracer
        self._due = 0

    def due(self) -> None:
        self._due += 1
        if self._due >= AT_ONCE:
            self.make()

    def make(self) -> None:
        for _ in range(self._due):
            batch = self._tracer.start_span("batch", attributes=BATCH)
            parent = trace.set_span_in_context(batch)
            for _ in range(2):
                self._tracer.start_span("GET", parent, trace.SpanKind.CLIENT, REQUEST).end()
            batch.end()
        self._due = 0


class Follower:
    """As `quartile_async.opentelemetry` follows the work, and with nothing to say of it."""

    def __init__(self, spans: Spans) -> None:
        self._nobody = Nobody(spans)

    def upload(self, *of: object) -> Nobody:
        return self._nobody

    def request(self, *of: object, **how: object) -> Nobody:
        return self._nobody

    def waiting(self, what: object) -> Nobody:
        raise AssertionError("nothing waits here")

    def throttled(self, seconds: float, reason: str) -> None:
        raise AssertionError("nothing is throttled here")


if __name__ == "__main__":
    provider = TracerProvider()
    _tracing.active = Follower(Spans(provider.get_tracer("the SDK alone")))
    exported_by(provider)
