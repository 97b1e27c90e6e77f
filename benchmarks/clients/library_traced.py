"""The library with OpenTelemetry's spans, which nobody exports."""

from __future__ import annotations

from collections.abc import Iterator

from opentelemetry.metrics import MeterProvider, NoOpMeterProvider
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider

from quartile_async.opentelemetry import QuartileInstrumentor

from ..work import Item
from . import harness
from .harness import Claim
from .library import feed


class Spans(SpanProcessor):
    """Counts those that have ended: what is exported, and how, is not the library's."""

    def __init__(self) -> None:
        self.ended = 0

    def on_end(self, span: object) -> None:
        self.ended += 1


spans = Spans()


async def upload(url: str, items: Iterator[Item], in_flight: int) -> Claim:
    claim = await feed(url, items, in_flight)
    assert spans.ended > claim.sent // 100, "it was traced"
    return claim


def main(meters: MeterProvider) -> None:
    tracers = TracerProvider()
    tracers.add_span_processor(spans)
    QuartileInstrumentor().instrument(tracer_provider=tracers, meter_provider=meters)
    harness.main(upload)


if __name__ == "__main__":
    main(NoOpMeterProvider())
