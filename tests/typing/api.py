"""Checked by mypy and pyright, and never run: what users write has the types they expect."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, assert_type

from redis.asyncio import Redis

from quartile_async import (
    MASTERLIST,
    UNMANAGED_ASINS,
    BatchStatus,
    ItemResult,
    LoginAuth,
    MasterlistItem,
    Outcome,
    Progress,
    QuartileClient,
    QuartileError,
    Resource,
    Summary,
    Upload,
    upload_file,
)
from quartile_async.events import BatchFinished, Event, Throttled
from quartile_async.redis import RedisQuota, RedisTokenStore


def note(event: Event) -> None:
    match event:
        case BatchFinished():
            assert_type(event.seconds, float | None)
        case Throttled(seconds=seconds):
            assert_type(seconds, float)
        case _:
            pass


async def token() -> str:
    return "token"


async def items() -> AsyncIterator[dict[str, object]]:
    yield {"asin": "B01N5IB20Q"}


async def uses() -> None:
    async with QuartileClient(
        subscription_key="key", auth=token, max_in_flight=4, account="acme", on_event=note
    ) as client:
        assert_type(client, QuartileClient)
        upload = client.upload(MASTERLIST, [{"asin": "B01N5IB20Q"}])
        assert_type(upload, Upload[MasterlistItem])
        async with upload as entered:
            assert_type(entered, Upload[MasterlistItem])
            async for result in entered:
                assert_type(result, ItemResult[MasterlistItem])
                assert_type(result.outcome, Outcome)
                assert_type(result.ok, bool)
                assert_type(result.row, dict[str, Any] | None)
        assert_type(upload.progress, Progress)
        assert_type(upload.unaccounted, list[ItemResult[MasterlistItem]])
        assert_type(await client.upload(UNMANAGED_ASINS, items()).collect(), list[ItemResult[dict[str, Any]]])
        assert_type(await client.upload(MASTERLIST, items()).summary(), Summary)
        assert_type(await client.submit(MASTERLIST, [{"asin": "B01N5IB20Q"}]), str)
        assert_type(await client.get_batch("id"), BatchStatus)
        assert_type(await client.wait("id", MASTERLIST), BatchStatus)
    assert_type(QuartileClient.from_env(max_in_flight=4), QuartileClient)
    assert_type(Resource("a/b", item=MasterlistItem, key="asin"), Resource[MasterlistItem])


def retry(result: ItemResult[MasterlistItem]) -> float | None:
    return 2.5 if result.tries < 2 else None


def sends_again(client: QuartileClient) -> None:
    assert_type(client.upload(MASTERLIST, [], retry=retry, max_item_tries=5), Upload[MasterlistItem])
    client.upload(MASTERLIST, [], retry=lambda result: result.message == "busy")


def through_the_synchronous_door() -> None:
    assert_type(upload_file("catalogue.csv"), Summary)
    assert_type(upload_file(["a.csv", "b.csv"], MASTERLIST, results="results.csv", max_in_flight=4), Summary)
    assert_type(upload_file([{"asin": "B01N5IB20Q"}], UNMANAGED_ASINS, journal="a.journal"), Summary)
    assert_type(upload_file(items(), retry=retry), Summary)


def shares(key: str) -> None:
    assert_type(RedisQuota("redis://localhost", rate=None, max_in_flight=4), RedisQuota)
    auth = LoginAuth("user", "password", store=RedisTokenStore("rediss://localhost", name="user"))
    QuartileClient(subscription_key=key, auth=auth, quota=RedisQuota(Redis.from_url("redis://localhost")))
    QuartileClient.from_env(quota=RedisQuota("unix:///redis.sock", when_unreachable="share", processes=4))


def reads(error: QuartileError) -> None:
    assert_type(error.may_have_been_sent, bool)
    assert_type(error.unaccounted, list[ItemResult[Any]])
