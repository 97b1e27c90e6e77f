"""The span that is current while what it tells of is under way."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

from opentelemetry import context, trace
from opentelemetry.util.types import Attributes, AttributeValue

(SPAN,) = trace.set_span_in_context(trace.INVALID_SPAN, context.Context())
"""The key of the current span in a context."""


def context_within(span: trace.Span, parent: context.Context) -> context.Context:
    """As `set_span_in_context` does it, at half the cost."""
    return context.Context({**parent, SPAN: span})


class LateSpan(trace.Span):
    """A span that has begun, and is made when somebody asks about it, a log record for instance, or when it is written.

    Attributes:
        span: the SDK's own.
    """

    @property
    @abstractmethod
    def span(self) -> trace.Span: ...

    def get_span_context(self) -> trace.SpanContext:
        return self.span.get_span_context()

    def is_recording(self) -> bool:
        return self.span.is_recording()

    def set_attributes(self, attributes: Mapping[str, AttributeValue]) -> None:
        self.span.set_attributes(attributes)

    def set_attribute(self, key: str, value: AttributeValue) -> None:
        self.span.set_attribute(key, value)

    def add_event(self, name: str, attributes: Attributes = None, timestamp: int | None = None) -> None:
        self.span.add_event(name, attributes, timestamp)

    def add_link(self, context: trace.SpanContext, attributes: Attributes = None) -> None:
        self.span.add_link(context, attributes)

    def update_name(self, name: str) -> None:
        self.span.update_name(name)

    def set_status(self, status: trace.Status | trace.StatusCode, description: str | None = None) -> None:
        self.span.set_status(status, description)

    def record_exception(
        self,
        exception: BaseException,
        attributes: Attributes = None,
        timestamp: int | None = None,
        escaped: bool = False,
    ) -> None:
        self.span.record_exception(exception, attributes, timestamp, escaped)

    def end(self, end_time: int | None = None) -> None:
        self.span.end(end_time)

    def __getattr__(self, name: str) -> Any:
        """What the SDK's spans have beside: their name, for instance, which processors look at."""
        if name.startswith("_"):  # nobody else's, and it is this one that lacks it
            raise AttributeError(name)
        return getattr(self.span, name)
