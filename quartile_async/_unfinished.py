"""What is told of items whose batch has not said what became of them, or that have failed before. No I/O."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeAlias

from ._chunking import Chunk
from ._delivery import Delivery
from ._results import ItemResult, Outcome

Results: TypeAlias = list[ItemResult[Any]]

Failures: TypeAlias = dict[int, ItemResult[Any]]
"""Index -> the last result of an item that has failed."""


def unknown(
    chunk: Chunk, message: str, *, batch_id: str | None = None, not_sent: bool = False, resent: bool = False
) -> Results:
    """An UNKNOWN result for each item of a chunk."""
    return [
        ItemResult(index, item, Outcome.UNKNOWN, message, batch_id=batch_id, not_sent=not_sent, resent=resent)
        for index, item in zip(chunk.indexes, chunk.items, strict=True)
    ]


def count_tries(results: Results, failures: Failures) -> None:
    """What is told of an item that has failed before says so, and what became of its earlier tries."""
    for result in results:
        failure = failures.get(result.index)
        if failure is None or result.not_sent:
            continue
        result.tries = failure.tries + 1
        if failure.resent:
            result.resent = True
            if result.outcome is Outcome.REJECTED:
                result.outcome, result.message = Outcome.UNKNOWN, f"{result.message} {MAYBE_TAKEN}"


def with_failures(
    results: Results, failures: Failures, told: Callable[[ItemResult[Any], str], ItemResult[Any]]
) -> Results:
    """The same, but what has failed before, and was not sent again for some reason, is told by its failure."""
    return [
        told(failures[result.index], result.message) if result.not_sent and result.index in failures else result
        for result in results
    ]


def could_not_be_sent_again(failure: ItemResult[Any], why: str) -> ItemResult[Any]:
    """It has still failed."""
    return replace(failure, message=f"{failure.message} It could not be sent again: {why}".lstrip())


def not_sent_again(failure: ItemResult[Any], why: str = "") -> ItemResult[Any]:
    """What is known of an item when the upload has ended before it was sent again."""
    words = f": {failure.message}" if failure.message else "."
    message = f"The upload ended before this was sent again. It had failed in batch {failure.batch_id}{words}"
    return replace(failure, outcome=Outcome.UNKNOWN, message=message)


def delivery_of(part: Chunk) -> Delivery:
    """What is known of a part's earlier tries."""
    return Delivery(in_doubt=part.in_doubt, batch_id=part.batch_id)


def left(part: Chunk, delivery: Delivery | None = None) -> Results:
    """Results for a part that was left in this state; None: before it was taken up in this run."""
    results = _left(part, delivery or delivery_of(part))
    if part.failures is None:
        return results
    count_tries(results, part.failures)
    return with_failures(results, part.failures, not_sent_again)


def _left(part: Chunk, delivery: Delivery) -> Results:
    if part.known is not None:
        return part.known
    if delivery.batch_id is not None:
        message = (
            f"Submitted in batch {delivery.batch_id}, whose end was not awaited. It may complete: ask for it with "
            f"client.wait({delivery.batch_id!r})."
        )
        return unknown(part, message, batch_id=delivery.batch_id, resent=delivery.in_doubt)
    if delivery.may_have_arrived:
        return unknown(part, "The upload was left while this was being submitted; the server may have taken it.")
    return unknown(part, NOT_SENT, not_sent=True)


MAYBE_SENT = "An earlier run ended when it was about to send this, or had; the server may have taken it."
MAYBE_TAKEN = "But an earlier try, whose answer was lost, may have been taken."
NOT_AGAIN = "It was not sent again: the resource is not marked idempotent."
NOT_SENT = "The upload ended before this was sent. It can be sent again."
