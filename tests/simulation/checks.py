"""What must hold after each simulated world, whatever its faults."""

from __future__ import annotations

from itertools import groupby
from typing import Any

from quartile_async import ItemResult, Outcome
from quartile_async.emulator import Batch

from .world import ONCE, Story, World


def check(world: World) -> None:
    """Raises AssertionError where a promise is broken."""
    assert not world.emulator.violations, world.emulator.violations[:3]
    assert not world.tasks_left, world.tasks_left
    slots = world.client._traffic.slots
    assert slots.in_use == 0
    assert not world.client._traffic.outage.is_on
    assert all(not order._last for order in world.client._shared.orders.values()), "a key is still held"
    # One more for each account: its tokens are asked for beside the requests that wait for them.
    assert world.http.most_open <= slots.limit + 1 + len(world.accounts)
    _check_the_gate(world)
    taken = _taken(world)
    for story in world.stories:
        _check_accounting(story)
        for result in _all_results(story):
            _check_truth(result, taken.get(_mark(result.item), []), story)
    _check_order(world, taken)
    if all(result.outcome is not Outcome.UNKNOWN for story in world.stories for result in _all_results(story)):
        assert not world.emulator.overlaps, world.emulator.overlaps[:3]


def _check_accounting(story: Story) -> None:
    if story.upload is None:
        return
    read = story.upload.progress.read
    indexes = sorted(result.index for result in _all_results(story))
    assert indexes == list(range(read)), f"{story.how}: {len(indexes)} results for {read} items"
    assert all(result.outcome is Outcome.UNKNOWN for result in story.upload.unaccounted)
    if story.ended_by_itself:
        assert len(story.got) == len(story.items)
        assert not story.upload.unaccounted
    for result in _all_results(story):
        assert result.item is story.items[result.index]


def _check_truth(result: ItemResult[Any], batches: list[tuple[Batch, int]], story: Story) -> None:
    """A result says what the server did, and a claim that it did nothing is true."""
    if result.outcome in (Outcome.SUCCEEDED, Outcome.FAILED):
        batch, position = next((each for each in batches if each[0].id == result.batch_id), (None, 0))
        assert batch is not None, "an outcome without a batch"
        assert batch.ended
        assert (result.outcome is Outcome.FAILED) == (position in batch.failures)
        if result.outcome is Outcome.FAILED:
            assert result.message.startswith(batch.failures[position])
    # A try that was seen to fail left nothing behind, and is followed by another one.
    open_ones = [each for each in batches if result.tries == 1 or not _failed(each)]
    if result.outcome is Outcome.REJECTED or result.not_sent:
        assert not open_ones, f"{result.message!r}, and it was taken"
    _check_tries(result, batches, story)
    if result.not_sent:
        assert result.outcome is Outcome.UNKNOWN
        assert result.batch_id is None
    if result.outcome is Outcome.UNKNOWN:
        assert result.message
        assert result.batch_id is None or result.batch_id in {batch.id for batch, _ in batches}
    if story.resource is ONCE:
        assert len(batches) - sum(map(_failed, batches)) <= 1, "sent twice, and not marked idempotent"
        assert len(batches) <= story.most_tries, "sent more often than it may be"


def _check_tries(result: ItemResult[Any], batches: list[tuple[Batch, int]], story: Story) -> None:
    """A result is the last one, and says how many there were."""
    assert 1 <= result.tries <= story.most_tries
    if result.outcome in (Outcome.SUCCEEDED, Outcome.FAILED):
        assert result.resent or result.tries <= len(batches)
        # Whether a try was taken whose answer was lost, a later one of the same item does not tell.
        if len(batches) == result.tries:
            assert batches[-1][0].id == result.batch_id, "not the last try"
            assert all(map(_failed, batches[:-1])), "sent again after it had not failed"


def _check_order(world: World, taken: dict[float, list[tuple[Batch, int]]]) -> None:
    """The writes of a key come in the input's order, and none again after another one, in whichever upload that is."""
    sent: dict[Any, list[tuple[int, int, int]]] = {}
    for number, story in enumerate(world.stories):
        for result in _all_results(story):
            for batch, position in taken.get(_mark(result.item), []):
                key = (story.account, story.resource.path, batch.items[position]["asin"].casefold())
                sent.setdefault(key, []).append((batch.number, number, result.index))
    for key, writes in sent.items():
        order = list(dict.fromkeys((number, index) for _, number, index in sorted(writes)))
        assert [each for each, _ in groupby(write[1:] for write in sorted(writes))] == order, f"{key}: {writes}"
        for number in range(len(world.stories)):
            indexes = [index for which, index in order if which == number]
            assert indexes == sorted(indexes), f"{key}: {indexes}"


def _failed(taken: tuple[Batch, int]) -> bool:
    batch, position = taken
    return position in batch.failures


def _check_the_gate(world: World) -> None:
    """From a 429 until the time that it names, no request goes out."""
    sent = sorted(exchange.sent_at for exchange in world.http.seen)
    for exchange in world.http.seen:
        if exchange.pause is None or exchange.answered_at is None or exchange.pause > 300.0:
            continue
        wasted = [at for at in sent if exchange.answered_at < at < exchange.answered_at + exchange.pause - 1e-3]
        assert not wasted, f"closed from {exchange.answered_at} for {exchange.pause} s: {wasted[:3]}"


def _all_results(story: Story) -> list[ItemResult[Any]]:
    return story.got + (story.upload.unaccounted if story.upload is not None else [])


def _taken(world: World) -> dict[float, list[tuple[Batch, int]]]:
    """The batches that hold an item, by the item's mark."""
    taken: dict[float, list[tuple[Batch, int]]] = {}
    for batch in world.emulator.batches:
        for position, item in enumerate(batch.items):
            taken.setdefault(item["percACoS"], []).append((batch, position))
    return taken


def _mark(item: Any) -> float:
    return float(item["percACoS"]) if isinstance(item, dict) else -1.0
