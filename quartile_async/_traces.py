"""What a tracer is, and what it hands out: types only, imported where they are checked, or filled in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Literal, Protocol, TypeAlias

from ._results import ItemResult

Wait: TypeAlias = Literal["throttled", "outage"]
"""What requests wait for: a closed gate, or the end of an outage."""

EndedBy: TypeAlias = Literal["input", "stop", "left", "error"]
"""What an upload ended by: its input's end, `stop()`, its consumer who left, or an error."""


class RequestTrace(Protocol):
    """One HTTP exchange, until one of these is told."""

    def answered(self, status: int) -> None:
        """There was an answer, with this HTTP status."""

    def failed(self, error: BaseException) -> None:
        """There was none, whether for an error or since the work was left."""


class BatchTrace(Protocol):
    """One batch, until `ended` is told. Its task is the batch's own, and so is the context there."""

    def results(self, results: Sequence[ItemResult[Any]], status: str | None = None, *, replayed: bool = False) -> None:
        """These became of items of it; `status` is the server's word for its end, where it was seen.

        `replayed`: an earlier run has learned them.
        """

    def failed(self, error: Exception) -> None:
        """It was refused or given up; the upload goes on."""

    def ended(self, batch_id: str | None, *, resent: bool, error: BaseException | None = None) -> None:
        """It is over: by this error, or as it should.

        `batch_id` is the server's, if there is one; `resent`: an earlier try may have arrived.
        """


class UploadTrace(Protocol):
    """One upload, in a task of its own."""

    def batch(self, items: int, *, resumed: bool) -> BatchTrace:
        """A batch of so many items begins; `resumed`: an earlier run has submitted it."""
        ...

    def results(self, results: Sequence[ItemResult[Any]]) -> None:
        """These are ready for the consumer: one for each item, once."""

    def ended(self, by: EndedBy, *, read: int, batches: int, error: Exception | None) -> None:
        """It is over: so many items were read, and so many batches submitted."""


class Tracer(Protocol):
    """Follows all that is done in this process."""

    def upload(self, labels: Mapping[str, object], server: str) -> AbstractContextManager[UploadTrace]:
        """An upload begins; `labels` are its account (or None) and resource, `server` is the base URL."""
        ...

    def request(self, method: str, server: str, path: str, route: str, resends: int, *, watched: bool) -> RequestTrace:
        """A request goes out.

        `route` is the path without a batch's id; `resends` is how often the same was sent before; `watched`: somebody
        else sees aiohttp's requests as well.
        """
        ...

    def waiting(self, what: Wait) -> AbstractContextManager[object]:
        """A request waits, for as long as the block lasts."""
        ...

    def throttled(self, seconds: float, reason: str) -> None:
        """The gate is closed for so much longer than it was."""
