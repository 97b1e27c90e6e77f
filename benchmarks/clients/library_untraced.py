"""The library with all of OpenTelemetry there, which was switched on and off again: the hook is there, and unused."""

from __future__ import annotations

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.trace import TracerProvider

from quartile_async.opentelemetry import QuartileInstrumentor

from .harness import main
from .library import upload

if __name__ == "__main__":
    QuartileInstrumentor().instrument(tracer_provider=TracerProvider(), meter_provider=MeterProvider())
    QuartileInstrumentor().uninstrument()
    main(upload)
