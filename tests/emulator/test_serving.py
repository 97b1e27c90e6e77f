"""Starting and stopping, on the running loop and on a thread."""

from __future__ import annotations

import asyncio
import gc
import json
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from typing import Any

import aiohttp
import psutil
import pytest

from quartile_async.emulator import Emulator, Fault, ThreadedEmulator

from .calls import SUBMIT, good_headers, item, items, poll, submit


def post(emulator: ThreadedEmulator, content: Any) -> Any:
    """A submit by the standard library, from a synchronous test."""
    request = urllib.request.Request(
        emulator.url + SUBMIT, json.dumps(content).encode(), good_headers(emulator), method="PATCH"
    )
    with urllib.request.urlopen(request) as response:
        return json.load(response)


async def test_leaving_takes_every_task_and_socket_along_and_does_not_wait() -> None:
    asyncio.get_running_loop().set_debug(True)
    tasks, descriptors = asyncio.all_tasks(), psutil.Process().num_fds()
    emulator = Emulator(processing=60.0)
    async with emulator:
        await submit(emulator, items(1))
        emulator.add(Fault(delay=60.0, times=None))
        waiting = asyncio.create_task(submit(emulator, items(2)))
        while len(emulator.requests) < 2:
            await asyncio.sleep(0.001)
        started = time.monotonic()
    assert time.monotonic() - started < 2.0
    with pytest.raises(aiohttp.ClientConnectionError):
        await waiting
    gc.collect()
    assert asyncio.all_tasks() == tasks
    assert psutil.Process().num_fds() <= descriptors


async def test_an_emulator_that_is_entered_again_goes_on_at_the_same_address() -> None:
    emulator = Emulator(processing=0.0)
    async with emulator:
        url = emulator.url
        batch_id = (await submit(emulator, items(1))).json["batchId"]
    async with emulator:
        assert emulator.url == url
        assert (await poll(emulator, batch_id)).status == 200
    assert len(emulator.requests) == 2


async def test_an_emulator_that_runs_cannot_be_entered() -> None:
    async with Emulator() as emulator:
        with pytest.raises(RuntimeError, match="running already"):
            await emulator.__aenter__()
        assert (await submit(emulator, items(1))).status == 200


async def test_a_port_that_is_taken_is_an_error_that_leaves_nothing() -> None:
    async with Emulator() as emulator:
        tasks = asyncio.all_tasks()
        other = Emulator(port=emulator.port)
        with pytest.raises(OSError, match="address"):
            await other.__aenter__()
        assert asyncio.all_tasks() == tasks
    async with other:
        assert (await submit(other, items(1))).status == 200, "it can be entered once the port is free"


async def test_what_a_function_of_the_script_raises_comes_out_at_the_end() -> None:
    def wrong(request: Any) -> None:
        raise LookupError("a mistake in the test")

    async def run() -> None:
        async with Emulator() as emulator:
            emulator.add(wrong)
            assert (await submit(emulator, items(1))).status == 500

    with pytest.raises(LookupError, match="a mistake in the test"):
        await run()


async def test_the_error_of_the_block_goes_before_that_of_the_script() -> None:
    async def run() -> None:
        async with Emulator(fail=lambda each: each["nothing"]) as emulator:
            await submit(emulator, items(1))
            raise ArithmeticError

    with pytest.raises(ArithmeticError):
        await run()


async def test_a_large_body_is_taken() -> None:
    async with Emulator(processing=0.0) as emulator:
        content = [{"text": "x" * 100_000, "number": number} for number in range(100)]
        assert (await submit(emulator, content, "/amazon/v2/unmanaged/campaigns")).status == 200
        assert len(emulator.applied_to("unmanaged/campaigns")) == 100


async def test_ipv6_makes_an_address_that_can_be_used() -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6")
    async with Emulator(host="::1") as emulator:
        assert emulator.url == f"http://[::1]:{emulator.port}"
        assert (await submit(emulator, items(1))).status == 200


def test_the_repr_says_where_and_how_much() -> None:
    assert repr(Emulator()) == "<Emulator at no address yet, 0 batches, 0 violations>"


def test_on_a_thread_it_serves_synchronous_code_and_ends_with_the_block() -> None:
    before = set(threading.enumerate())
    with ThreadedEmulator(processing=0.0) as emulator:
        assert post(emulator, items(3))["batchId"] == emulator.batches[0].id
        assert len(emulator.applied) == 3
        emulator.add(Fault(status=503))
        with pytest.raises(OSError, match="503"):
            post(emulator, items(3))
    assert not [thread.name for thread in {*threading.enumerate()} - before if "quartile" in thread.name]
    with pytest.raises(OSError, match="refused"):
        post(emulator, items(1))


def test_on_a_thread_it_can_be_read_while_it_serves() -> None:
    with ThreadedEmulator(processing=0.0005) as emulator:

        def write(writer: int) -> None:
            for batch in range(20):
                post(emulator, [item(10_000 * writer + 10 * batch + number) for number in range(10)])

        writers = [threading.Thread(target=write, args=(number,)) for number in range(4)]
        for writer in writers:
            writer.start()
        while any(writer.is_alive() for writer in writers):
            known = len(emulator.applied)
            assert len(emulator.applied_to("process/masterlist")) >= known
        time.sleep(0.001)
        assert len(emulator.applied) == len(emulator.applied_to("process/masterlist")) == 800
        assert emulator.violations == []


def test_on_a_thread_a_port_that_is_taken_is_an_error_where_it_is_entered() -> None:
    with ThreadedEmulator() as emulator:
        other = ThreadedEmulator(port=emulator.port)
        with pytest.raises(OSError, match="address"):
            other.__enter__()
        with pytest.raises(RuntimeError, match="running already"):
            emulator.__enter__()
        post(emulator, items(1))


def test_on_a_thread_what_a_function_of_the_script_raises_comes_out_at_the_end() -> None:
    def run() -> None:
        with ThreadedEmulator(refuse=lambda each: each["nothing"]) as emulator, pytest.raises(OSError, match="500"):
            post(emulator, items(1))

    with pytest.raises(KeyError, match="nothing"):
        run()


def test_on_a_thread_it_can_be_entered_again() -> None:
    emulator = ThreadedEmulator(processing=0.0)
    with emulator:
        url = emulator.url
    with emulator:
        assert emulator.url == url
        post(emulator, items(1))


def test_the_emulator_needs_no_pytest_and_the_plugin_no_web_server() -> None:
    for module, unwanted in (("quartile_async.emulator", "pytest"), ("quartile_async.pytest_plugin", "aiohttp.web")):
        code = f"import sys, {module}; sys.exit({unwanted!r} in sys.modules)"
        assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0, (module, unwanted)
