"""What tests of the journal need."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from blockbuster import BlockBuster

from quartile_async import QuartileClient
from quartile_async.emulator import Emulator
from quartile_async.redis import RedisJournal

from ..behaviour.conftest import client_for
from ..redis.conftest import only_redis_server  # noqa: F401  # a fixture
from ..redis.server import RedisServer


@pytest.fixture
def disk_on_the_loop(blocking_calls_are_caught: BlockBuster) -> None:
    """In virtual time the journal's thread is played by the event loop itself, and may use the disk there."""
    blocking_calls_are_caught.deactivate()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "catalogue.journal"


@pytest.fixture(params=["file", "redis"])
def journal(request: pytest.FixtureRequest, path: Path) -> Any:
    """An empty one: what is promised of a file is promised of Redis, too."""
    if request.param == "file":
        return path
    server: RedisServer = request.getfixturevalue("only_redis_server")
    server.say("FLUSHALL")
    return RedisJournal(server.url, "catalogue", durability="always")


@pytest_asyncio.fixture
async def emulator() -> AsyncIterator[Emulator]:
    async with Emulator(processing=0.01) as emulator:
        yield emulator
        assert emulator.violations == []


@pytest_asyncio.fixture
async def client(emulator: Emulator) -> AsyncIterator[QuartileClient]:
    async with client_for(emulator) as client:
        yield client
