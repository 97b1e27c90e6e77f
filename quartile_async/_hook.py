"""Tells the user's function what happens. Imported only where there is one: the events' classes take their time."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Literal

from ._results import Outcome
from .events import (
    BatchFinished,
    BatchPolled,
    BatchSubmitted,
    Event,
    OutageBegan,
    OutageEnded,
    RequestRetried,
    Throttled,
    TokenRefreshed,
)

logger = logging.getLogger("quartile_async")


class Hook:
    """The function that was given as `on_event`; for one account where an event has to do with one.

    Whoever has something to tell holds a hook or None, so that without one nothing is made.
    """

    def __init__(self, function: Callable[[Event], object], account: str | None = None) -> None:
        self._function = function
        self._account = account

    def of(self, account: str | None) -> Hook:
        """The same for this account."""
        return Hook(self._function, account)

    def submitted(self, batch_id: str, items: int, seconds: float, resource: str) -> None:
        self._tell(
            BatchSubmitted(batch_id=batch_id, items=items, seconds=seconds, resource=resource, account=self._account)
        )

    def polled(self, batch_id: str, status: str | None, resource: str, *, finished: bool) -> None:
        self._tell(
            BatchPolled(batch_id=batch_id, status=status, finished=finished, resource=resource, account=self._account)
        )

    def finished(
        self, batch_id: str, status: str | None, outcomes: Iterable[Outcome], seconds: float | None, resource: str
    ) -> None:
        counts = Counter(outcomes)
        succeeded, failed, items = counts[Outcome.SUCCEEDED], counts[Outcome.FAILED], counts.total()
        self._tell(
            BatchFinished(
                batch_id=batch_id,
                status=status,
                items=items,
                seconds=seconds,
                succeeded=succeeded,
                failed=failed,
                unknown=items - succeeded - failed,
                resource=resource,
                account=self._account,
            )
        )

    def throttled(self, seconds: float, reason: Literal["429", "RateLimit-Remaining"]) -> None:
        self._tell(Throttled(seconds=seconds, reason=reason))

    def outage_began(self, reason: str, limit: float) -> None:
        self._tell(OutageBegan(reason=reason, limit=limit))

    def outage_ended(self, seconds: float, *, recovered: bool) -> None:
        self._tell(OutageEnded(seconds=seconds, recovered=recovered))

    def token_refreshed(self, how: Literal["login", "refresh", "stored", "provided"]) -> None:
        self._tell(TokenRefreshed(account=self._account, how=how))

    def retried(self, method: str, path: str, reason: str, wait: float, tries: int) -> None:
        self._tell(
            RequestRetried(method=method, path=path, reason=reason, wait=wait, tries=tries, account=self._account)
        )

    def _tell(self, event: Event) -> None:
        try:
            self._function(event)
        except (Exception, asyncio.CancelledError):  # that of a task of the function's own, which is none of this work
            logger.exception("on_event has failed with a %s; the work goes on.", type(event).__name__)
