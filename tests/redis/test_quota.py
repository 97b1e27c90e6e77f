"""A quota on a real Redis, with clients of one process: rate, batches, gate, whose turn it is, and trouble."""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from typing import Any

import pytest
import pytest_asyncio
import redis.asyncio
from blockbuster import BlockBuster

from quartile_async import (
    MASTERLIST,
    ClientClosedError,
    ConfigurationError,
    QuartileClient,
    SharedQuotaError,
)
from quartile_async._client import settings_from_env
from quartile_async._shared import terms
from quartile_async._shared.connection import Link, UnreachableError, client_of, described
from quartile_async._shared.rate import Rate
from quartile_async._shared.scripts import Keys
from quartile_async._shared.share import RedisShare
from quartile_async.emulator import Emulator, Fault
from quartile_async.redis import RedisQuota, RedisTokenStore

from ..behaviour.conftest import items, until
from .server import RedisServer, free_port

KEY = "the subscription key"


def now() -> float:
    return asyncio.get_running_loop().time()


class Shares:
    """Parts of quotas, closed at the end; `closed` has the pauses that each was told of."""

    def __init__(self, server: RedisServer) -> None:
        self._server = server
        self._all: list[RedisShare] = []
        self.closed: list[list[float]] = []

    def of(self, key: str = KEY, **settings: Any) -> RedisShare:
        told: list[float] = []
        share = RedisQuota(self._server.url, **settings).share_of(key, closed_elsewhere=told.append)
        self._all.append(share)
        self.closed.append(told)
        return share

    async def aclose(self) -> None:
        await asyncio.gather(*(share.aclose() for share in self._all))


@pytest_asyncio.fixture
async def shares(server: RedisServer) -> AsyncIterator[Shares]:
    shares = Shares(server)
    yield shares
    await shares.aclose()


def commands_of(server: RedisServer) -> int:
    """How many commands came from outside; what scripts call counts for itself in Redis."""
    stats = server.say("INFO", "commandstats").decode()
    calls = {
        line.split(":")[0]: int(line.split("calls=")[1].split(",")[0]) for line in stats.split() if "calls=" in line
    }
    return sum(calls.get(f"cmdstat_{name}", 0) for name in ("evalsha", "eval", "xread"))


# ---- the rate


async def admitted(share: RedisShare, count: int, times: list[float]) -> None:
    for _ in range(count):
        while now() > await share.admission():
            pass
        times.append(now())


async def test_no_more_than_the_rate_goes_out_in_any_period_and_all_of_it_is_used(shares: Shares) -> None:
    times: list[float] = []
    many = [shares.of(rate="40/0.5 seconds") for _ in range(4)]
    await asyncio.gather(*(admitted(share, 8, times) for share in many for _ in range(3)))
    times.sort()
    assert len(times) == 96
    assert max(in_any(times, 0.5)) <= 48, "1.2 times the rate"
    assert times[-1] - times[0] <= 2.0, "96 requests of 80 a second"


def in_any(times: Sequence[float], seconds: float) -> list[int]:
    """How many lie in each period that begins with one of them."""
    return [sum(first <= each < first + seconds for each in times) for first in times]


async def test_what_was_given_out_is_told_by_redis_and_keeps_to_the_rate(shares: Shares, server: RedisServer) -> None:
    """By Redis's own clock, as the scripts wrote it down."""
    times: list[float] = []
    many = [shares.of(rate="50/0.5 seconds") for _ in range(4)]
    await asyncio.gather(*(admitted(share, 11, times) for share in many))
    rate = Rate(50, 0.5)
    async with client_of(server.url) as client:
        given = [int(each) / 1e6 for each in await client.lrange(Keys(KEY).all[1], 0, -1)]
        assert int(await client.hget(Keys(KEY).all[0], "admitted")) >= 44
    for first, last in zip(given, itertools.islice(given, rate.burst, None), strict=False):
        assert last - first >= rate.spread - 1e-5


