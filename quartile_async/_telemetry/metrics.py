"""The metrics. Sums are kept here and told when metrics are read: adding to one is much cheaper than measuring."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from opentelemetry import context, metrics
from opentelemetry.util.types import AttributeValue

from .. import __version__

SCHEMA = "https://opentelemetry.io/schemas/1.30.0"

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
"""Seconds; the conventions' own for `http.client.request.duration`."""

NOWHERE = context.Context({"quartile_async": "no span"})
"""For measurements without an exemplar, which costs as much as a measurement."""


@dataclass(slots=True, eq=False)
class Total:
    """A sum for one set of attributes, which one thread adds to, without a lock."""

    attributes: Mapping[str, AttributeValue]
    value: int = 0


class Totals:
    """Sums by their attributes, told when metrics are read. Safe in any thread."""

    def __init__(self) -> None:
        self._open: set[Total] = set()
        self._closed: Counter[frozenset[tuple[str, AttributeValue]]] = Counter()
        self._lock = threading.Lock()

    def open(self, attributes: Mapping[str, AttributeValue]) -> Total:
        """One that the thread that asks for it adds to until it is closed."""
        with self._lock:
            self._open.add(total := Total(attributes))
        return total

    def close(self, total: Total) -> None:
        with self._lock:
            self._open.discard(total)
            self._closed[frozenset(total.attributes.items())] += total.value

    def add(self, attributes: Mapping[str, AttributeValue], count: int) -> None:
        with self._lock:
            self._closed[frozenset(attributes.items())] += count

    def __call__(self, options: metrics.CallbackOptions) -> list[metrics.Observation]:
        with self._lock:
            totals = self._closed.copy()
            for total in self._open:
                totals[frozenset(total.attributes.items())] += total.value
        return [metrics.Observation(value, dict(attributes)) for attributes, value in totals.items()]


class Instruments:
    """The instruments, of one provider; None: the global one."""

    def __init__(self, provider: metrics.MeterProvider | None) -> None:
        meter = metrics.get_meter("quartile_async", __version__, provider, SCHEMA)
        self.items, self.active_batches, self.polls = Totals(), Totals(), Totals()
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
