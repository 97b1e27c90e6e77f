"""The library with OpenTelemetry's spans, of which the sampler takes none."""

from __future__ import annotations

from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.sdk.trace.sampling import DEFAULT_OFF

from .library_traced import main

if __name__ == "__main__":
    main(NoOpMeterProvider(), DEFAULT_OFF)