async def test_a_high_rate_costs_less_than_a_round_trip_for_each_request(shares: Shares, server: RedisServer) -> None:
    share, times = shares.of(rate="2000/second"), []
    await share.admission()
    before = commands_of(server)
    await asyncio.gather(*(admitted(share, 5, times) for _ in range(100)))
    assert commands_of(server) - before <= 250


async def test_who_waits_for_the_rate_asks_once_and_sleeps(shares: Shares, server: RedisServer) -> None:
    share, times = shares.of(rate="2/second"), []
    await admitted(share, 1, times)
    before = commands_of(server)
    await asyncio.gather(*(admitted(share, 1, times) for _ in range(3)))
    assert commands_of(server) - before <= 2 * 3
    assert times[-1] - times[0] >= 3 * 0.5


async def test_another_subscription_key_has_a_quota_of_its_own(shares: Shares) -> None:
    slow, other, times = shares.of(rate="1/day"), shares.of("another key", rate="1/day"), []
    async with asyncio.timeout(2):
        await admitted(slow, 1, times)
        await admitted(other, 1, times)


async def test_a_small_upload_gets_its_turn_beside_a_huge_one(shares: Shares) -> None:
    huge, small = shares.of(rate="40/second"), shares.of(rate="40/second")
    crowd = [asyncio.ensure_future(admitted(huge, 1_000, [])) for _ in range(64)]
    await asyncio.sleep(0.5)
    times: list[float] = []
    begun = now()
    await admitted(small, 10, times)
    took = now() - begun
    for each in crowd:
        each.cancel()
    await asyncio.wait(crowd)
    assert took <= 10 * (4 + 1) / 40 + 1.0, "four of the others come in between, and not 64"


async def test_without_a_rate_requests_go_at_once_and_a_closed_gate_is_known_to_who_comes_later(shares: Shares) -> None:
    first = shares.of(rate=None)
    assert await first.admission() > now()
    first.gate_closed(5.0)
    await asyncio.sleep(0.1)
    later = shares.of(rate=None)
    await later.admission()
    assert shares.closed[1]
    assert 4.0 <= shares.closed[1][0] <= 5.0


async def test_who_is_cancelled_loses_no_place_of_others(shares: Shares) -> None:
    share, times = shares.of(rate="20/second"), []
    await admitted(share, 2, times)
    waiting = [asyncio.ensure_future(admitted(share, 1, times)) for _ in range(6)]
    for each in waiting[::2]:
        await asyncio.sleep(0.01)
        each.cancel()
    async with asyncio.timeout(3):
        await asyncio.wait(waiting)
    assert len(times) == 2 + 3


# ---- the batches in flight


async def test_batches_in_flight_are_bounded_over_all_and_each_slot_is_handed_on(shares: Shares) -> None:
    many, held, most = [shares.of(rate=None, max_in_flight=3) for _ in range(4)], 0, 0

    async def hold(share: RedisShare) -> None:
        nonlocal held, most
        for _ in range(4):
            borrower = object()
            await share.take(borrower)
            held += 1
            most = max(most, held)
            await asyncio.sleep(0.01)
            held -= 1
            share.give_back(borrower)

    async with asyncio.timeout(10):
        await asyncio.gather(*(hold(share) for share in many for _ in range(3)))
    assert most == 3


async def test_who_waits_for_a_slot_is_told_and_does_not_ask_again_and_again(
    shares: Shares, server: RedisServer
) -> None:
    holder, waits = shares.of(rate=None, max_in_flight=1), shares.of(rate=None, max_in_flight=1)
    borrower = object()
    await holder.take(borrower)
    waiting = asyncio.ensure_future(waits.take(object()))
    await asyncio.sleep(0.1)
    before = commands_of(server)
    await asyncio.sleep(0.5)
    assert commands_of(server) == before
    begun = now()
    holder.give_back(borrower)
    await waiting
    assert now() - begun < 0.3
    assert commands_of(server) - before <= 4


