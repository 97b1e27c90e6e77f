"""The rate limit and tokens that expire, on a clock that the test moves."""

from __future__ import annotations

import pytest

from quartile_async.emulator import Emulator, Fault, RateLimit

from .calls import Direct, items, submit


def test_the_limit_counts_over_a_moving_window() -> None:
    direct = Direct(rate_limit=RateLimit(requests=3, seconds=10.0))
    statuses = []
    for wait in (0.0, 4.0, 4.0, 1.0, 1.0, 1.0, 3.0):  # at 0, 4, 8, 9, 10, 11 and 14 seconds
        direct.clock.move(wait)
        statuses.append(direct.poll("nobody").status)
    assert statuses == [404, 404, 404, 429, 404, 429, 404]
    assert direct.emulator.refused_by_limit == 2


def test_a_refusal_names_the_wait_in_the_header_and_in_the_message() -> None:
    direct = Direct(rate_limit=RateLimit(requests=1, seconds=12.0))
    direct.taken(items(1))
    direct.clock.move(0.5)
    answer = direct.submit(items(1))
    assert (answer.status, answer.headers["Retry-After"]) == (429, "12")
    assert answer.json == {"statusCode": 429, "message": "Rate limit is exceeded. Try again in 12 seconds."}
    assert answer.headers["RateLimit-Remaining"] == "0"
    direct.clock.move(12.0)
    assert direct.submit(items(1)).status == 200
    assert len(direct.emulator.batches) == 2
    assert direct.emulator.violations == []


async def test_hints_about_the_limit_go_with_answers_where_there_is_one() -> None:
    async with Emulator(rate_limit=RateLimit(requests=5, seconds=10.0), clock=lambda: 0.0) as emulator:
        answer = await submit(emulator, items(1))
        hints = {name: value for name, value in answer.headers.items() if name.startswith("RateLimit-")}
        assert hints == {"RateLimit-Limit": "5", "RateLimit-Remaining": "4", "RateLimit-Reset": "10"}
    async with Emulator() as emulator:
        assert not any(name.startswith("RateLimit") for name in (await submit(emulator, items(1))).headers)


def test_a_request_that_never_arrived_does_not_count() -> None:
    direct = Direct(rate_limit=RateLimit(1, 10.0), faults=[Fault(drop="before"), Fault(status=503)])
    assert [direct.submit(items(1)).status for _ in range(3)][1:] == [503, 200]


def test_a_token_expires_and_a_further_one_is_valid() -> None:
    direct = Direct(token_lifetime=60.0)
    assert direct.submit(items(1)).status == 200
    direct.clock.move(60.0)
    answer = direct.submit(items(1))
    assert answer.status == 401
    assert "token" in answer.json["message"]
    token = direct.emulator.issue_token()
    assert direct.ask("PATCH", "/amazon/v2/process/masterlist", items(1), Authorization=f"Bearer {token}").status == 200
    assert direct.emulator.violations == [], "a client cannot know that its token has expired"


def test_a_token_can_be_ended_and_have_a_lifetime_of_its_own() -> None:
    direct = Direct()
    brief = direct.emulator.issue_token(lifetime=1.0)
    path = "/amazon/v2/process/masterlist"
    assert direct.ask("PATCH", path, items(1), Authorization=f"Bearer {brief}").status == 200
    direct.clock.move(1.0)
    assert direct.ask("PATCH", path, items(1), Authorization=f"Bearer {brief}").status == 401
    direct.emulator.expire_token(direct.emulator.access_token)
    assert direct.submit(items(1)).status == 401
    with pytest.raises(ValueError, match="not issued"):
        direct.emulator.expire_token("a.b.c")


def test_a_limit_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="rate limit"):
        RateLimit(requests=0, seconds=1.0)
