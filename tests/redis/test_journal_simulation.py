"""Machines that die and stand still over one journal, by seeds; more: python -m tests.redis.journal_simulation."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator

import pytest
from blockbuster import BlockBuster

from quartile_async._delivery import Delivery
from quartile_async._shared.journal_hold import Hold

from .journal_simulation import World, simulated


@pytest.fixture(autouse=True)
def _quiet(blocking_calls_are_caught: BlockBuster) -> Iterator[None]:
    # The imitation of Redis looks for its interpreter of Lua when it is asked for the first time.
    blocking_calls_are_caught.deactivate()
    logger = logging.getLogger("quartile_async")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    yield
    logger.setLevel(level)


def lived(first: int, count: int) -> list[World]:
    return [simulated(seed) for seed in range(first, first + count)]


@pytest.mark.parametrize("first", [0, pytest.param(100, marks=pytest.mark.slow)])
def test_nobody_writes_or_submits_once_another_has_taken_over_and_no_item_is_lost(first: int) -> None:
    worlds = lived(first, 30 if first == 0 else 200)

    ends = sum((told.ends for world in worlds for told in world.told.values()), Counter[str]())
    assert ends["taken over"] > 0, "there were some who were taken for dead, and lived"
    assert sum(world.redis.fences > 1 for world in worlds) > len(worlds) / 4
    assert sum(machine.is_killed for world in worlds for machine in world.machines) > 0


def test_the_same_seed_lives_the_same_life() -> None:
    lives = [(world.submits, world.redis.commands, world.redis.fences) for world in map(simulated, (7, 7))]
    assert lives[0] == lives[1]


@pytest.mark.slow
@pytest.mark.parametrize("sabotage", ["no check", "a lease without an end"])
def test_a_submit_after_another_has_taken_over_is_caught(sabotage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if sabotage == "no check":
        monkeypatch.setattr(Delivery, "goes_out", lambda self: setattr(self, "on_the_wire", True))
        monkeypatch.setattr(Hold, "is_held", lambda self: True)
    else:
        monkeypatch.setattr(Hold, "is_held", lambda self: self.failure is None)

    with pytest.raises(AssertionError, match="has submitted at"):
        lived(0, 400)
