"""What Redis's settings mean for a journal: a table of them, and how records are kept."""

from __future__ import annotations

import pytest

from quartile_async import ConfigurationError, JournalError
from quartile_async._digests import digested
from quartile_async._journal import Ended, Intended, RecordedBatch, Stage, Taken, Void
from quartile_async._shared.journal_durability import Settings, settings_from, warning_about
from quartile_async._shared.journal_records import (
    DIGITS,
    arguments_of,
    behind,
    counts_after,
    items_read_of,
    place_of,
    recorded_batch_of,
)
from quartile_async.redis import RedisJournal

from ..behaviour.conftest import items

SAFE = {"appendonly": "yes", "appendfsync": "always", "no-appendfsync-on-rewrite": "no", "maxmemory": "0"}


@pytest.mark.parametrize(
    ("config", "info", "settings"),
    [
        (SAFE | {"maxmemory-policy": "noeviction"}, "", Settings(True, "always", False, False)),
        (SAFE | {"maxmemory-policy": "allkeys-lru"}, "", Settings(True, "always", False, False)),
        ({"maxmemory": "9", "maxmemory-policy": "allkeys-lru"}, "", Settings(evicts=True)),
        ({"maxmemory": "9", "maxmemory-policy": "volatile-lru"}, "", Settings(evicts=False)),
        ({"appendonly": "no", "appendfsync": "everysec"}, "", Settings(False, "everysec")),
        ({"no-appendfsync-on-rewrite": "yes"}, "", Settings(pauses=True)),
        ({}, "", Settings()),
        ({}, "# Persistence\r\naof_enabled:1\r\n# Memory\r\n", Settings(True)),
        ({}, "aof_enabled:0\r\nmaxmemory:7\r\nmaxmemory_policy:allkeys-random\r\n", Settings(False, evicts=True)),
        ({}, "maxmemory:0\r\nmaxmemory_policy:allkeys-random\r\n", Settings(evicts=False)),
        ({"appendonly": "yes"}, "aof_enabled:0\r\n", Settings(True)),
    ],
)
def test_settings_are_read_from_what_the_user_may_ask_for(
    config: dict[str, str], info: str, settings: Settings
) -> None:
    assert settings_from(config, info) == settings


@pytest.mark.parametrize(
    ("settings", "durability", "words"),
    [
        (Settings(True, "always", False, False), "always", ""),
        (Settings(True, "always", False, False), "aof", ""),
        (Settings(True, "always"), "always", ""),
        (Settings(True, "everysec", False, False), "aof", "once a second (appendfsync everysec)"),
        (Settings(True, "no", False, False), "aof", "half a minute later (appendfsync no)"),
        (Settings(True, "always", True, False), "aof", "no-appendfsync-on-rewrite yes"),
        (Settings(True), "aof", "does not say when it writes to its disk"),
        (Settings(False, "always"), "none", ""),
        (Settings(), "none", ""),
    ],
)
def test_what_may_be_lost_is_said(settings: Settings, durability: str, words: str) -> None:
    said = warning_about(settings, durability, "redis://host")  # type: ignore[arg-type]  # one of them

    assert words in said
    assert bool(said) == bool(words)
    assert not words or ("redis://host" in said and "appendfsync always" in said and "once more" in said)


@pytest.mark.parametrize(
    ("settings", "durability", "words"),
    [
        (Settings(False, "always", False, False), "aof", "appendonly no"),
        (Settings(False), "always", "appendonly no"),
        (Settings(), "aof", "does not say whether it writes its data to a file"),
        (Settings(True, "everysec"), "always", "once a second"),
        (Settings(True), "always", "does not say when"),
        (Settings(True, "always", True), "always", "while it rewrites its file"),
        (Settings(True, "always", False, True), "always", "maxmemory-policy noeviction"),
        (Settings(True, "always", False, True), "none", "maxmemory-policy noeviction"),
    ],
)
def test_a_redis_that_may_lose_more_than_is_asked_is_refused_with_what_to_do(
    settings: Settings, durability: str, words: str
) -> None:
    with pytest.raises(JournalError, match=r"Nothing was sent\. (Set|To lose nothing)") as failure:
        warning_about(settings, durability, "redis://host")  # type: ignore[arg-type]  # one of them

    assert words in str(failure.value)


