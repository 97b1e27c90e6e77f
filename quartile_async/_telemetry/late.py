"""Spans that are made when they are written, or asked about: many at once cost much less than each in its turn.

To make a span takes the SDK some sixty functions. Called once in a while they are cold, since the items of a batch have
been through the processor's caches meanwhile; called for many spans in a row they take two thirds of the time. A span
is exported when it has ended, and its times are those that it is given: what is exported is the same, a moment later.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping
from time import time_ns
from typing import Any, Protocol

from opentelemetry import context, trace
from opentelemetry.util.types import Attributes, AttributeValue

from .guard import harmless

DELAY = 1.0
"""Seconds after which what has ended is written at the latest."""

MANY = 64
"""So many are written at once: enough for caches to be warm, few enough to hold up nobody."""

_making = threading.RLock()


class LateSpan(trace.Span):
    """A span that has begun, and is made when it is written or when somebody asks about it: a log record, say.

    Safe in any thread.

    Args:
        parent: the context that it is made in.
        attributes: those that are known when it begins.
    """

    def __init__(
        self,
        tracer: trace.Tracer,
        name: str,
        parent: context.Context,
        attributes: dict[str, AttributeValue],
    ) -> None:
        self._tracer = tracer
        self._name = name
        self._parent = parent
        self._attributes = attributes
        self._since = time_ns()
        self._made: trace.Span | None = None

    @property
    def made(self) -> trace.Span:
        """The SDK's own; INVALID_SPAN where it fails to make one."""
        return self._with({})

    def write(self, attributes: dict[str, AttributeValue]) -> trace.Span:
        """The SDK's own, with these attributes as well; it is still to be ended."""
        if self._made is not None:
            self._made.set_attributes(attributes)
            return self._made
        return self._with(attributes)

    def _with(self, further: dict[str, AttributeValue]) -> trace.Span:
        with _making:
            if self._made is None:
                # A processor may write a log record, and so ask for what is being made.
                self._made = trace.INVALID_SPAN
                self._make(self._attributes | further)
            return self._made

    @harmless
    def _make(self, attributes: dict[str, AttributeValue]) -> None:
        self._made = self._tracer.start_span(self._name, self._parent, attributes=attributes, start_time=self._since)

    def get_span_context(self) -> trace.SpanContext:
        return self.made.get_span_context()

    def is_recording(self) -> bool:
        return self.made.is_recording()

    def set_attributes(self, attributes: Mapping[str, AttributeValue]) -> None:
        self.made.set_attributes(attributes)

    def set_attribute(self, key: str, value: AttributeValue) -> None:
        self.made.set_attribute(key, value)

    def add_event(self, name: str, attributes: Attributes = None, timestamp: int | None = None) -> None:
        self.made.add_event(name, attributes, timestamp)

    def add_link(self, context: trace.SpanContext, attributes: Attributes = None) -> None:
        self.made.add_link(context, attributes)

    def update_name(self, name: str) -> None:
        self.made.update_name(name)

    def set_status(self, status: trace.Status | trace.StatusCode, description: str | None = None) -> None:
        self.made.set_status(status, description)

    def record_exception(
        self,
        exception: BaseException,
        attributes: Attributes = None,
        timestamp: int | None = None,
        escaped: bool = False,
    ) -> None:
        self.made.record_exception(exception, attributes, timestamp, escaped)

    def end(self, end_time: int | None = None) -> None:
        self.made.end(end_time)

    def __getattr__(self, name: str) -> Any:
        """What the SDK's spans have beside: their name, for instance, which processors look at."""
        if name.startswith("_"):  # nobody else's, and it is this one that lacks it
            raise AttributeError(name)
        return getattr(self.made, name)


class Writable(Protocol):
    """What has something to write."""

    def write(self) -> None:
        """Writes what has ended; raises nothing."""


class Writer:
    """Writes what has ended: much at once, and nothing later than after `DELAY` seconds.

    It is made, and used, in the event loop's thread.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._under_way: dict[Writable, None] = {}
        self._ended: list[Writable] = []

    def begun(self, writable: Writable) -> None:
        self._under_way[writable] = None

    def ended(self, writable: Writable) -> None:
        self._under_way.pop(writable, None)
        self._ended.append(writable)
        if len(self._ended) >= MANY:
            self._write_ended()
        else:
            self.soon()

    def soon(self) -> None:
        """There is something to write."""
        if self._timer is not None:
            return
        if self._loop.is_closed():  # and a coroutine that was left there is thrown away
            self.write()
        else:
            self._timer = self._loop.call_later(DELAY, self.write)

    def write(self) -> None:
        """Writes all that there is."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._write_ended()
        for writable in list(self._under_way):
            writable.write()

    def _write_ended(self) -> None:
        ended, self._ended = self._ended, []
        for writable in ended:
            writable.write()
