"""One chunk from its submit to its results: set refused items apart, wait, match rows."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from ._answers import UnusableEndError
from ._api import Api, TooLargeError, refused_items
from ._chunking import Chunk
from ._delivery import Delivery
from ._errors import APIError, QuartileError
from ._matching import Matched, match
from ._ordering import KeyOrder
from ._recording import Recorder
from ._resources import Resource
from ._results import BatchStatus, ItemResult, Outcome
from ._unfinished import (
    MAYBE_SENT,
    MAYBE_TAKEN,
    NOT_AGAIN,
    Results,
    could_not_be_sent_again,
    count_tries,
    delivery_of,
    left,
    unknown,
    with_failures,
)
from ._waiting import HOPELESS, BatchGivenUpError, BatchWait

if TYPE_CHECKING:
    from ._traces import BatchTrace, UploadTrace

LAST_MOMENT = 2.0
"""Seconds that a submit on the wire gets to reveal its batch's id when the upload is left."""

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
    recorder: Recorder
    counts: BatchCounts
    labels: dict[str, object]
    """Stands in the log records' `extra`: account and resource."""


class BatchRun:
    """A chunk under way. It is one batch, unless the server refuses items: then the rest goes out after it.

    Args:
        deliver: is handed results once they are written down.
        settled: called when nothing more will be asked of the server; results may still have to be written down.
        traces: follows each batch, where somebody does.
        send_again: takes the items that have failed and are sent again, of results that are about to be final; gives
            their positions. None: nothing is sent again.
    """

    def __init__(
        self,
        chunk: Chunk,
        tools: BatchTools,
        *,
        deliver: Callable[[Results], object],
        settled: Callable[[], object],
        traces: UploadTrace | None = None,
        send_again: Callable[[Chunk, Results], list[int]] | None = None,
    ) -> None:
        self._tools = tools
        self._deliver = deliver
        self._settled = settled
        self._traces = traces
        self._send_again = send_again
        self._trace: BatchTrace | None = None
        self._pending = [chunk]
        """The parts without results yet; the first one is under way."""
        self._delivery = delivery_of(chunk)
        self._end_is_told = True
        self._older = tools.order.older_writes(chunk.keys)

    async def run(self) -> None:
        """Ends when each item has its result.

        Raises:
            QuartileError: one that no other batch of the upload can survive.
        """
        try:
            while self._pending:
                await (self._run_part if self._traces is None else self._run_traced)(self._pending[0])
        finally:
            self._remember_what_was_left()

    def leave(self, task: asyncio.Task[None]) -> None:
        """The upload is left: ends the task that this runs in, and sends no more.

        A submit on the wire gets a moment, since its answer has the batch's id.
        """
        self._delivery.is_left = True
        if self._delivery.on_the_wire:
            moment = asyncio.get_running_loop().call_later(LAST_MOMENT, task.cancel)
            task.add_done_callback(lambda _: moment.cancel())
        else:
            task.cancel()

    @property
    def unaccounted(self) -> Results:
        """A result for each item that has none yet, true at this moment."""
        results: Results = []
        for place, part in enumerate(self._pending):
            results += left(part, delivery_of(part) if place else self._delivery)
        return results

    async def _run_traced(self, part: Chunk) -> None:
        """The same as `_run_part`, followed by a trace."""
        assert self._traces is not None
        self._trace = trace = self._traces.batch(len(part), resumed=part.batch_id is not None)
        try:
            await self._run_part(part)
        except BaseException as error:
            trace.ended(self._delivery.batch_id, resent=self._delivery.in_doubt, error=error)
            raise
        trace.ended(self._delivery.batch_id, resent=self._delivery.in_doubt)

    async def _run_part(self, part: Chunk) -> None:
        self._delivery = delivery_of(part)
        self._end_is_told = False
        if part.known is not None:
            await self._ask_once_more(part, part.known)
        elif part.batch_id is not None:
            await self._wait_for_end(part, part.batch_id)
        elif part.in_doubt and not self._tools.resource.may_be_sent_again:
            self._tools.order.give_up(part.keys, None)
            await self._finish(part, unknown(part, f"{MAYBE_SENT} {NOT_AGAIN}"))
        else:
            await self._submit(part)

    async def _submit(self, part: Chunk) -> None:
        resource = self._tools.resource
        body = part.encode()
        await self._tools.recorder.intend(part)
        self._delivery.hold = self._tools.recorder.hold
        try:
            batch_id = await self._tools.api.submit(resource, body, len(part), self._delivery, patient=True)
        except QuartileError as error:
            await self._handle_refusal(part, error)
            return
        self._tools.counts.submitted += 1
        if logger.isEnabledFor(logging.INFO):  # else the labels would be made for nothing
            logger.info("Batch %s: %d items submitted.", batch_id, len(part), extra=self._labels(batch_id, part))
        if (written := self._tools.recorder.taken(part, self._delivery)) is not None:
            await written  # it is not asked for before
        await self._wait_for_end(part, batch_id)

    async def _ask_once_more(self, part: Chunk, known: Results) -> None:
        """An earlier run gave this batch up. Perhaps it has ended meanwhile."""
        assert part.batch_id is not None
        fitting: list[Matched] = []
        try:
            await self._tools.api.get_batch(
                part.batch_id, self._tools.resource, lambda status: self._check_end(part, status, fitting), patient=True
            )
        except HOPELESS:
            raise
        except QuartileError as error:
            logger.info("Batch %s: %s", part.batch_id, error, extra=self._labels(part.batch_id, part))
        if fitting:
            await self._finish(part, self._ended(part, part.batch_id, fitting[-1]), status=fitting[-1].status)
            return
        if self._trace is not None:
            self._trace.results(known, replayed=True)
        self._tell_end(known)
        self._tools.order.give_up(part.keys, part.batch_id)
        del self._pending[0]
        self._deliver(known)

    async def _wait_for_end(self, part: Chunk, batch_id: str) -> None:
        """Ends when a batch that was taken, now or in an earlier run, has ended, or is given up."""
        fitting: list[Matched] = []
        try:
            await self._tools.wait.until_finished(
                batch_id, lambda status: self._check_end(part, status, fitting), since=self._delivery.taken_at
            )
        except HOPELESS:
            raise
        except QuartileError as error:
            logger.warning("Batch %s: %s", batch_id, error, extra=self._labels(batch_id, part))
            if self._trace is not None:
                self._trace.failed(error)
            given_up = isinstance(error, BatchGivenUpError)
            if given_up:
                self._tools.order.give_up(part.keys, batch_id)
            results = unknown(part, str(error), batch_id=batch_id, resent=self._delivery.in_doubt)
            await self._finish(part, results, final=not given_up)
            return
        await self._finish(part, self._ended(part, batch_id, fitting[-1]), status=fitting[-1].status)

    def _check_end(self, part: Chunk, status: BatchStatus, fitting: list[Matched]) -> None:
        """Raises where the end of a batch cannot be used; else, keeps what it says."""
        if status.finished:
            fitting.append(self._matched(part, status))

    def _ended(self, part: Chunk, batch_id: str, matched: Matched) -> Results:
        self._tools.counts.finished += 1
        self._tools.counts.foreign_rows += matched.foreign_rows
        if logger.isEnabledFor(logging.INFO):
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

    async def _handle_refusal(self, part: Chunk, error: QuartileError) -> None:
        """What a submit that failed means for its items; raises what means the end of the upload."""
        if self._trace is not None:
            self._trace.failed(error)
        status = error.status if isinstance(error, APIError) else None
        if status in REFUSED_AS_A_WHOLE or isinstance(error, TooLargeError):
            await self._set_refused_apart(part, error)
            return
        if isinstance(error, HOPELESS) or status in WRONG_PLACE:
            raise error
        logger.warning("A batch was not submitted: %s", error, extra=self._labels(None, part))
        if error.may_have_been_sent:
            self._tools.order.give_up(part.keys, None)
        again = self._tools.resource.may_be_sent_again or not error.may_have_been_sent
        reason = "" if again else f" {NOT_AGAIN}"
        not_sent = not error.may_have_been_sent
        results = unknown(part, f"{error}{reason}", not_sent=not_sent, resent=self._delivery.in_doubt)
        await self._finish(part, results)

    async def _set_refused_apart(self, part: Chunk, error: QuartileError) -> None:
        refused = refused_items(error, len(part))
        if not refused and len(part) > 1:  # it points nowhere: halve until it does
            half = len(part) // 2
            await self._replace_first([], part.select(range(half)), part.select(range(half, len(part))))
            return
        refused = refused or {0: error.message if isinstance(error, APIError) else str(error)}
        who = "Refused by the server" if isinstance(error, APIError) else "Not sent"
        results = [self._refusal(part, position, f"{who}: {why}") for position, why in sorted(refused.items())]
        if part.failures:
            count_tries(results, part.failures)
        others = part.select([position for position in range(len(part)) if position not in refused])
        await self._replace_first(results, others)

    async def _replace_first(self, results: Results, *parts: Chunk) -> None:
        """Some of the part that is under way have these results, and these parts go out instead of the others."""
        for part in parts:
            part.in_doubt = self._delivery.in_doubt
        remaining = [part for part in parts if len(part)]
        await self._tools.recorder.set_apart(self._pending[0], remaining, results)
        self._pending[:1] = remaining
        self._delivery = Delivery(in_doubt=self._delivery.in_doubt)
        if results:
            if self._trace is not None:
                self._trace.results(results)
            self._deliver(results)

    def _refusal(self, part: Chunk, position: int, message: str) -> ItemResult[Any]:
        index, item = part.indexes[position], part.items[position]
        if not self._delivery.in_doubt:
            return ItemResult(index, item, Outcome.REJECTED, message)
        return ItemResult(index, item, Outcome.UNKNOWN, f"{message} {MAYBE_TAKEN}", resent=True)

    async def _finish(self, part: Chunk, results: Results, *, final: bool = True, status: str | None = None) -> None:
        if part.failures:
            count_tries(results, part.failures)
        if self._older:
            for result, key in zip(results, part.keys, strict=True):
                if key in self._older:
                    result.message = f"{result.message} {self._older[key]}".lstrip()
        if self._trace is not None:
            self._trace.results(results, status)
        if self._tools.api.hook is not None:
            self._tell_end(results, status)
        again = [] if self._send_again is None else self._send_again(part, results)
        if part.failures:
            results = with_failures(results, part.failures, could_not_be_sent_again)
        told = self._keep_others(part, results, again) if again else results
        if len(self._pending) == 1:
            self._settled()
        await self._tools.recorder.ended(part, results, final=final, again=again)
        del self._pending[0]
        if told:
            self._deliver(told)

    def _keep_others(self, part: Chunk, results: Results, again: list[int]) -> Results:
        """The items at these positions have been taken over, and are no longer this batch's."""
        kept = sorted({*range(len(part))} - {*again})
        self._pending[0] = part.without_wires(kept)
        return [results[position] for position in kept]

    def _remember_what_was_left(self) -> None:
        """Where the upload was left while the batch is alive, newer writes to its keys are told, and the next run."""
        if not self._pending:
            return
        if self._tools.api.hook is not None:
            self._tell_end(left(self._pending[0], self._delivery))
        self._tools.recorder.left(self._pending[0], self._delivery)
        if self._delivery.batch_id or self._delivery.may_have_arrived:
            self._tools.order.give_up(self._pending[0].keys, self._delivery.batch_id)

    def _tell_end(self, results: Results, status: str | None = None) -> None:
        """Nothing more will be asked about the batch, if there was one; `status` as in `BatchFinished`."""
        hook, delivery = self._tools.api.hook, self._delivery
        if hook is None or delivery.batch_id is None or self._end_is_told:
            return
        self._end_is_told = True
        age = None if delivery.taken_at is None else asyncio.get_running_loop().time() - delivery.taken_at
        outcomes = (result.outcome for result in results)
        hook.finished(delivery.batch_id, status, outcomes, age, self._tools.resource.path)

    def _labels(self, batch_id: str | None, part: Chunk) -> dict[str, object]:
        return {**self._tools.labels, "batch_id": batch_id, "items": len(part)}