@pytest.mark.parametrize(
    ("name", "settings", "words"),
    [
        ("", {}, "name='' cannot be used"),
        ("a{b", {}, "cannot be used"),
        ("a\nb", {}, "cannot be used"),
        (7, {}, "name=7 cannot be used"),
        ("x", {"lease": 0.1}, "lease=0.1 cannot be used"),
        ("x", {"lease": float("inf")}, "lease=inf"),
        ("x", {"lease": True}, "lease=True"),
        ("x", {"wait": -1.0}, "wait=-1.0"),
        ("x", {"outage_limit": "1"}, "outage_limit='1'"),
        ("x", {"durability": "rdb"}, "Give 'always', 'aof' or 'none'"),
    ],
)
def test_settings_that_cannot_be_used_are_refused_at_once(name: str, settings: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        RedisJournal("redis://localhost", name, **settings)  # type: ignore[arg-type]  # that is the point


def test_an_address_is_shown_without_its_password() -> None:
    journal = RedisJournal("redis://user:s3cret@host:7/1", "catalogue")
    assert repr(journal) == "RedisJournal('redis://host:7/1', 'catalogue')"
    with pytest.raises(ConfigurationError) as failure:
        RedisJournal("redis://user:s3#cret@host", "catalogue")
    assert "s3" not in str(failure.value)


def test_places_sort_as_the_first_index_and_then_the_number_do() -> None:
    places = [(first, number) for first in (0, 9, 10, 100, 10**11) for number in (1, 2, 10, 99_999_999)]

    written = [place_of(*place) + "[0,100]" for place in places]

    assert sorted(written) == written
    for place, text in zip(places, written, strict=True):
        bound = behind(*place)
        assert bound.startswith("(")
        assert [later for later in written if later > bound[1:]] == written[written.index(text) + 1 :]
    assert behind(-1, 0) == "-"


def test_records_come_back_as_they_were_written() -> None:
    first, second = digested(0, items(100)), digested(100, items(7))
    kept = {name: content for _, name, content in map(arguments_of, (first, second))}

    assert items_read_of(0, [kept[0], kept[100]]) == [first, second]  # type: ignore[list-item]  # bytes

    placed = str(arguments_of(Intended(3, [5, 6, 9]))[2]).encode()
    assert len(placed) > 2 * DIGITS
    assert recorded_batch_of(placed, b"", b"") == RecordedBatch(3, [5, 6, 9], Stage.INTENDED)
    taken = str(arguments_of(Taken(3, "abc", True))[2]).encode()
    assert recorded_batch_of(placed, taken, b"") == RecordedBatch(3, [5, 6, 9], Stage.TAKEN, "abc", True)
    for record, stage, results in (
        (Ended(3, b"[1]"), Stage.ENDED, b"[1]"),
        (Ended(3, b"[1]", final=False), Stage.GIVEN_UP, b"[1]"),
        (Void(3), Stage.VOID, None),
    ):
        end = arguments_of(record)[2]
        assert isinstance(end, bytes)
        assert recorded_batch_of(placed, taken, end) == RecordedBatch(3, [5, 6, 9], stage, "abc", True, results)
    with pytest.raises(ValueError, match="of no kind"):
        recorded_batch_of(placed, b"", b"x")


def test_items_and_batches_are_counted_from_what_is_written() -> None:
    assert counts_after([], 7, 2) == (7, 2)
    assert counts_after([digested(100, items(50)), Intended(4, [0]), Void(3)], 100, 2) == (150, 4)


def test_how_to_switch_it_on_is_said_and_what_only_python_can_is_said_to_be_so() -> None:
    with pytest.raises(JournalError) as failure:
        warning_about(Settings(appends=False), "aof", "redis://host")

    for words in ("redis-cli CONFIG SET appendonly yes", "redis.conf", "redis-server --appendonly yes"):
        assert words in str(failure.value)
    assert "In Python, durability='none'" in str(failure.value)
