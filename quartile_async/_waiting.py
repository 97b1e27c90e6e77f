"""Asking for one batch until it has ended."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import anyio

from ._answers import LongPauseError, UnusableEndError
from ._api import Api
from ._errors import (
    APIError,
    AuthenticationError,
    ClientClosedError,
    ConfigurationError,
    JournalError,
    PermissionDeniedError,
    QuartileError,
    QuotaExceededError,
    RateLimitError,
    SharedQuotaError,
    TransportError,
)
from ._outage import OutageError
from ._polling import Poller, Watch
from ._resources import Resource
from ._results import BatchStatus

HOPELESS = (
    AuthenticationError,
    PermissionDeniedError,
    QuotaExceededError,
    RateLimitError,
    ConfigurationError,
    ClientClosedError,
    JournalError,
    LongPauseError,
    OutageError,
    SharedQuotaError,
)
"""Errors that no other request of this client, or of this upload, can survive."""


@dataclass(slots=True, frozen=True)
class WaitLimits:
    """How long a batch is waited for.

    Attributes:
        deadline: seconds after which a batch that has not ended is given up.
        grace: seconds for which 404 means "not visible yet" (contract, "Ask for a batch").
    """

    deadline: float
    grace: float


MOST_UNUSABLE_ENDS, UNUSABLE_FIRST_WAIT = 5, 0.5
"""How often an end that cannot be used is seen before it is final; and seconds before it is asked for again, which
double: 7.5 s together."""

LAST_ANSWER = 5.0
"""Seconds that a question asked at the deadline has for its answer."""


class BatchGivenUpError(TransportError):
    """A batch whose end was not learned, and which may still be carried out."""


@dataclass(slots=True)
class _Seen:
    """What was seen of a batch.

    Attributes:
        watch: its age, and the age at which it was last seen unfinished.
        words: the last answer.
        unusable_ends: how many ends were seen that cannot be used.
    """

    watch: Watch
    words: str = "nothing"
    unusable_ends: int = 0

    @property
    def wait_to_ask_again(self) -> float:
        """Seconds to wait after an end that cannot be used; 0 where there was none."""
        return UNUSABLE_FIRST_WAIT * 2.0 ** (self.unusable_ends - 1) if self.unusable_ends else 0.0

    def note_unusable_end(self, error: UnusableEndError) -> None:
        """Raises the error where it has been seen often enough."""
        self.unusable_ends += 1
        self.words = str(error)
        if self.unusable_ends >= MOST_UNUSABLE_ENDS:
            raise error


class BatchWait:
    """Waits for batches of one resource, at the pace that the server's processing times suggest."""

    def __init__(self, api: Api, resource: Resource[Any], poller: Poller, limits: WaitLimits) -> None:
        self._api = api
        self._resource = resource
        self._poller = poller
        self._limits = limits

    async def until_finished(
        self,
        batch_id: str,
        check: Callable[[BatchStatus], object] = lambda status: None,
        *,
        since: float | None = None,
    ) -> BatchStatus:
        """Asks until the batch has ended; `check` as for `Api.get_batch`.

        It was taken at `since`, on the loop's clock; None: some time before, so that nothing is learned from it.

        An answer that is no answer about the batch (a gateway's page, a lost connection) says nothing about it.

        Raises:
            BatchGivenUpError: it had not ended at the deadline, or is not known to the server.
            UnusableEndError: it has ended, and the rows cannot be used.
            AuthenticationError and the other errors in `HOPELESS`.
        """
        seen = _Seen(self._poller.watch(since))
        try:
            # The last question is asked at the deadline. Neither a gate nor an outage may put off the end for longer.
            with anyio.move_on_after(self._limits.deadline + LAST_ANSWER):
                if (status := await self._asked_until_the_deadline(batch_id, check, seen)) is not None:
                    return status
        finally:
            seen.watch.leave()
        self._api.traffic.note_overdue()
        raise BatchGivenUpError(self._overdue(batch_id, seen.words))

    async def _asked_until_the_deadline(
        self, batch_id: str, check: Callable[[BatchStatus], object], seen: _Seen
    ) -> BatchStatus | None:
        watch = seen.watch
        while (left := self._limits.deadline - watch.age) > 0.0:
            wait = seen.wait_to_ask_again or watch.wait(self._api.traffic.poll_price)
            if wait > 0.0:
                await anyio.sleep(min(wait, left))
            asked = watch.age
            try:
                status = await self._api.get_batch(batch_id, self._resource, check, patient=True)
            except HOPELESS:
                raise
            except UnusableEndError as error:
                watch.unanswered(asked)
                seen.note_unusable_end(error)
            except QuartileError as error:
                watch.unanswered(asked)
                seen.words = str(error)
                if _denies_the_batch(error) and watch.age - watch.alive_at >= self._limits.grace:
                    raise BatchGivenUpError(self._lost(batch_id, seen.words)) from error
            else:
                if status.finished:
                    watch.finished(asked)
                    return status
                watch.unfinished(asked)
                seen.words = status.status
        return None

    def _overdue(self, batch_id: str, seen: str) -> str:
        return (
            f"Batch {batch_id} had not ended after {self._limits.deadline:g} s (last answer: {seen}). It may still "
            f"complete: ask for it later with client.wait({batch_id!r})."
        )

    def _lost(self, batch_id: str, seen: str) -> str:
        return (
            f"Batch {batch_id} was taken, but the server has not known it for {self._limits.grace:g} s: {seen} "
            f"Whether its items were processed is not known; ask once more later with client.get_batch({batch_id!r})."
        )


def _denies_the_batch(error: QuartileError) -> bool:
    """Whether the server itself says that this request cannot be answered, as with 404."""
    if not isinstance(error, APIError) or error.status is None:
        return False
    return HTTPStatus.BAD_REQUEST <= error.status < HTTPStatus.INTERNAL_SERVER_ERROR and error.status not in (
        HTTPStatus.REQUEST_TIMEOUT,
        HTTPStatus.TOO_EARLY,
    )
