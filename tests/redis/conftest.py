"""One redis-server for each worker of the tests, empty at the beginning of each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from blockbuster import BlockBuster

from quartile_async._shared import terms

from .server import REDIS, RedisServer

WHY = "redis-server is not installed (Debian: apt-get install redis-server)"


@pytest.fixture(scope="session")
def only_redis_server() -> Iterator[RedisServer]:
    if REDIS is None:
        pytest.skip(WHY)
    with RedisServer() as server:
        yield server


@pytest.fixture(autouse=True)
def all_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody else may still hold slots of a quota that is new: each test begins with an empty Redis."""
    monkeypatch.setattr(terms, "RETURN_TIME", 0.0)


@pytest.fixture
def may_block(blocking_calls_are_caught: BlockBuster) -> None:
    """A client of one's own may: redis-py looks up its own version, and reads certificates."""
    blocking_calls_are_caught.deactivate()


@pytest.fixture
def server(only_redis_server: RedisServer) -> RedisServer:
    """Shared with other tests; whoever restarts or freezes it, takes one of its own."""
    only_redis_server.say("FLUSHALL")
    return only_redis_server


@pytest.fixture
def own_server() -> Iterator[RedisServer]:
    if REDIS is None:
        pytest.skip(WHY)
    with RedisServer() as server:
        yield server
