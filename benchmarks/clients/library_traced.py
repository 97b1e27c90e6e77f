"""The library with OpenTelemetry's spans, in batches as in production, to an exporter that sends them nowhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from opentelemetry.metrics import MeterProvider, NoOpMeterProvider
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import DEFAULT_ON, Sampler

from quartile_async.opentelemetry import QuartileInstrumentor

from ..work import Item
from . import harness
from .harness import Claim
from .library import feed


class Nowhere(SpanExporter):
    """Counts spans: how they are encoded and where they are sent is not the library's."""

    def __init__(self) -> None:
        self.exported = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.exported += len(spans)
        return SpanExportResult.SUCCESS


def main(meters: MeterProvider, sampler: Sampler = DEFAULT_ON) -> None:
    tracers = TracerProvider(sampler)
    QuartileInstrumentor().instrument(tracer_provider=tracers, meter_provider=meters)
    exported_by(tracers, is_sampled=sampler is DEFAULT_ON)


def exported_by(tracers: TracerProvider, *, is_sampled: bool = True) -> None:
    """The whole command of a client whose spans are made by these tracers."""
    exporter = Nowhere()
    tracers.add_span_processor(BatchSpanProcessor(exporter))

    async def upload(url: str, items: Iterator[Item], in_flight: int) -> Claim:
        claim = await feed(url, items, in_flight)
        tracers.force_flush()  # all that was recorded is measured
        # For each batch, its own and two requests'. Where the queue is full the SDK drops some, and says so.
        assert (exporter.exported > claim.sent // 100 * 2) is is_sampled, "it was traced, or sampled out"
        return claim

    harness.main(upload)


if __name__ == "__main__":
    main(NoOpMeterProvider())
