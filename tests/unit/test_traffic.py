from __future__ import annotations

import asyncio

import pytest

from quartile_async._traffic import LONGEST_HINT, MOST_PRICE, Signal, Traffic, requests_left, signal_of

in_virtual_time = pytest.mark.looptime


@pytest.mark.parametrize(
    ("signal", "statuses"),
    [
        (Signal.THROUGH, [200, 201, 206, 400, 401, 403, 404, 405, 413, 415, 422]),
        (Signal.FAILED, [301, 302, 307, 308, 425, 500, 501, 502, 505, 599]),
        (Signal.CONGESTED, [408, 503, 504]),
        (Signal.LIMITED, [429]),
    ],
)
def test_what_a_status_says_about_the_server(signal: Signal, statuses: list[int]) -> None:
    assert {signal_of(status) for status in statuses} == {signal}


@pytest.mark.parametrize(
    ("headers", "left"),
    [
        ({}, None),
        ({"RateLimit-Remaining": "12", "RateLimit-Reset": "30"}, (12.0, 30.0)),
        ({"RateLimit-Remaining": "0"}, (0.0, 0.0)),
        ({"RateLimit-Remaining": "0", "RateLimit-Reset": "1.5"}, (0.0, 1.5)),
        ({"RateLimit-Remaining": "-1", "RateLimit-Reset": "30"}, None),
        ({"RateLimit-Remaining": "5", "RateLimit-Reset": "-3"}, None),
        ({"RateLimit-Remaining": "5", "RateLimit-Reset": "inf"}, None),
        ({"RateLimit-Remaining": "nan", "RateLimit-Reset": "3"}, None),
        ({"RateLimit-Remaining": "many", "RateLimit-Reset": "3"}, None),
        ({"RateLimit-Remaining": "5", "RateLimit-Reset": "soon"}, None),
        ({"RateLimit-Reset": "3"}, None),
    ],
)
def test_hints_are_read_and_nonsense_is_ignored(headers: dict[str, str], left: tuple[float, float] | None) -> None:
    assert requests_left(headers) == left


def traffic_of(limit: int = 16) -> Traffic:
    return Traffic(max_in_flight=limit, outage_limit=300.0)


def now() -> float:
    return asyncio.get_running_loop().time()


@in_virtual_time
async def test_a_hint_that_no_request_is_left_closes_the_gate_until_there_are_more() -> None:
    traffic = traffic_of()
    headers = {"RateLimit-Remaining": "0", "RateLimit-Reset": "7"}
    traffic.note(Signal.THROUGH, sent_at=0.0, headers=headers)
    await traffic.gate.passed()
    assert 7.0 <= now() <= 8.0

    traffic.note(Signal.THROUGH, sent_at=now(), headers=headers | {"RateLimit-Reset": "999999"})
    before = now()
    await traffic.gate.passed()
    assert now() - before <= LONGEST_HINT + 1.0, "a hint is no order"


@in_virtual_time
async def test_polls_are_spaced_out_when_requests_are_scarce_and_come_back_when_they_are_not() -> None:
    traffic = traffic_of()
    await traffic.slots.take(object())
    await traffic.slots.take(object())
    prices = []
    for _ in range(20):
        traffic.note(Signal.THROUGH, sent_at=now(), headers={"RateLimit-Remaining": "1", "RateLimit-Reset": "9"})
        prices.append(traffic.poll_price)
        await asyncio.sleep(1.0)
    assert prices == sorted(prices)
    assert prices[-1] == MOST_PRICE

    for _ in range(200):
        traffic.note(Signal.THROUGH, sent_at=now(), headers={"RateLimit-Remaining": "500", "RateLimit-Reset": "9"})
    assert traffic.poll_price == 1.0


@in_virtual_time
@pytest.mark.parametrize("signal", [Signal.CONGESTED])
async def test_congestion_lowers_the_slots_and_success_raises_them(signal: Signal) -> None:
    traffic = traffic_of()
    for _ in range(16):
        await traffic.slots.take(object())
    for second in range(3):
        traffic.note(signal, sent_at=float(second))
        await asyncio.sleep(1.0)
    assert traffic.slots.allowed == 2
    for _ in range(300):
        traffic.note(Signal.THROUGH, sent_at=now(), headers={})
    assert traffic.slots.allowed == 16


@in_virtual_time
async def test_failures_that_are_no_congestion_leave_the_slots() -> None:
    traffic = traffic_of()
    for _ in range(16):
        await traffic.slots.take(object())
    traffic.note(Signal.FAILED, sent_at=1.0)

    assert traffic.slots.allowed == 16


@in_virtual_time
async def test_a_429_and_a_batch_that_is_overdue_are_congestion_too() -> None:
    traffic = traffic_of()
    for _ in range(16):
        await traffic.slots.take(object())
    assert not traffic.note_limited(3.0, sent_at=0.0)
    assert traffic.slots.allowed == 8
    assert not traffic.gate.is_open
    await asyncio.sleep(5.0)
    traffic.note_overdue()
    assert traffic.slots.allowed == 4


@in_virtual_time
async def test_nothing_but_429s_for_longer_than_the_outage_limit_is_hopeless() -> None:
    traffic = traffic_of()
    answers = []
    for _ in range(4):
        answers.append(traffic.note_limited(110.0, sent_at=now()))
        await asyncio.sleep(110.0)

    assert answers == [False, False, False, True]
