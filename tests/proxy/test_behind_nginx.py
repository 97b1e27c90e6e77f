"""Behind a real nginx: what it says and does of its own accord costs no item."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from contextlib import AsyncExitStack
from typing import Any

import pytest

from quartile_async import MASTERLIST, ItemResult, Outcome, Resource
from quartile_async.emulator import Emulator, Fault

from ..behaviour.conftest import client_for, items, until
from .nginx import NGINX, Nginx

pytestmark = pytest.mark.skipif(NGINX is None, reason="nginx is not installed (Debian: apt-get install nginx-light)")


def every_item_is_accounted_for(
    results: Sequence[ItemResult[Any]],
    given: Sequence[Any],
    emulator: Emulator,
    *,
    applied: Iterable[Any] | None = None,
    rejected: Iterable[int] = (),
) -> None:
    """One result for each item, true to what the server applied: all, but for the positions in `rejected`."""
    refused = set(rejected)
    assert sorted(result.index for result in results) == list(range(len(given)))
    assert {result.index for result in results if result.outcome is Outcome.REJECTED} == refused
    assert [result for result in results if not result.ok and result.index not in refused] == []
    for result in results:
        assert result.item is given[result.index]
    written = list(emulator.applied.values() if applied is None else applied)
    wanted = [each for position, each in enumerate(given) if position not in refused]
    assert sorted(written, key=str) == sorted(wanted, key=str)
    assert emulator.violations == []


async def test_a_reload_under_load_costs_no_item() -> None:
    given, results = items(5_000), []
    async with (
        Emulator(processing=0.05, submit_latency=0.05) as emulator,
        Nginx(emulator.port) as nginx,
        client_for(emulator, base_url=nginx.url, max_in_flight=4) as client,
    ):
        async for result in client.upload(MASTERLIST, given):
            results.append(result)
            if len(results) % 500 == 0:
                await nginx.reload()  # the upload goes on meanwhile, in a task of its own

    every_item_is_accounted_for(results, given, emulator)


@pytest.mark.slow
async def test_a_server_that_is_gone_for_a_while_costs_no_item() -> None:
    given, emulator = items(5_000), Emulator(processing=0.05)
    async with AsyncExitStack() as stack:
        async with emulator:
            nginx = await stack.enter_async_context(Nginx(emulator.port))
            client = await stack.enter_async_context(client_for(emulator, base_url=nginx.url))
            uploading = asyncio.create_task(client.upload(MASTERLIST, given).collect())
            await until(lambda: len(emulator.batches) >= 20)
        await asyncio.sleep(1.5)
        assert nginx.statuses()[502] > 0
        async with emulator:
            results = await uploading

    every_item_is_accounted_for(results, given, emulator)


async def test_chunks_that_are_too_large_for_nginx_are_halved_until_they_fit() -> None:
    given = items(1_000)
    async with (
        Emulator(processing=0.01) as emulator,
        Nginx(emulator.port, server="client_max_body_size 2k;") as nginx,
        client_for(emulator, base_url=nginx.url) as client,
    ):
        results = await client.upload(MASTERLIST, given).collect()
        assert nginx.statuses("PATCH")[413] >= 10

    every_item_is_accounted_for(results, given, emulator)
    assert not any(result.resent for result in results), "a 413 leaves nothing in doubt"


@pytest.mark.parametrize("length", [5_000, 900_000])
async def test_an_item_that_is_too_large_by_itself_is_rejected_alone(length: int) -> None:
    given = [{"asin": f"B0{number:08d}", "text": "short"} for number in range(150)]
    given[42]["text"] = "x" * length
    async with (
        Emulator(processing=0.01) as emulator,
        Nginx(emulator.port, server="client_max_body_size 2k;") as nginx,
        client_for(emulator, base_url=nginx.url) as client,
    ):
        results = await client.upload(Resource("unmanaged/asins", key="asin"), given).collect()

    every_item_is_accounted_for(results, given, emulator, applied=emulator.applied_to("unmanaged/asins"), rejected=[42])
    assert "413" in results[42].message


async def test_a_submit_that_nginx_gives_up_waiting_for_is_sent_again() -> None:
    given = items(1_000)
    late = Fault(on="submit", times=3, delay=5.0)  # taken at once, and answered too late for nginx
    async with (
        Emulator(processing=0.01, faults=[late]) as emulator,
        Nginx(emulator.port, server="proxy_read_timeout 1s;") as nginx,
        client_for(emulator, base_url=nginx.url) as client,
    ):
        results = await client.upload(MASTERLIST, given).collect()
        assert nginx.statuses("PATCH")[504] >= 3

    every_item_is_accounted_for(results, given, emulator)
    twice = {each["asin"] for batch in emulator.resubmitted for each in batch.items}
    assert twice
    assert {result.item["asin"] for result in results if result.resent} == twice


LIMIT = "limit_req_zone $binary_remote_addr zone=clients:1m rate=50r/s; limit_req_status 429;"
NAMED = "location @limited { add_header Retry-After 1 always; return 429; }"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("count", "burst", "server"),
    [
        pytest.param(600, 3, "", id="that names no pause"),
        pytest.param(1_000, 5, f"error_page 429 @limited; {NAMED}", id="that names a pause"),
    ],
)
async def test_a_rate_limit_of_nginx_costs_no_item(count: int, burst: int, server: str) -> None:
    given = items(count)
    async with (
        Emulator(processing=0.05) as emulator,
        Nginx(emulator.port, http=LIMIT, server=f"limit_req zone=clients burst={burst} nodelay; {server}") as nginx,
        client_for(emulator, base_url=nginx.url) as client,
    ):
        results = await client.upload(MASTERLIST, given).collect()
        assert nginx.statuses()[429] > 0

    every_item_is_accounted_for(results, given, emulator)
    assert not any(result.resent for result in results), "a 429 leaves nothing in doubt"
