"""The lines of a stream: objects with a `type`, of which the last is a summary or an error. No I/O."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from pydantic_core import to_json

from .._results import ItemResult, Progress, Summary

Line: TypeAlias = Mapping[str, Any]

HEARTBEAT: Line = {"type": "heartbeat"}


class Form(enum.StrEnum):
    """How lines are written; the values are the media types."""

    NDJSON = "application/x-ndjson"
    EVENTS = "text/event-stream"


def form_for(accept: str) -> Form:
    """Server-sent events for who asks for them, as a browser's EventSource does."""
    ranges = [part.split(";")[0].strip().lower() for part in accept.split(",")]
    return Form.EVENTS if Form.EVENTS in ranges else Form.NDJSON


def result_line(result: ItemResult[Any]) -> Line:
    """A result; its item is known by its index."""
    return {
        "type": "result",
        "index": result.index,
        "outcome": str(result.outcome),
        "message": result.message,
        "process": result.process,
        "id": result.id,
        "batch_id": result.batch_id,
        "not_sent": result.not_sent,
        "resent": result.resent,
        "replayed": result.replayed,
    }


def summary_line(summary: Summary) -> Line:
    """The counts at the end."""
    names = ("items", "succeeded", "failed", "rejected", "unknown", "batches")
    counts = {name: getattr(summary, name) for name in names}
    return {"type": "summary"} | counts | {"seconds": round(summary.seconds, 3)}


def progress_fields(progress: Progress) -> dict[str, Any]:
    """The counts so far."""
    names = (
        "read",
        "done",
        "succeeded",
        "failed",
        "rejected",
        "unknown",
        "batches_submitted",
        "batches_finished",
        "in_flight",
    )
    return {name: getattr(progress, name) for name in names} | {"rate": round(progress.rate, 1)}


@dataclass(slots=True, frozen=True)
class Written:
    """How a line is written in one form."""

    form: Form

    def line(self, line: Line) -> bytes:
        """A line, with its end."""
        content = to_json(line)
        if self.form is Form.NDJSON:
            return content + b"\n"
        place = f"id: {line['position']}\n" if "position" in line else ""
        return f"event: {line['type']}\n{place}data: ".encode() + content + b"\n\n"

    @property
    def heartbeat(self) -> bytes:
        """What is written so that nobody takes the connection for dead."""
        return self.line(HEARTBEAT) if self.form is Form.NDJSON else b": heartbeat\n\n"