async def test_processes_take_turns_however_many_uploads_each_has(shares: Shares) -> None:
    order: list[str] = []

    async def hold(share: RedisShare, name: str) -> None:
        borrower = object()
        await share.take(borrower)
        order.append(name)
        await asyncio.sleep(0.005)
        share.give_back(borrower)

    huge, small, first = (shares.of(rate=None, max_in_flight=1) for _ in range(3))
    borrower = object()
    await first.take(borrower)
    crowd = [asyncio.ensure_future(hold(huge, "huge")) for _ in range(20)]
    await asyncio.sleep(0.1)
    small_ones = [asyncio.ensure_future(hold(small, "small")) for _ in range(3)]
    await asyncio.sleep(0.1)
    first.give_back(borrower)
    await asyncio.gather(*crowd, *small_ones)
    assert order[:7].count("small") == 3, order


async def test_a_cancelled_wait_for_a_slot_leaves_it_to_others(shares: Shares) -> None:
    first, second = shares.of(rate=None, max_in_flight=1), shares.of(rate=None, max_in_flight=1)
    borrower = object()
    await first.take(borrower)
    waiting = [asyncio.ensure_future(second.take(object())) for _ in range(5)]
    await asyncio.sleep(0.1)
    for each in waiting:
        each.cancel()
    first.give_back(borrower)
    async with asyncio.timeout(2):
        await asyncio.wait(waiting)
        await first.take(borrower)


async def test_a_lease_lasts_for_as_long_as_its_holder_lives_and_is_free_soon_after_its_death(shares: Shares) -> None:
    holder, other = (shares.of(rate=None, max_in_flight=1, lease=0.6) for _ in range(2))
    await holder.take(object())
    waiting = asyncio.ensure_future(other.take(object()))
    await asyncio.sleep(1.3)
    assert not waiting.done(), "it is renewed"
    await holder._work.aclose()  # as if it were killed: it says nothing to anybody
    begun = now()
    await waiting
    assert now() - begun <= 0.6 + 0.4


async def test_a_client_that_is_closed_leaves_nothing_and_ends_who_waits(shares: Shares, server: RedisServer) -> None:
    first, second = shares.of(rate="1/day", max_in_flight=1), shares.of(rate="1/day", max_in_flight=1)
    await first.take(object())
    await first.admission()
    waiting = [asyncio.ensure_future(each) for each in (first.take(object()), first.admission())]
    await asyncio.sleep(0.1)
    await first.aclose()
    for each in waiting:
        with pytest.raises(ClientClosedError):
            await each
    with pytest.raises(ClientClosedError):
        await first.admission()
    async with asyncio.timeout(1):
        await second.take(object())
    await second.aclose()
    left = server.say("KEYS", "*")
    assert b"inbox" not in left
    assert b"leases" not in left
    assert b"members" not in left


# ---- the gate


async def test_a_429_of_one_holds_back_all(server: RedisServer) -> None:
    refusal = Fault(on="submit", status=429, headers={"Retry-After": "2"}, after=20)
    async with Emulator(processing=0.02, faults=[refusal]) as emulator, AsyncExitStack() as stack:
        quota = RedisQuota(server.url, rate="1000/second", max_in_flight=8)
        clients = [await stack.enter_async_context(client_for(emulator, quota)) for _ in range(3)]
        summaries = await asyncio.gather(*(client.upload(MASTERLIST, items(2_000)).summary() for client in clients))
        assert [summary.succeeded for summary in summaries] == [2_000] * 3
        (refused,) = [each.time for each in emulator.requests if each.status == 429]
        early = [each.time - refused for each in emulator.requests if refused + 0.1 < each.time < refused + 2.0]
        assert early == []
        assert max(each.time for each in emulator.requests) > refused + 2.0


