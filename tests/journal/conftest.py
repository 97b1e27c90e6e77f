"""What tests of the journal need."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from blockbuster import BlockBuster

from quartile_async import QuartileClient
from quartile_async.emulator import Emulator

from ..behaviour.conftest import client_for


@pytest.fixture
def disk_on_the_loop(blocking_calls_are_caught: BlockBuster) -> None:
    """In virtual time the journal's thread is played by the event loop itself, and may use the disk there."""
    blocking_calls_are_caught.deactivate()


@pytest_asyncio.fixture
async def emulator() -> AsyncIterator[Emulator]:
    async with Emulator(processing=0.01) as emulator:
        yield emulator
        assert emulator.violations == []


@pytest_asyncio.fixture
async def client(emulator: Emulator) -> AsyncIterator[QuartileClient]:
    async with client_for(emulator) as client:
        yield client
