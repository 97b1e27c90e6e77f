"""The span of an upload."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from opentelemetry import context, trace
from opentelemetry.util.types import AttributeValue

from .._results import ItemResult, Outcome
from .._traces import EndedBy
from .attributes import address, of_counts, of_error, tally
from .batches import Batch, BatchTelemetry, current
from .guard import harmless
from .late import Writer
from .metrics import Total
from .requests import RequestTelemetry


class Upload:
    """An upload, as `UploadTrace`. It runs in a task of its own: what is made current there need not be put back."""

    def __init__(self, requests: RequestTelemetry, labels: Mapping[str, object], server: str) -> None:
        self._requests = requests
        self._instruments = requests.instruments
        self._resource = labels["resource"]
        self._labels: dict[str, AttributeValue] = {
            f"quartile.{name}": str(value) for name, value in labels.items() if value is not None
        }
        self._server = server
        self._writer = Writer()
        self._span: trace.Span = trace.INVALID_SPAN
        self._totals: dict[str, Total] = {}
        self._replayed = 0

    def __enter__(self) -> Self:
        self._begin()
        current.set(None)  # in place of a batch within which a function of the user's has begun it
        instruments = self._instruments
        self._batches = BatchTelemetry(
            requests=self._requests,
            writer=self._writer,
            name=f"batch {self._resource}",
            parent=context.get_current(),
            labels=self._labels,
            active=instruments.active_batches.open(self._labels),
            polls=instruments.polls.open(self._labels),
        )
        return self

    @harmless
    def _begin(self) -> None:
        attributes: dict[str, AttributeValue] = {**self._labels, **address(self._server)}
        self._span = self._requests.tracer.start_span(f"upload {self._resource}", attributes=attributes)
        context.attach(trace.set_span_in_context(self._span))

    def batch(self, items: int, *, resumed: bool) -> Batch:
        return Batch(self._batches, items, resumed=resumed)

    def results(self, results: Sequence[ItemResult[Any]]) -> None:
        told, self._batches.told = self._batches.told, None
        if told is None or told.results is not results:
            told = tally(results)
        self._count(told.fresh)
        self._replayed += len(results) - sum(told.fresh.values())

    @harmless
    def ended(self, by: EndedBy, *, read: int, batches: int, error: Exception | None) -> None:
        if (rest := read - self._replayed - sum(self._counts.values())) > 0:
            self._count({Outcome.UNKNOWN.value: rest})
        found = of_counts(self._counts)
        if self._replayed:
            found["quartile.items.replayed"] = self._replayed
        found |= {"quartile.items": read, "quartile.batches": batches, "quartile.ended_by": by}
        if error is not None:
            found |= of_error(error)
            self._span.set_status(trace.StatusCode.ERROR)
        self._span.set_attributes(found)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._writer.close()
        self._close()
        self._end()

    def _close(self) -> None:
        self._instruments.active_batches.close(self._batches.active)
        self._instruments.polls.close(self._batches.polls)
        for total in self._totals.values():
            self._instruments.items.close(total)

    @harmless
    def _end(self) -> None:
        self._span.end()

    @property
    def _counts(self) -> dict[str, int]:
        """By outcome, without those that a journal has replayed."""
        return {outcome: total.value for outcome, total in self._totals.items()}

    def _count(self, counts: Mapping[str, int]) -> None:
        for outcome, count in counts.items():
            if (total := self._totals.get(outcome)) is None:
                total = self._instruments.items.open(self._labels | {"quartile.outcome": outcome})
                self._totals[outcome] = total
            total.value += count