async def test_a_closed_gate_is_told_to_those_who_ask_for_nothing(shares: Shares) -> None:
    first, idle = shares.of(rate="10/second"), shares.of(rate="10/second")
    await first.admission()
    await idle.admission()
    await asyncio.sleep(0.1)
    first.gate_closed(7.0)
    first.gate_closed(3.0)  # shorter: nothing new
    await until(lambda: shares.closed[1], 1.0)
    assert shares.closed == [[], [pytest.approx(7.0, abs=0.2)]]


def client_for(emulator: Emulator, quota: RedisQuota | None, **settings: Any) -> QuartileClient:
    settings = {"subscription_key": emulator.subscription_key, "auth": emulator.access_token} | settings
    return QuartileClient(base_url=emulator.url, quota=quota, **settings)


# ---- uploads


async def test_uploads_of_many_clients_and_accounts_stay_within_what_they_share(server: RedisServer) -> None:
    async with Emulator(processing=0.05) as emulator, AsyncExitStack() as stack:
        quota = RedisQuota(server.url, rate="300/second", max_in_flight=5)
        clients = [await stack.enter_async_context(client_for(emulator, quota)) for _ in range(3)]
        accounts = [clients[0].for_account("other", auth=emulator.access_token), *clients]
        uploads = [account.upload(MASTERLIST, items(1_500)) for account in accounts]
        assert [(await upload.summary()).succeeded for upload in uploads[:1]] == [1_500]
        others = await asyncio.gather(*(upload.summary() for upload in uploads[1:]))
        assert [summary.succeeded for summary in others] == [1_500] * 3
        assert emulator.max_in_flight <= 5
        assert max(in_any([each.time for each in emulator.requests], 1.0)) <= 360
        assert emulator.violations == []


async def test_polls_do_not_use_up_what_may_go_out_at_once_and_a_small_upload_does_not_stand_still(
    server: RedisServer,
) -> None:
    async with Emulator(processing=1.0) as emulator, client_for(emulator, RedisQuota(server.url)) as client:
        begun = now()
        summary = await client.upload(MASTERLIST, items(500)).summary()
        took = now() - begun

    assert summary.succeeded == 500
    polls = [each.time for each in emulator.requests if each.kind != "submit"]
    assert sum(each < polls[0] + 1.0 for each in polls) <= 30, "half of the 60 that may go out at once"
    assert took < 4.0, "beyond the 60, the next request would wait for 6 s"


async def test_at_most_two_round_trips_are_made_for_a_request(server: RedisServer) -> None:
    async with Emulator(processing=0.05) as emulator:
        quota = RedisQuota(server.url, rate="5000/second")
        async with client_for(emulator, quota) as client:
            await client.upload(MASTERLIST, items(100)).summary()
            before, requests = commands_of(server), len(emulator.requests)
            await client.upload(MASTERLIST, items(10_000)).summary()
            assert commands_of(server) - before <= 2 * (len(emulator.requests) - requests)


