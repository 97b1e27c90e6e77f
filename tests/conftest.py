"""What every test is watched for: calls that block the event loop, and tasks that outlive the test."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
from blockbuster import BlockBuster, blockbuster_ctx
from hypothesis import settings

pytest_plugins = ["pytester"]

# Machines differ, and so does one machine from moment to moment: a slow example is no failure.
settings.register_profile("default", deadline=None)
settings.load_profile("default")


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
