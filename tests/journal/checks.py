"""What must hold of an upload over all its runs."""

from __future__ import annotations

from typing import Any

from quartile_async import MASTERLIST, ItemResult, Outcome
from quartile_async.emulator import Batch

from .machine import Ordeal, Run


def seen(result: ItemResult[Any]) -> tuple[object, ...]:
    """What of a result must be the same however often it is told."""
    return (
        result.index,
        result.outcome,
        result.message,
        result.process,
        result.id,
        result.batch_id,
        result.not_sent,
        result.resent,
        result.tries,
    )


def check_run(run: Run, items: list[Any]) -> None:
    """Each item that was read has one result, on the item as it was passed in."""
    told = [*run.results, *run.unaccounted]
    indexes = sorted(result.index for result in told)
    assert len(indexes) == len(set(indexes))
    assert all(result.item is items[result.index] for result in told)
    if run.died:  # there is nobody left who could tell of the others
        return
    assert indexes == list(range(len(indexes)))
    assert all(result.outcome is Outcome.UNKNOWN and result.message for result in run.unaccounted)


def check_whole(run: Run, items: list[Any]) -> None:
    """The run has given each item its result."""
    assert run.error is None, run.error
    assert not run.unaccounted
    assert len(run.results) == len(items)


def check_ordeal(ordeal: Ordeal) -> None:
    """The results of the last run are true to the server, and to what earlier runs had told."""
    last = ordeal.runs[-1]
    for run in ordeal.runs:
        check_run(run, ordeal.items)
    assert not ordeal.emulator.violations, ordeal.emulator.violations[:3]
    taken = batches_by_mark(ordeal)
    for result in last.results:
        _check_truth(result, _last_of(taken.get(_mark(result.item), []), ordeal))
    if not ordeal.resource.may_be_sent_again:
        assert all(len(batches) <= 1 for batches in taken.values()), "sent twice, and not marked idempotent"
    _check_retold(ordeal.runs)
    _check_state(ordeal, last)


def batches_by_mark(ordeal: Ordeal) -> dict[float, list[tuple[Batch, int]]]:
    """The batches that hold an item; its target tells it apart from all others."""
    taken: dict[float, list[tuple[Batch, int]]] = {}
    for batch in ordeal.emulator.batches:
        for position, item in enumerate(batch.items):
            taken.setdefault(item["percACoS"], []).append((batch, position))
    return taken


def _last_of(batches: list[tuple[Batch, int]], ordeal: Ordeal) -> list[tuple[Batch, int]]:
    """Where failed items are sent again: without the tries that were followed by another one."""
    if ordeal.retry is None:
        return batches
    return [(batch, place) for batch, place in batches[:-1] if place not in batch.failures] + batches[-1:]


def _check_truth(result: ItemResult[Any], batches: list[tuple[Batch, int]]) -> None:
    if result.outcome in (Outcome.SUCCEEDED, Outcome.FAILED):
        batch, position = next(each for each in batches if each[0].id == result.batch_id)
        assert batch.ended
        assert (result.outcome is Outcome.FAILED) == (position in batch.failures)
        assert result.resent or len(batches) == 1, "it was sent twice, and nobody says so"
    if result.outcome is Outcome.REJECTED or result.not_sent:
        assert not batches, f"{result.message!r}, and it was taken"
    if result.outcome is Outcome.UNKNOWN:
        assert result.message
        assert result.batch_id in {None, *(batch.id for batch, _ in batches)}


def _check_retold(runs: list[Run]) -> None:
    """What was told once stays so; only what was UNKNOWN may be learned later."""
    told: dict[int, ItemResult[Any]] = {}
    for run in runs:
        for result in run.results:
            before = told.get(result.index)
            # A machine that read on as if nothing had happened would have told it for the first time, and again.
            assert before is None or result.replayed or before.outcome is Outcome.UNKNOWN
            if before is not None and before.outcome is not Outcome.UNKNOWN:
                assert seen(result) == seen(before)
            told[result.index] = result


def _check_state(ordeal: Ordeal, last: Run) -> None:
    """The server's state is that of the last write to each key, as far as all is known."""
    if ordeal.resource is not MASTERLIST or any(result.outcome is Outcome.UNKNOWN for result in last.results):
        return
    newest: dict[tuple[Any, ...], float] = {}
    for result in sorted(last.results, key=lambda result: result.index):
        if result.ok:
            newest[result.item["asin"], result.item["countryCode"]] = result.item["percACoS"]
    state = {key: item["percACoS"] for key, item in ordeal.emulator.applied.items()}
    assert state == newest


def _mark(item: Any) -> float:
    return float(item["percACoS"]) if isinstance(item, dict) and "percACoS" in item else -1.0
