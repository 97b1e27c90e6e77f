"""The library with OpenTelemetry's spans, as `library_traced`, and metrics, which nobody reads."""

from __future__ import annotations

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from .library_traced import main

if __name__ == "__main__":
    main(MeterProvider([InMemoryMetricReader()]))