async def test_nothing_in_redis_names_the_subscription_key(
    server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with Emulator(processing=0.5) as emulator:
        async with client_for(emulator, RedisQuota(server.url)) as client:
            await client.submit(MASTERLIST, items(1))
            async with client_of(server.url) as raw:
                kept = [await raw.dump(name) for name in await raw.keys()]
                names = b" ".join(await raw.keys())
        key = emulator.subscription_key
        assert key.encode() not in b" ".join([names, *[each or b"" for each in kept]])
        assert key not in caplog.text
        assert names.count(b"{") == len(names.split()), "each has a hash tag"
        assert len({name.split(b"}")[0] for name in names.split()}) == 1, "and all the same"


async def test_nothing_is_left_for_ever(server: RedisServer) -> None:
    async with Emulator(processing=0.0) as emulator:
        async with client_for(emulator, RedisQuota(server.url)) as client:
            await client.upload(MASTERLIST, items(300)).summary()
    async with client_of(server.url) as raw:
        assert all([await raw.ttl(name) > 0 for name in await raw.keys()])


async def test_a_client_of_redis_py_may_be_given(server: RedisServer, blocking_calls_are_caught: BlockBuster) -> None:
    blocking_calls_are_caught.deactivate()  # redis-py looks up its own version
    options: dict[str, Any] = {"decode_responses": True, "protocol": 3}
    async with redis.asyncio.Redis.from_url(server.url, **options) as given, Emulator(processing=0.01) as emulator:
        quota = RedisQuota(given, max_in_flight=1, rate="1000/second")
        async with client_for(emulator, quota) as one, client_for(emulator, quota) as other:
            uploads = (one.upload(MASTERLIST, items(500)), other.upload(MASTERLIST, items(500)))
            summaries = await asyncio.gather(*(upload.summary() for upload in uploads))
        assert [summary.succeeded for summary in summaries] == [500, 500]
        assert emulator.max_in_flight == 1
        assert await given.ping()  # type: ignore[misc]  # redis-py's own


# ---- trouble


async def test_a_redis_that_is_restarted_costs_nothing_but_time(own_server: RedisServer) -> None:
    async with Emulator(processing=0.05) as emulator, AsyncExitStack() as stack:
        quota = RedisQuota(own_server.url, rate="150/second", max_in_flight=6)
        clients = [await stack.enter_async_context(client_for(emulator, quota)) for _ in range(2)]
        running = [asyncio.ensure_future(client.upload(MASTERLIST, items(4_000)).summary()) for client in clients]
        for _ in range(2):
            await asyncio.sleep(0.4)
            await asyncio.to_thread(own_server.restart, 0.3)
        assert [(await each).succeeded for each in running] == [4_000] * 2
        assert emulator.max_in_flight <= 6
        assert max(in_any([each.time for each in emulator.requests], 1.0)) <= 180


@pytest.mark.slow
async def test_a_redis_that_loses_all_at_a_restart_still_lets_no_more_through() -> None:
    with RedisServer(keeps=False) as own_server:
        async with Emulator(processing=0.05) as emulator, AsyncExitStack() as stack:
            quota = RedisQuota(own_server.url, rate="150/second", max_in_flight=6, lease=3.0)
            clients = [await stack.enter_async_context(client_for(emulator, quota)) for _ in range(2)]
            running = [asyncio.ensure_future(client.upload(MASTERLIST, items(4_000)).summary()) for client in clients]
            await asyncio.sleep(0.5)
            await asyncio.to_thread(own_server.restart)
            assert [(await each).succeeded for each in running] == [4_000] * 2
            assert emulator.max_in_flight <= 6
            assert max(in_any([each.time for each in emulator.requests], 1.0)) <= 180


@pytest.mark.slow
@pytest.mark.parametrize("restarts", [False, True])
async def test_who_comes_first_to_a_redis_that_has_lost_all_waits_for_those_who_hold_slots(
    restarts: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(terms, "RETURN_TIME", 3.0)
    with RedisServer(keeps=False) as own_server:
        shares = Shares(own_server)
        holder, newcomer = (shares.of(rate=None, max_in_flight=2) for _ in range(2))
        borrowers = [object(), object()]
        await asyncio.gather(*(holder.take(borrower) for borrower in borrowers))
        await asyncio.sleep(0.1)  # it reads its inbox
        if restarts:
            await asyncio.to_thread(own_server.restart)
        else:
            own_server.say("FLUSHALL")
        waiting = asyncio.ensure_future(newcomer.take(object()))
        await asyncio.sleep(4.0)
        assert not waiting.done()
        holder.give_back(borrowers[0])
        assert own_server.say("ZCARD", Keys(KEY).all[2]) == b":2\r\n"
        waiting.cancel()
        await shares.aclose()


async def test_a_quota_that_is_new_is_of_use_at_once(server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terms, "RETURN_TIME", 3.0)
    shares, uptime = Shares(server), 0
    while uptime < 4:  # nobody comes back to it any more
        uptime = int(server.say("INFO", "server").decode().split("uptime_in_seconds:")[1].split()[0])
        await asyncio.sleep(0.1)
    begun = now()
    await shares.of().take(object())
    assert now() - begun < 0.8
    await shares.aclose()


@pytest.mark.slow
async def test_a_redis_that_does_not_move_for_a_while_costs_nothing_but_time(own_server: RedisServer) -> None:
    async with Emulator(processing=0.05) as emulator:
        quota = RedisQuota(own_server.url, rate="150/second", max_in_flight=6)
        async with client_for(emulator, quota) as client:
            running = asyncio.ensure_future(client.upload(MASTERLIST, items(3_000)).summary())
            await asyncio.sleep(0.3)
            own_server.freeze()
            await asyncio.sleep(2.5)  # longer than a command has
            own_server.thaw()
            assert (await running).succeeded == 3_000
        assert emulator.max_in_flight <= 6
        assert max(in_any([each.time for each in emulator.requests], 1.0)) <= 180


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terms, "SHORTEST_PATIENCE", 0.5)


@pytest.mark.usefixtures("impatient")
async def test_a_redis_that_is_not_there_is_an_error_that_says_what_to_do_and_nothing_is_sent() -> None:
    port = free_port()
    async with Emulator(processing=0.0) as emulator:
        quota = RedisQuota(f"redis://user:s3cret@127.0.0.1:{port}/3", lease=0.5)
        async with client_for(emulator, quota) as client:
            begun = time.monotonic()
            with pytest.raises(SharedQuotaError, match=f"redis://127.0.0.1:{port}/3 has not been reached") as caught:
                await client.upload(MASTERLIST, items(300)).collect()
            assert time.monotonic() - begun < 5.0
            assert "when_unreachable='share'" in str(caught.value)
            assert "s3cret" not in f"{caught.value!r} {quota!r}"
            assert all(result.not_sent for result in caught.value.unaccounted)
            assert len(caught.value.unaccounted) == 300
            with pytest.raises(SharedQuotaError):
                await client.submit(MASTERLIST, items(1))
        assert emulator.requests == []


async def test_a_wrong_password_is_an_error_at_once(own_server: RedisServer) -> None:
    own_server.say("CONFIG", "SET", "requirepass", "s3cret")
    async with Emulator(processing=0.0) as emulator:
        for password, works in (("s3cret", True), ("wr0ng", False)):
            quota = RedisQuota(f"redis://:{password}@127.0.0.1:{own_server.port}")
            async with client_for(emulator, quota) as client, asyncio.timeout(5):
                if works:
                    assert (await client.upload(MASTERLIST, items(1)).summary()).succeeded == 1
                    continue
                with pytest.raises(SharedQuotaError, match="password") as caught:
                    await client.upload(MASTERLIST, items(1)).collect()
                assert password not in str(caught.value)


@pytest.mark.slow
@pytest.mark.usefixtures("impatient")
async def test_where_the_user_chose_so_each_goes_on_with_its_part_until_redis_is_back(own_server: RedisServer) -> None:
    async with Emulator(processing=0.05) as emulator, AsyncExitStack() as stack:
        settings: dict[str, Any] = {"when_unreachable": "share", "processes": 2, "lease": 0.5}
        quota = RedisQuota(own_server.url, rate="100/second", max_in_flight=4, **settings)
        clients = [await stack.enter_async_context(client_for(emulator, quota)) for _ in range(2)]
        running = [asyncio.ensure_future(client.upload(MASTERLIST, items(6_000)).summary()) for client in clients]
        await asyncio.sleep(0.3)
        own_server.stop()
        await asyncio.sleep(1.5)
        during = len(emulator.requests)
        await asyncio.sleep(1.5)
        assert len(emulator.requests) - during >= 40, "they go on"
        await asyncio.to_thread(own_server.start)
        await until(lambda: b"members" in own_server.say("KEYS", "*"), 5.0)
        assert [(await each).succeeded for each in running] == [6_000] * 2
        assert emulator.max_in_flight <= 4
        assert max(in_any([each.time for each in emulator.requests], 1.0)) <= 120


@pytest.fixture
def impatient_with_long_leases(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terms.Terms, "patience", 0.5)


def stands_still(seconds: float) -> None:
    """As if this process had been stopped, or a consumer had blocked the event loop."""
    time.sleep(seconds)


@pytest.mark.slow
@pytest.mark.usefixtures("impatient_with_long_leases")
async def test_a_process_that_stood_still_for_longer_than_redis_is_waited_for_goes_on(
    shares: Shares, blocking_calls_are_caught: BlockBuster
) -> None:
    blocking_calls_are_caught.deactivate()
    holder, waits = (shares.of(rate="1000/second", max_in_flight=1, lease=6.0) for _ in range(2))
    borrower = object()
    await holder.take(borrower)
    waiting = asyncio.ensure_future(waits.take(object()))
    await asyncio.sleep(0.1)
    stands_still(4.5)  # longer than a read that waits, shorter than a lease
    await asyncio.sleep(0.1)
    assert not waiting.done()
    holder.give_back(borrower)
    async with asyncio.timeout(2):
        await waiting


@pytest.mark.slow
@pytest.mark.usefixtures("impatient_with_long_leases")
async def test_a_process_that_stood_still_does_not_go_on_with_a_part_of_its_own(
    shares: Shares, blocking_calls_are_caught: BlockBuster
) -> None:
    blocking_calls_are_caught.deactivate()
    settings: dict[str, Any] = {"when_unreachable": "share", "processes": 2, "max_in_flight": 2, "lease": 6.0}
    holder, waits = shares.of(rate="1000/second", **settings), shares.of(rate="1000/second", **settings)
    for _ in range(2):
        await holder.take(object())
    waiting = asyncio.ensure_future(waits.take(object()))
    await asyncio.sleep(0.1)
    stands_still(4.5)
    await asyncio.sleep(0.5)
    assert not waiting.done(), "all slots are held"
    waiting.cancel()


async def test_time_in_which_nothing_is_tried_is_not_counted(
    blocking_calls_are_caught: BlockBuster,
) -> None:
    blocking_calls_are_caught.deactivate()
    link = Link(f"redis://127.0.0.1:{free_port()}")
    for _ in range(2):
        with pytest.raises(UnreachableError):
            await link.command("PING")
        link._now = lambda: now() + 1_000.0  # type: ignore[assignment]  # it was stopped between the two
    assert link.lost_for < 5.0
    await link.aclose()


@pytest.mark.slow
async def test_until_all_are_back_that_went_on_without_redis_nobody_has_the_whole(shares: Shares) -> None:
    settings: dict[str, Any] = {"when_unreachable": "share", "processes": 2, "rate": "100/second"}
    back, other = shares.of(**settings), shares.of(**settings)
    back._membership.was_alone = True
    await back._leases.sync(renews=True)
    begun = now()
    await asyncio.gather(other.take(object()), other.admission(), back.take(object()))
    assert now() - begun >= 2.9


# ---- settings


@pytest.mark.parametrize(
    ("url", "settings"),
    [
        ("http://localhost", {}),
        ("localhost", {}),
        ("redis://localhost?max_connections=1", {}),
        ("redis://localhost", {"rate": "much"}),
        ("redis://localhost", {"max_in_flight": 0}),
        ("redis://localhost", {"max_in_flight": True}),
        ("redis://localhost", {"max_in_flight": 1.5}),
        ("redis://localhost", {"lease": 0.0}),
        ("redis://localhost", {"lease": float("nan")}),
        ("redis://localhost", {"when_unreachable": "ignore"}),
        ("redis://localhost", {"when_unreachable": "share"}),
        ("redis://localhost", {"when_unreachable": "share", "processes": 0}),
        ("redis://localhost", {"when_unreachable": "share", "processes": 65}),
        ("redis://localhost", {"when_unreachable": "share", "processes": 8, "rate": "7/second"}),
    ],
)
def test_what_cannot_be_used_is_refused_at_once(url: str, settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        RedisQuota(url, **settings)


@pytest.mark.parametrize(
    "url",
    ["redis://:hun#ter2@h:1/0", "redis://:hunter2/x@h:1", "redis://hunter2#x@h", "redis://:hun#ter2", "redis://:hun"],
)
def test_an_address_whose_password_is_not_escaped_is_refused_without_showing_it(url: str) -> None:
    for make in (RedisQuota, RedisTokenStore):
        with pytest.raises(ConfigurationError, match="%23") as caught:
            make(url)
        assert "hun" not in str(caught.value)
    assert described(url) == "redis://..."


def test_an_address_with_an_at_sign_shows_the_host_alone() -> None:
    assert "at redis://h:1/0," in repr(RedisQuota("redis://u:p@ss@h:1/0?max_connections=2"))
    assert "at unix:///tmp/a@b.sock," in repr(RedisQuota("unix://u:secret@/tmp/a@b.sock?db=0"))


def test_the_environment_describes_a_quota() -> None:
    given = {"subscription_key": "k", "auth": "t"}
    settings = settings_from_env({"QUARTILE_REDIS_URL": "redis://:s3cret@host/1"}, given=given)
    assert repr(settings["quota"]) == "<RedisQuota at redis://host/1, 600/60 seconds, 64 in flight>"
    more = {"QUARTILE_REDIS_RATE": "20/second", "QUARTILE_REDIS_MAX_IN_FLIGHT": "5"}
    settings = settings_from_env({"QUARTILE_REDIS_URL": "redis://host"} | more, given=given)
    assert repr(settings["quota"]) == "<RedisQuota at redis://host, 20/1 seconds, 5 in flight>"
    settings = settings_from_env({"QUARTILE_REDIS_URL": "redis://host", "QUARTILE_REDIS_RATE": "none"}, given=given)
    assert "no rate" in repr(settings["quota"])
    assert "quota" not in settings_from_env({"QUARTILE_REDIS_URL": "redis://host"}, given={**given, "quota": None})
    assert "quota" not in settings_from_env(more, given=given)


@pytest.mark.parametrize(
    "variables",
    [{"QUARTILE_REDIS_URL": "host"}, {"QUARTILE_REDIS_RATE": "x"}, {"QUARTILE_REDIS_MAX_IN_FLIGHT": "many"}],
)
def test_a_variable_that_cannot_be_used_is_named(variables: dict[str, str]) -> None:
    environ = {"QUARTILE_REDIS_URL": "redis://host"} | variables
    with pytest.raises(ConfigurationError):
        settings_from_env(environ, given={"subscription_key": "k", "auth": "t"})


@pytest.mark.parametrize(
    ("settings", "least"),
    [
        ({"outage_limit": -1.0}, "at least 0"),
        ({"outage_limit": 20.0, "when_unreachable": "share", "processes": 2}, "at least 30"),
    ],
)
def test_a_limit_that_lets_leases_overlap_with_parts_is_refused(settings: dict[str, Any], least: str) -> None:
    with pytest.raises(ConfigurationError, match=f"outage_limit=.* {least}"):
        RedisQuota("redis://localhost:1", **settings)


def test_a_limit_may_have_fractions_whatever_the_lease_and_counts_may_not() -> None:
    RedisQuota("redis://localhost:1", lease=1.0, outage_limit=1.5, when_unreachable="share", processes=2)

    for counts in ({"max_in_flight": 1.5}, {"processes": 2.5, "when_unreachable": "share"}):
        with pytest.raises(ConfigurationError, match="give a number of at least 1"):
            RedisQuota("redis://localhost:1", **counts)  # type: ignore[arg-type]  # that is the point


def test_the_limit_of_an_outage_is_the_lease_unless_another_one_is_given() -> None:
    assert RedisQuota("redis://localhost:1", lease=1.0)._terms.patience == 10.0
    assert RedisQuota("redis://localhost:1", lease=45.0)._terms.patience == 45.0
    assert RedisQuota("redis://localhost:1", outage_limit=60.0)._terms.patience == 60.0
