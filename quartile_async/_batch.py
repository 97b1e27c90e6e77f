"""One chunk from its submit to its results: set refused items apart, wait, match rows."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, TypeAlias

from ._answers import UnusableEndError
from ._api import Api, TooLargeError, refused_items
from ._chunking import Chunk
from ._delivery import Delivery
from ._errors import APIError, QuartileError
from ._matching import Matched, match
from ._ordering import KeyOrder
from ._resources import Resource
from ._results import BatchStatus, ItemResult, Outcome
from ._waiting import HOPELESS, BatchGivenUpError, BatchWait

Results: TypeAlias = list[ItemResult[Any]]

logger = logging.getLogger("quartile_async")

REFUSED_AS_A_WHOLE = (HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
WRONG_PLACE = (HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED, *range(300, 400))
"""A path that is not there, or a redirect: no other batch would fare better."""


@dataclass(slots=True)
class BatchCounts:
    """What an upload's batches have come to so far; see `Progress`."""

    submitted: int = 0
    finished: int = 0
    foreign_rows: int = 0


@dataclass(slots=True, frozen=True)
class BatchTools:
    """What the batches of one upload share."""

    api: Api
    resource: Resource[Any]
    wait: BatchWait
    order: KeyOrder
    counts: BatchCounts
    labels: dict[str, object]
    """Stands in the log records' `extra`: account and resource."""


