"""What every test is watched for: calls that block the event loop, and tasks that outlive the test."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
from blockbuster import BlockBuster, blockbuster_ctx
from hypothesis import HealthCheck, settings

pytest_plugins = ["pytester"]

# Machines differ, and so does one machine from moment to moment: a slow example is no failure.
settings.register_profile("default", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("default")


def pytest_configure() -> None:
    # Otherwise looptime's plugin, asking for a loop before a synchronous test, makes one that nobody closes.
    asyncio.set_event_loop(None)


@pytest.fixture(autouse=True)
def blocking_calls_are_caught() -> Iterator[BlockBuster]:
    """A blocking call within the library, made on an event loop, raises."""
    with blockbuster_ctx("quartile_async") as blockbuster:
        yield blockbuster


@pytest_asyncio.fixture
async def no_task_is_left() -> AsyncIterator[None]:
    """Fails where the test leaves a task behind."""
    before = asyncio.all_tasks()
    yield
    left = asyncio.all_tasks() - before - {asyncio.current_task()}
    assert not left, f"left behind: {left}"
