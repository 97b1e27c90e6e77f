"""The survey of keys with a real Redis: what is kept there, for how long, and what is said where it is lost."""

from __future__ import annotations

import functools
import pickle
import random
import threading
from collections.abc import Callable
from typing import Any

import pytest

from quartile_async import MASTERLIST, JournalError
from quartile_async._dask import survey as survey_module
from quartile_async._dask.chains import chains_of
from quartile_async._dask.parts import Part, Partition
from quartile_async._dask.survey import Survey, forgotten, linked, surveyed

from ..redis.server import RedisServer


def item(number: int, country: str = "US") -> dict[str, Any]:
    return {"asin": f"B0{number:08d}", "countryCode": country, "percACoS": 20.5}


def survey_at(url: str, buckets: int = 4) -> Survey:
    address: Callable[[], str] = functools.partial(str, url)
    return Survey("quartile:survey:test", buckets, MASTERLIST, address)


def part(number: int, account: str | None = None) -> Part:
    return Part(number, account, Partition(number))


def chains_found(survey: Survey, count: int) -> tuple[tuple[int, ...], ...]:
    found = [linked(survey, bucket, range(count)) for bucket in range(survey.buckets)]
    return chains_of(count, [link for each in found for link in each.links])


def test_parts_with_a_key_in_common_are_linked_and_nothing_is_left_in_redis(server: RedisServer) -> None:
    survey = survey_at(server.url)
    contents = [[item(n) for n in range(start, start + 2_500)] for start in (0, 10_000, 20_000, 30_000)]
    contents[3].append(item(10_001))
    contents[2].append(item(10_002, "DE"))  # another key
    contents[1].append(
        {"asin": item(1)["asin"].lower(), "countryCode": "US", "percACoS": 0.5}
    )  # invalid: it has no key

    for number, content in enumerate(contents):
        surveyed(survey, part(number), content)

    assert chains_found(survey, 4) == ((0,), (1, 3), (2,))
    assert server.say("DBSIZE") == b":16\r\n"
    forgotten(survey, range(4), 1)
    assert server.say("DBSIZE") == b":0\r\n"


def test_accounts_share_no_keys(server: RedisServer) -> None:
    survey = survey_at(server.url)
    for number, account in enumerate((None, "acme", "other", "acme")):
        surveyed(survey, part(number, account), [item(1)])

    assert chains_found(survey, 4) == ((0,), (1, 3), (2,))


def test_redis_forgets_the_digests_by_itself(server: RedisServer) -> None:
    survey = survey_at(server.url)
    surveyed(survey, part(0), [])

    for bucket in range(4):
        left = int(server.say("PTTL", survey.key(0, bucket, 0))[1:-2])
        assert 0 < left <= survey_module.KEPT * 1_000


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 5, 200])
def test_a_bucket_of_any_size_is_kept_in_pieces_and_found_whole(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    monkeypatch.setattr(survey_module, "PIECE", 16)
    survey = survey_at(server.url, buckets=1)
    surveyed(survey, part(0), [item(number) for number in range(count)])
    for number in range(1, 1 + count):  # more parts than are asked for at once
        surveyed(survey, part(number), [item(number - 1)])

    found = linked(survey, 0, range(1 + count))

    assert {link for pair in found.links for link in pair} == (set(range(1 + count)) if count else set())
    assert found.pieces == 1 + count // 2
    forgotten(survey, range(1 + count), found.pieces)
    assert server.say("DBSIZE") == b":0\r\n"


def test_a_part_that_is_surveyed_again_after_the_death_of_a_worker_is_what_it_was(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(survey_module, "PIECE", 16)
    survey = survey_at(server.url, buckets=1)
    for _ in range(2):
        surveyed(survey, part(0), [item(number) for number in range(5)])
    surveyed(survey, part(1), [item(4)])

    assert chains_found(survey, 2) == ((0, 1),)
    assert linked(survey, 0, range(2)).pieces == 3


def test_digests_that_redis_has_lost_are_an_error_and_no_plan_without_them(server: RedisServer) -> None:
    survey = survey_at(server.url)
    surveyed(survey, part(0), [item(1)])
    surveyed(survey, part(1), [])
    server.say("DEL", survey.key(1, 2, 0))

    assert linked(survey, 1, range(2)).pieces == 1
    with pytest.raises(JournalError, match=r"has lost digests.*Nothing has been sent.*noeviction"):
        linked(survey, 2, range(2))


def test_redis_may_be_away_for_a_while(own_server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    survey = survey_at(own_server.url)
    surveyed(survey, part(0), [item(1)])
    own_server.stop()
    starting: list[threading.Thread] = []

    def before_the_next_try(*_: float) -> float:
        if not starting:
            starting.append(threading.Thread(target=own_server.start))
            starting[0].start()
        return 0.01

    monkeypatch.setattr(random, "uniform", before_the_next_try)

    surveyed(survey, part(1), [item(1)])

    starting[0].join()
    assert chains_found(survey, 2) == ((0, 1),)


def test_redis_that_stays_away_is_an_error_that_says_what_to_do(
    own_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(survey_module, "PATIENCE", 0.0)
    survey = survey_at(own_server.url)
    own_server.stop()

    with pytest.raises(JournalError, match=r"could not be told, because Redis.*Nothing has been sent.*run the same"):
        surveyed(survey, part(0), [item(1)])
    forgotten(survey, range(2), 1)  # no error: Redis forgets by itself


def test_redis_that_refuses_is_an_error_without_the_password(server: RedisServer) -> None:
    survey = survey_at(server.url.replace("redis://", "redis://:very-secret@"))

    with pytest.raises(JournalError, match="Nothing has been sent") as caught:
        surveyed(survey, part(0), [item(1)])

    assert "very-secret" not in str(caught.value)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)  # noqa: S301  # as it comes to the caller
