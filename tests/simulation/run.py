"""One seed, from drawing its world to checking it."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import random
import warnings
from unittest import mock

from .checks import check
from .virtual import EPOCH, ONE_DAY, run_virtually
from .world import World, drawn


def simulated(seed: int, *, trace: bool = False) -> World:
    """Lives through the world of a seed and checks it.

    Raises:
        AssertionError: a promise was broken.
    """
    random.seed(seed)  # the client's jitter
    logger = logging.getLogger("quartile_async")
    level = logger.level
    logger.setLevel(logging.DEBUG if trace else logging.CRITICAL)
    try:
        with (
            warnings.catch_warnings(),
            mock.patch("quartile_async._client.wall_clock", _wall_clock),
        ):
            warnings.simplefilter("error")
            return run_virtually(lambda: _lived(seed, trace=trace))
    finally:
        logger.setLevel(level)


def _wall_clock() -> float:
    return EPOCH + asyncio.get_running_loop().time()


async def _lived(seed: int, *, trace: bool) -> World:
    world = drawn(seed)
    try:
        await world.live()
    finally:
        if trace:
            print(*history(world), sep="\n")
    await asyncio.sleep(ONE_DAY)  # until the server has ended all that it has taken
    check(world)
    return world


def history(world: World) -> list[str]:
    """Each request, a line."""
    return [
        f"{each.sent_at:10.3f} {each.method:5} {each.path} {each.status or 'lost'} {each.pause or ''}".rstrip()
        for each in world.http.seen
    ]


def digest(world: World) -> str:
    """The same for the same history."""
    return hashlib.sha256("\n".join(history(world)).encode()).hexdigest()
