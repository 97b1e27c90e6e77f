from __future__ import annotations

import asyncio

import pytest

from quartile_async._turns import Turns


class Loop:
    """Counts the turns of the running event loop."""

    def __init__(self) -> None:
        self.turn = 0
        self._loop = asyncio.get_running_loop()
        self._next()

    def _next(self) -> None:
        self.turn += 1
        self._handle = self._loop.call_soon(self._next)

    def stop(self) -> None:
        self._handle.cancel()


async def passing(turns: Turns, count: int) -> list[tuple[int, int]]:
    """Who passed in which turn of the loop, of so many that come at once."""
    loop, passed = Loop(), []

    async def one(number: int) -> None:
        await turns.next()
        passed.append((number, loop.turn))

    await asyncio.gather(*[one(number) for number in range(count)])
    loop.stop()
    return passed


@pytest.mark.parametrize("at_once", [1, 3])
async def test_so_many_pass_in_each_turn_of_the_loop_in_the_order_of_coming(at_once: int) -> None:
    passed = await passing(Turns(lambda: at_once), 10)

    assert [number for number, _ in passed] == list(range(10))
    first = passed[0][1]
    in_turn = [sum(turn == first + after for _, turn in passed) for after in range(12)]
    assert max(in_turn) == at_once
    assert sum(in_turn) == 10, "and none is passed over"


async def test_who_comes_alone_does_not_wait() -> None:
    turns, loop = Turns(lambda: 1), Loop()
    for _ in range(3):
        before = loop.turn
        await turns.next()
        assert loop.turn == before
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    loop.stop()


async def test_who_is_cancelled_costs_nobody_a_turn() -> None:
    turns = Turns(lambda: 1)
    tasks = [asyncio.ensure_future(turns.next()) for _ in range(5)]
    await asyncio.sleep(0)  # the first has passed
    tasks[1].cancel()
    tasks[3].cancel()

    async with asyncio.timeout(5):
        await asyncio.wait(tasks)

    assert [task.cancelled() for task in tasks] == [False, True, False, True, False]
    await asyncio.sleep(0)
    async with asyncio.timeout(5):
        await turns.next()


async def test_how_many_may_pass_may_change_meanwhile() -> None:
    allowed = [1]
    turns = Turns(lambda: allowed[0])
    tasks = [asyncio.ensure_future(turns.next()) for _ in range(5)]
    await asyncio.sleep(0)
    assert sum(task.done() for task in tasks) == 1
    allowed[0] = 10
    for _ in range(3):
        await asyncio.sleep(0)
    assert all(task.done() for task in tasks)
