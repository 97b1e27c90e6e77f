"""The emulator and clients for it, and what is looked for after each test: tasks and connections left behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import psutil
import pytest
import pytest_asyncio

from quartile_async import QuartileClient
from quartile_async.emulator import Emulator


def item(number: int, target: float = 25.0, country: str = "US") -> dict[str, Any]:
    """A valid masterlist item; each number is another product."""
    return {"asin": f"B0{number:08d}", "countryCode": country, "percACoS": target}


def items(count: int) -> list[dict[str, Any]]:
    return [item(number) for number in range(count)]


def client_for(emulator: Emulator, **settings: Any) -> QuartileClient:
    """A client of the emulator; `settings` win."""
    return QuartileClient(
        **{
            "subscription_key": emulator.subscription_key,
            "auth": emulator.access_token,
            "base_url": emulator.url,
            **settings,
        }
    )


async def until(condition: Callable[[], object], seconds: float = 5.0) -> None:
    """Waits for what must become true soon; fails where it does not."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.001)


def connections_to(emulator: Emulator) -> int:
    """How many sockets of this process are connected to the emulator."""
    port = int(emulator.url.rsplit(":", 1)[1])
    return sum(1 for each in psutil.Process().net_connections("tcp") if each.raddr and each.raddr.port == port)


@asynccontextmanager
async def nothing_is_left(emulator: Emulator) -> AsyncIterator[None]:
    """Fails where the block leaves a task, a connection or a descriptor, or where a request comes after it."""
    process = psutil.Process()
    server_tasks = asyncio.all_tasks()
    descriptors = process.num_fds()
    yield
    requests = len(emulator.requests)
    left = {task for task in asyncio.all_tasks() - server_tasks if "quartile_async" in task.get_name()}
    assert not left, f"tasks left behind: {left}"
    await asyncio.sleep(0.05)  # long enough for a stray request, and for the server to notice what was closed
    assert connections_to(emulator) == 0
    assert process.num_fds() <= descriptors
    assert len(emulator.requests) == requests, "a request came after the end"


@pytest_asyncio.fixture
async def emulator() -> AsyncIterator[Emulator]:
    """Answers at once, and ends a batch soon."""
    async with Emulator(processing=0.01) as emulator:
        yield emulator


@pytest_asyncio.fixture
async def client(emulator: Emulator) -> AsyncIterator[QuartileClient]:
    async with client_for(emulator) as client:
        yield client


@pytest.fixture(autouse=True)
def no_violations(request: pytest.FixtureRequest) -> Any:
    """The client never sends what the contract forbids."""
    yield
    emulator = request.node.funcargs.get("emulator")
    if emulator is not None and not request.node.get_closest_marker("violates"):
        assert emulator.violations == []
