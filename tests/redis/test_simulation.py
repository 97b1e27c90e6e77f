"""Many clients and one Redis in virtual time, by seeds; more of them: python -m tests.redis.simulation."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from blockbuster import BlockBuster

from .simulation import simulated

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _quiet(blocking_calls_are_caught: BlockBuster) -> Iterator[None]:
    # The imitation of Redis looks for its interpreter of Lua when it is asked for the first time.
    blocking_calls_are_caught.deactivate()
    logger = logging.getLogger("quartile_async")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    yield
    logger.setLevel(level)


@pytest.mark.parametrize("first", range(0, 200, 20))
def test_all_promises_are_kept_in_worlds_of_chance(first: int) -> None:
    for seed in range(first, first + 20):
        simulated(seed)