class BatchRun:
    """A chunk under way. It is one batch, unless the server refuses items: then the rest goes out after it."""

    def __init__(self, chunk: Chunk, tools: BatchTools, deliver: Callable[[Results], object]) -> None:
        self._tools = tools
        self._deliver = deliver
        self._pending = [chunk]
        """The parts without results yet; the first one is under way."""
        self._delivery = Delivery(in_doubt=chunk.in_doubt)
        self._older = tools.order.older_writes(chunk.keys)

    async def run(self) -> None:
        """Ends when each item has its result.

        Raises:
            QuartileError: one that no other batch of the upload can survive.
        """
        try:
            while self._pending:
                await self._run_part(self._pending[0])
        finally:
            self._remember_what_was_left()

    @property
    def unaccounted(self) -> Results:
        """A result for each item that has none yet, true at this moment."""
        results: Results = []
        for place, part in enumerate(self._pending):
            results += _left(part, Delivery(in_doubt=part.in_doubt) if place else self._delivery)
        return results

    async def _run_part(self, part: Chunk) -> None:
        self._delivery = Delivery(in_doubt=part.in_doubt)
        try:
            batch_id = await self._tools.api.submit(self._tools.resource, part.wires, self._delivery, patient=True)
        except QuartileError as error:
            self._handle_refusal(part, error)
            return
        self._tools.counts.submitted += 1
        logger.info("Batch %s: %d items submitted.", batch_id, len(part), extra=self._labels(batch_id, part))
        self._finish(part, await self._results_of(part, batch_id))

    async def _results_of(self, part: Chunk, batch_id: str) -> Results:
        """The results of a batch that was taken."""
        fitting: list[Matched] = []

        def check(status: BatchStatus) -> None:
            if status.finished:
                fitting.append(self._matched(part, status))

        try:
            await self._tools.wait.until_finished(batch_id, check)
        except HOPELESS:
            raise
        except QuartileError as error:
            logger.warning("Batch %s: %s", batch_id, error, extra=self._labels(batch_id, part))
            if isinstance(error, BatchGivenUpError):
                self._tools.order.give_up(part.keys, batch_id)
            return unknown(part, str(error), batch_id=batch_id, resent=self._delivery.in_doubt)
        matched = fitting[-1]
        self._tools.counts.finished += 1
        self._tools.counts.foreign_rows += matched.foreign_rows
        labels = self._labels(batch_id, part) | {"foreign_rows": matched.foreign_rows}
        logger.info("Batch %s: has ended.", batch_id, extra=labels)
        return matched.results

    def _matched(self, part: Chunk, status: BatchStatus) -> Matched:
        matched = match(part, status, self._tools.resource, resent=self._delivery.in_doubt)
        if not matched.fits:
            raise UnusableEndError(
                f"Batch {status.batch_id} has ended ({status.status}) with {len(status.rows)} rows of which none is "
                f"one of its items. What became of them is not known."
            )
        return matched

    def _handle_refusal(self, part: Chunk, error: QuartileError) -> None:
        """What a submit that failed means for its items; raises what means the end of the upload."""
        status = error.status if isinstance(error, APIError) else None
        if status in REFUSED_AS_A_WHOLE or isinstance(error, TooLargeError):
            self._set_refused_apart(part, error)
            return
        if isinstance(error, HOPELESS) or status in WRONG_PLACE:
            raise error
        logger.warning("A batch was not submitted: %s", error, extra=self._labels(None, part))
        if error.may_have_been_sent:
            self._tools.order.give_up(part.keys, None)
        again = self._tools.resource.may_be_sent_again or not error.may_have_been_sent
        reason = "" if again else " It was not sent again: the resource is not marked idempotent."
        not_sent = not error.may_have_been_sent
        self._finish(part, unknown(part, f"{error}{reason}", not_sent=not_sent, resent=self._delivery.in_doubt))

    def _set_refused_apart(self, part: Chunk, error: QuartileError) -> None:
        refused = refused_items(error, len(part))
        if not refused and len(part) > 1:  # it points nowhere: halve until it does
            half = len(part) // 2
            self._replace_first(part.select(range(half)), part.select(range(half, len(part))))
            return
        refused = refused or {0: error.message if isinstance(error, APIError) else str(error)}
        self._replace_first(part.select([position for position in range(len(part)) if position not in refused]))
        who = "Refused by the server" if isinstance(error, APIError) else "Not sent"
        self._deliver([self._refusal(part, position, f"{who}: {why}") for position, why in sorted(refused.items())])

    def _replace_first(self, *parts: Chunk) -> None:
        """These go out instead of the part that is under way."""
        for part in parts:
            part.in_doubt = self._delivery.in_doubt
        self._pending[:1] = [part for part in parts if len(part)]
        self._delivery = Delivery(in_doubt=self._delivery.in_doubt)

    def _refusal(self, part: Chunk, position: int, message: str) -> ItemResult[Any]:
        index, item = part.indexes[position], part.items[position]
        if not self._delivery.in_doubt:
            return ItemResult(index, item, Outcome.REJECTED, message)
        message += " But an earlier try, whose answer was lost, may have been taken."
        return ItemResult(index, item, Outcome.UNKNOWN, message, resent=True)

    def _finish(self, part: Chunk, results: Results) -> None:
        if self._older:
            for result, key in zip(results, part.keys, strict=True):
                if key in self._older:
                    result.message = f"{result.message} {self._older[key]}".lstrip()
        del self._pending[0]
        self._deliver(results)

    def _remember_what_was_left(self) -> None:
        """Where the upload was left while the batch is alive, newer writes to its keys are told."""
        if self._pending and (self._delivery.batch_id or self._delivery.may_have_arrived):
            self._tools.order.give_up(self._pending[0].keys, self._delivery.batch_id)

    def _labels(self, batch_id: str | None, part: Chunk) -> dict[str, object]:
        return {**self._tools.labels, "batch_id": batch_id, "items": len(part)}


def unknown(
    chunk: Chunk, message: str, *, batch_id: str | None = None, not_sent: bool = False, resent: bool = False
) -> Results:
    """An UNKNOWN result for each item of a chunk."""
    return [
        ItemResult(index, item, Outcome.UNKNOWN, message, batch_id=batch_id, not_sent=not_sent, resent=resent)
        for index, item in zip(chunk.indexes, chunk.items, strict=True)
    ]


def _left(part: Chunk, delivery: Delivery) -> Results:
    """Results for a part that was left in this state."""
    if delivery.batch_id is not None:
        message = (
            f"Submitted in batch {delivery.batch_id}, whose end was not awaited. It may complete: ask for it with "
            f"client.wait({delivery.batch_id!r})."
        )
        return unknown(part, message, batch_id=delivery.batch_id, resent=delivery.in_doubt)
    if delivery.may_have_arrived:
        return unknown(part, "The upload was left while this was being submitted; the server may have taken it.")
    return unknown(part, NOT_SENT, not_sent=True)


NOT_SENT = "The upload ended before this was sent. It can be sent again."
