"""Many clients and one Redis in virtual time, by seeds; more of them: python -m tests.redis.simulation."""

from __future__ import annotations

import logging

import pytest

pytest.importorskip("lupa")

from .simulation import simulated


@pytest.fixture(autouse=True)
def _quiet() -> None:
    logging.getLogger("quartile_async").setLevel(logging.CRITICAL)


@pytest.mark.parametrize("first", range(0, 200, 20))
def test_all_promises_are_kept_in_worlds_of_chance(first: int) -> None:
    for seed in range(first, first + 20):
        simulated(seed)
