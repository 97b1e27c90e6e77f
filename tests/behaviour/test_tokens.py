"""Login and refresh: one for all who wait, no token spent twice, saved before it is used, each account with its own."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from itertools import pairwise
from pathlib import Path
from typing import Any

import anyio
import pytest

import quartile_async._client
from quartile_async import (
    MASTERLIST,
    AuthenticationError,
    ClientClosedError,
    ConfigurationError,
    FileTokenStore,
    LoginAuth,
    QuartileClient,
    QuartileError,
    QuotaExceededError,
    RateLimitError,
    RefreshAuth,
    Resource,
)
from quartile_async._token_store import MemoryTokenStore
from quartile_async._tokens import StoredTokens
from quartile_async.emulator import Emulator, Fault, Request

from .conftest import client_for, item, items, nothing_is_left, until

LIFETIME = 1000.0
"""Seconds in the fake clock's time: the advisory window is the last 250, the mandatory one the last 30."""


class Clock:
    """Stands still until it is told to move."""

    def __init__(self) -> None:
        self.now = 1_790_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """By which tokens end, for the client."""
    clock = Clock()
    monkeypatch.setattr(quartile_async._client, "wall_clock", clock)
    return clock


class TokenClock:
    """Real time for batches, and beside it what the fake clock has moved."""

    def __init__(self, clock: Clock) -> None:
        self._clock, self._start = clock, clock.now

    def __call__(self) -> float:
        return time.monotonic() + self._clock.now - self._start


def emulator_on(clock: Clock, **settings: Any) -> Emulator:
    """Its tokens end by the fake clock, its batches by the real one, too."""
    return Emulator(
        **{"processing": 0.01, "token_lifetime": LIFETIME, "clock": TokenClock(clock), "wall_clock": clock, **settings}
    )


def login_of(emulator: Emulator, **settings: Any) -> LoginAuth:
    return LoginAuth(emulator.username, emulator.password, **settings)


def kinds(emulator: Emulator) -> Counter[str]:
    return Counter(record.kind for record in emulator.requests)


async def upload(client: Any, *numbers: int) -> list[str]:
    """Uploads some products; gives the outcomes."""
    results = await client.upload(MASTERLIST, [item(number) for number in numbers or (1,)]).collect()
    return [result.outcome.value for result in results]


class Held:
    """Holds the answers to one kind of request back, until it is told to let them go.

    The requests have had their effect by then. It gives the emulator's own sleeping before an answer another end.
    """

    def __init__(self, emulator: Emulator, monkeypatch: pytest.MonkeyPatch, *which: str) -> None:
        self.arrived, self.may_go = asyncio.Event(), asyncio.Event()
        received = emulator.receive

        def receive(request: Request) -> Any:
            exchange = received(request)
            if exchange.kind in which and not self.may_go.is_set():
                self.arrived.set()
                object.__setattr__(exchange.reply, "delay", HOLD)
            return exchange

        monkeypatch.setattr(emulator, "receive", receive)
        slept = asyncio.sleep

        async def sleep(seconds: float, result: Any = None) -> Any:
            if seconds == HOLD:
                await self.may_go.wait()
                return result
            return await slept(seconds, result)

        monkeypatch.setattr("quartile_async.emulator._server.asyncio.sleep", sleep)


HOLD = 86_399.0


class Recording(MemoryTokenStore):
    """Notes what happens in which order, beside the requests that have arrived by then."""

    def __init__(self, emulator: Emulator) -> None:
        super().__init__()
        self._emulator = emulator
        self.saved: list[tuple[StoredTokens, int]] = []

    async def save(self, tokens: StoredTokens) -> None:
        await asyncio.sleep(0.02)  # time enough to be overtaken
        await super().save(tokens)
        self.saved.append((tokens, len(self._emulator.requests)))


class Failing(MemoryTokenStore):
    """Cannot save for so many times, after the first ones."""

    def __init__(self, *, after: int = 0, times: int = 1000) -> None:
        super().__init__()
        self.after, self.times = after, times

    async def save(self, tokens: StoredTokens) -> None:
        if self.after > 0:
            self.after -= 1
        elif self.times > 0:
            self.times -= 1
            raise OSError(28, "No space left on device", "/somewhere/tokens.json")
        await super().save(tokens)


# One login, one refresh


async def test_a_login_comes_before_the_first_request_and_serves_all_that_wait() -> None:
    async with Emulator(processing=0.01) as emulator:
        async with nothing_is_left(emulator), client_for(emulator, auth=login_of(emulator)) as client:
            await asyncio.gather(*(upload(client, number) for number in range(20)))
            await upload(client, 100)
        assert emulator.logins == {emulator.username: 1}
        assert emulator.refreshes == {}
        assert emulator.requests[0].kind == "login"
        assert {record.user for record in emulator.requests[1:]} == {emulator.username}
        assert emulator.violations == []


async def test_a_refresh_token_alone_is_enough() -> None:
    async with Emulator(processing=0.01) as emulator:
        auth = RefreshAuth(emulator.issue_refresh_token())
        async with client_for(emulator, auth=auth) as client:
            assert await upload(client) == ["succeeded"]
        assert (emulator.logins, emulator.refreshes) == ({}, {emulator.username: 1})
        assert emulator.violations == []


@pytest.mark.parametrize("left", [LIFETIME, 251.0])
async def test_a_token_is_not_replaced_before_its_time(clock: Clock, left: float) -> None:
    async with emulator_on(clock) as emulator, client_for(emulator, auth=login_of(emulator)) as client:
        await upload(client)
        clock.now += LIFETIME - left
        await upload(client)
        assert kinds(emulator)["refresh"] == 0


async def test_some_time_before_its_end_one_request_replaces_the_token_and_the_others_go_on_with_it(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with emulator_on(clock) as emulator, client_for(emulator, auth=login_of(emulator)) as client:
        await upload(client)
        clock.now += LIFETIME - 100.0
        held = Held(emulator, monkeypatch, "refresh")

        async with asyncio.timeout(5):  # nobody waits for the refresh, whose answer does not come
            await asyncio.gather(*(upload(client, number) for number in range(20)))
            await upload(client, 100)
        await held.arrived.wait()
        assert kinds(emulator)["refresh"] == 1
        held.may_go.set()
        await until(lambda: client._api._tokens._renewal is None)

        clock.now += 101.0  # the old one has ended
        await upload(client, 101)
        assert emulator.refreshes == {emulator.username: 1}
        assert [record.status for record in emulator.requests if record.status == 401] == []
        assert emulator.violations == []


async def test_shortly_before_its_end_all_wait_for_one_refresh(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    async with emulator_on(clock) as emulator, client_for(emulator, auth=login_of(emulator)) as client:
        await upload(client)
        clock.now += LIFETIME - 20.0
        before = len(emulator.requests)
        held = Held(emulator, monkeypatch, "refresh")

        uploads = [asyncio.ensure_future(upload(client, number)) for number in range(20)]
        await held.arrived.wait()
        await asyncio.sleep(0.1)
        assert [record.kind for record in emulator.requests[before:]] == ["refresh"], "nothing goes out meanwhile"
        held.may_go.set()
        await asyncio.gather(*uploads)

        assert emulator.refreshes == {emulator.username: 1}
        assert emulator.violations == []


@pytest.mark.parametrize("left", [100.0, 20.0])
async def test_a_token_that_still_works_is_used_where_it_cannot_be_replaced(clock: Clock, left: float) -> None:
    async with emulator_on(clock) as emulator, client_for(emulator, auth=login_of(emulator)) as client:
        await upload(client)
        clock.now += LIFETIME - left
        emulator.add(Fault(on="refresh", status=400, times=None))
        emulator.add(Fault(on="login", status=500, times=None))
        assert await upload(client, *range(300)) == ["succeeded"] * 300
        assert kinds(emulator)["login"] <= 2, "there is a pause between two attempts"


async def test_a_token_that_has_ended_is_replaced_before_anything_goes_out(clock: Clock) -> None:
    async with emulator_on(clock) as emulator, client_for(emulator, auth=login_of(emulator)) as client:
        await upload(client)
        clock.now += 10 * LIFETIME
        await asyncio.gather(*(upload(client, number) for number in range(20)))
        assert emulator.refreshes == {emulator.username: 1}
        assert all(record.status != 401 for record in emulator.requests)


@pytest.mark.slow
async def test_tokens_that_are_announced_for_two_seconds_are_used_and_replaced_in_time() -> None:
    async with Emulator(processing=0.01, token_lifetime=2.0) as emulator:
        async with client_for(emulator, auth=login_of(emulator), linger=0.01) as client:

            async def source() -> AsyncIterator[dict[str, Any]]:
                for number in range(70):
                    yield item(number)
                    await asyncio.sleep(0.05)

            results = await client.upload(MASTERLIST, source()).collect()
        assert all(result.ok for result in results)
        assert 1 <= emulator.refreshes[emulator.username] <= 3
        assert emulator.logins == {emulator.username: 1}
        assert all(record.status != 401 for record in emulator.requests)
        assert emulator.violations == []


async def test_tokens_that_die_earlier_than_announced_cost_a_repetition_and_no_item() -> None:
    async with Emulator(processing=0.01, token_lifetime=0.3, announced_lifetime=43_200.0) as emulator:
        async with client_for(emulator, auth=login_of(emulator), linger=0.01) as client:

            async def source() -> AsyncIterator[dict[str, Any]]:
                for number in range(30):
                    yield item(number)
                    await asyncio.sleep(0.05)

            results = await client.upload(MASTERLIST, source()).collect()
        assert all(result.ok for result in results)
        assert emulator.refreshes[emulator.username] >= 3
        assert emulator.resubmitted == []
        assert emulator.violations == []


async def test_a_token_without_a_known_end_is_used_until_it_is_refused() -> None:
    def without_an_end(content: Any) -> Any:
        for part in content.values():
            for name in ("expiresIn", "expiresAt"):
                part.pop(name)
        return content

    async with Emulator(processing=0.01) as emulator:
        emulator.add(Fault(on="login", rewrite=without_an_end, times=None))
        store = MemoryTokenStore()
        async with client_for(emulator, auth=login_of(emulator, store=store)) as client:
            await upload(client)
            known = await store.load()
            assert known is not None
            assert known.expires_at is None
            emulator.expire_token(known.access_token)
            await upload(client, 2)
        assert (emulator.logins, emulator.refreshes) == ({emulator.username: 1}, {emulator.username: 1})


# Refused access tokens


async def test_a_refused_token_is_replaced_once_for_twenty_requests_which_are_all_repeated(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with Emulator(processing=0.01) as emulator:
        store = MemoryTokenStore()
        async with client_for(emulator, auth=login_of(emulator, store=store), max_in_flight=20) as client:
            await upload(client)
            old = await store.load()
            assert old is not None
            emulator.expire_token(old.access_token)
            outcomes = await asyncio.gather(*(upload(client, number) for number in range(100, 120)))
        assert outcomes == [["succeeded"]] * 20
        assert emulator.refreshes == {emulator.username: 1}
        assert sum(record.status == 401 for record in emulator.requests) <= 20
        assert len(emulator.batches) == 21
        assert emulator.resubmitted == []
        assert emulator.violations == []


async def test_the_late_refusal_of_an_old_token_does_not_drop_the_newer_one(monkeypatch: pytest.MonkeyPatch) -> None:
    async with Emulator(processing=0.01) as emulator:
        # The first submit after the login is refused a while after another one was, and was repeated.
        emulator.add(Fault(on="submit", status=401, body={"message": "The token has expired."}, delay=0.4))
        emulator.add(Fault(on="submit", status=401, body={"message": "The token has expired."}))
        async with client_for(emulator, auth=login_of(emulator), linger=0.0) as client:
            late = asyncio.ensure_future(upload(client, 1))
            await until(lambda: kinds(emulator)["submit"] == 1)
            assert await upload(client, 2) == ["succeeded"]
            assert emulator.refreshes == {emulator.username: 1}
            assert await late == ["succeeded"]
        assert emulator.refreshes == {emulator.username: 1}


async def test_a_server_that_refuses_every_token_is_not_asked_for_ever() -> None:
    async with Emulator(processing=0.01) as emulator:
        emulator.add(Fault(on="submit", status=401, body={"message": "No."}, times=None))
        async with client_for(emulator, auth=login_of(emulator)) as client:
            with pytest.raises(AuthenticationError) as caught:
                await upload(client)
        assert kinds(emulator)["submit"] <= 5
        assert kinds(emulator)["refresh"] + kinds(emulator)["login"] <= 5
        assert [result.not_sent for result in caught.value.unaccounted] == [True]


async def test_a_refused_subscription_key_does_not_touch_the_tokens() -> None:
    async with Emulator(processing=0.01) as emulator:
        async with client_for(emulator, auth=login_of(emulator)) as client:
            await upload(client)
            emulator.add(
                Fault(on="submit", status=401, body={"message": "Access denied due to invalid subscription key."})
            )
            with pytest.raises(AuthenticationError, match="subscription key"):
                await upload(client, 2)
            assert await upload(client, 3) == ["succeeded"], "the token is as good as before"
        assert (emulator.logins, emulator.refreshes) == ({emulator.username: 1}, {})


@pytest.mark.parametrize("kind", ["login", "refresh"])
async def test_a_subscription_key_that_is_refused_at_the_door_is_named(kind: str) -> None:
    async with Emulator(processing=0.01) as emulator:
        token = emulator.issue_refresh_token()
        auth = login_of(emulator) if kind == "login" else RefreshAuth(token)
        async with client_for(emulator, auth=auth, subscription_key="n0t-the-key") as client:
            with pytest.raises(AuthenticationError, match="subscription key") as caught:
                await upload(client)
            assert "n0t-the-key" not in str(caught.value)
        assert kinds(emulator) == {kind: 1}
        async with client_for(emulator, auth=RefreshAuth(token)) as client:
            assert await upload(client) == ["succeeded"], "the refresh token was not spent"


async def test_a_wrong_password_stops_at_once_with_every_item_unsent() -> None:
    async with Emulator(processing=0.01) as emulator:
        async with client_for(emulator, auth=LoginAuth(emulator.username, "wr0ng-passw0rd")) as client:
            with pytest.raises(AuthenticationError, match="password") as caught:
                await upload(client, *range(300))
        assert kinds(emulator) == {"login": 1}
        assert all(result.not_sent for result in caught.value.unaccounted)
        assert "wr0ng-passw0rd" not in str(caught.value)


# Refreshes that are refused, or whose answer is lost


async def test_a_refused_refresh_with_a_password_logs_in(clock: Clock) -> None:
    async with emulator_on(clock) as emulator:
        store = MemoryTokenStore()
        async with client_for(emulator, auth=login_of(emulator, store=store)) as client:
            await upload(client)
            known = await store.load()
            assert known is not None
            assert known.refresh_token is not None
            emulator.expire_token(known.refresh_token)
            clock.now += LIFETIME
            assert await upload(client, 2) == ["succeeded"]
        assert emulator.logins == {emulator.username: 2}
        assert kinds(emulator)["refresh"] == 1
        assert emulator.violations == []


async def test_a_refused_refresh_without_a_password_says_to_log_in_again() -> None:
    async with Emulator(processing=0.01) as emulator:
        token = emulator.issue_refresh_token()
        emulator.expire_token(token)
        async with client_for(emulator, auth=RefreshAuth(token)) as client:
            for _ in range(2):
                with pytest.raises(AuthenticationError, match="Log in again") as caught:
                    await upload(client)
                assert token not in str(caught.value)
                assert [result.not_sent for result in caught.value.unaccounted] == [True]
        assert kinds(emulator) == {"refresh": 1}, "a token that was refused is not tried again"


async def test_a_refresh_at_a_wrong_path_is_an_error_that_names_it() -> None:
    async with Emulator(processing=0.01) as emulator:
        auth = RefreshAuth(emulator.issue_refresh_token())
        async with client_for(emulator, auth=auth, auth_prefix="/wrong") as client:
            for _ in range(2):
                with pytest.raises(AuthenticationError, match=r"/wrong/refresh.*404"):
                    await upload(client)
        assert kinds(emulator) == {"other": 1}


LOST = [Fault(on="refresh", drop="after"), Fault(on="refresh", status=502, taken=True), Fault(on="refresh", status=504)]
UNREADABLE = [
    Fault(on="refresh", status=201, taken=True, body="<html>hello</html>"),
    Fault(on="refresh", rewrite=lambda content: {"authorization": {}}),
]


@pytest.mark.parametrize("fault", [*LOST, *UNREADABLE])
async def test_a_refresh_whose_answer_is_lost_is_followed_by_a_login(clock: Clock, fault: Fault) -> None:
    async with emulator_on(clock, faults=[fault]) as emulator:
        async with client_for(emulator, auth=login_of(emulator)) as client:
            await upload(client)
            clock.now += LIFETIME
            assert await upload(client, 2) == ["succeeded"]
        assert kinds(emulator)["refresh"] == 1
        assert emulator.logins == {emulator.username: 2}
        assert emulator.violations == []


@pytest.mark.parametrize("fault", [*LOST, *UNREADABLE])
async def test_a_refresh_whose_answer_is_lost_is_an_error_where_there_is_no_password(fault: Fault) -> None:
    async with Emulator(processing=0.01, faults=[fault]) as emulator:
        store = MemoryTokenStore()
        async with client_for(emulator, auth=RefreshAuth(emulator.issue_refresh_token(), store=store)) as client:
            for _ in range(2):
                with pytest.raises(AuthenticationError, match="may be spent"):
                    await upload(client)
        assert kinds(emulator) == {"refresh": 1}
        assert emulator.violations == []


async def test_a_refresh_whose_answer_is_lost_is_not_repeated_by_who_shares_the_store(
    clock: Clock, tmp_path: Path
) -> None:
    async with emulator_on(clock) as emulator:
        path = tmp_path / "tokens.json"
        async with client_for(emulator, auth=login_of(emulator, store=FileTokenStore(path))) as client:
            await upload(client)
        clock.now += LIFETIME
        # Nor is there a login now: the store keeps what it had.
        emulator.add(Fault(on="refresh", drop="after"))
        emulator.add(Fault(on="login", status=503, times=None))
        async with client_for(
            emulator, auth=login_of(emulator, store=FileTokenStore(path)), max_tries=1, outage_limit=0.01
        ) as client:
            with pytest.raises(QuartileError):
                await upload(client, 2)
        emulator.clear_faults()

        async with client_for(emulator, auth=login_of(emulator, store=FileTokenStore(path))) as client:
            assert await upload(client, 3) == ["succeeded"]
        assert kinds(emulator)["refresh"] == 1
        assert emulator.violations == []


async def test_after_a_lost_refresh_the_store_is_asked_first(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another program, which does not know the lock, has replaced the tokens meanwhile."""
    async with emulator_on(clock) as emulator:
        store = MemoryTokenStore()
        async with client_for(emulator, auth=login_of(emulator, store=store)) as client:
            await upload(client)
            known = await store.load()
            assert known is not None
            clock.now += LIFETIME
            newer = StoredTokens(
                emulator.issue_token(), clock.now + LIFETIME, LIFETIME, None, server=known.server, user=known.user
            )

            def replaced(request: Request) -> Fault | None:
                if request.kind == "refresh":
                    store._tokens = newer
                    return Fault(drop="after")
                return None

            emulator.add(replaced)
            assert await upload(client, 2) == ["succeeded"]
        assert emulator.logins == {emulator.username: 1}


@pytest.mark.parametrize(
    "fault",
    [
        Fault(on="refresh", status=429, headers={"Retry-After": "0"}),
        Fault(on="refresh", status=425),
    ],
)
async def test_a_refresh_that_certainly_did_nothing_is_tried_again_with_its_token(clock: Clock, fault: Fault) -> None:
    async with emulator_on(clock, faults=[fault]) as emulator:
        async with client_for(emulator, auth=login_of(emulator)) as client:
            await upload(client)
            clock.now += LIFETIME
            assert await upload(client, 2) == ["succeeded"]
        assert emulator.logins == emulator.refreshes == {emulator.username: 1}
        assert emulator.violations == []


async def test_a_refresh_that_is_not_answered_in_time_is_followed_by_a_login(clock: Clock) -> None:
    async with emulator_on(clock, faults=[Fault(on="refresh", delay=30.0)]) as emulator:
        async with client_for(emulator, auth=login_of(emulator), request_timeout=0.3) as client:
            await upload(client)
            clock.now += LIFETIME
            assert await upload(client, 2) == ["succeeded"]
        assert kinds(emulator)["refresh"] == 1
        assert emulator.logins == {emulator.username: 2}
        assert emulator.violations == []


@pytest.mark.parametrize("kind", ["login", "refresh"])
@pytest.mark.parametrize(
    ("status", "words", "error"),
    [
        (429, "Rate limit is exceeded. Try again in 4000 seconds.", RateLimitError),
        (403, "Out of call volume quota. Quota will be replenished in 02:12:03.", QuotaExceededError),
    ],
)
async def test_a_pause_that_is_too_long_stops_the_upload_and_spends_nothing(
    kind: str, status: int, words: str, error: type[QuartileError]
) -> None:
    async with Emulator(processing=0.01) as emulator:
        emulator.add(Fault(on="any", status=status, body={"message": words}))
        token = emulator.issue_refresh_token()
        auth = login_of(emulator) if kind == "login" else RefreshAuth(token)
        async with client_for(emulator, auth=auth) as client:
            with pytest.raises(error, match="until") as caught:
                await upload(client)
            assert [result.not_sent for result in caught.value.unaccounted] == [True]
            assert await upload(client, 2) == ["succeeded"]
        assert kinds(emulator)[kind] == 2
        assert emulator.violations == []


@pytest.mark.parametrize(
    "fault",
    [
        Fault(on="login", drop="before", times=2),
        Fault(on="login", drop="after", times=2),
        Fault(on="login", status=503, times=2),
        Fault(on="login", status=201, body="<html>hello</html>", times=2),
        Fault(on="login", status=429, headers={"Retry-After": "0"}),
    ],
)
@pytest.mark.parametrize("resource", [MASTERLIST, Resource("unmanaged/asins", key="asin", idempotent=False)])
async def test_a_login_that_fails_in_passing_is_repeated_for_every_resource(
    fault: Fault, resource: Resource[Any]
) -> None:
    async with Emulator(processing=0.01, faults=[fault]) as emulator:
        async with client_for(emulator, auth=login_of(emulator)) as client:
            # Nothing gets through before the first login: the retries alone have to do.
            results = await client.upload(resource, [item(1)]).collect()
        assert [result.outcome.value for result in results] == ["succeeded"]
        assert not results[0].resent
        assert len(emulator.batches) == 1
        assert emulator.violations == []


# The store


async def test_new_tokens_are_saved_before_they_are_used(clock: Clock) -> None:
    async with emulator_on(clock) as emulator:
        store = Recording(emulator)
        async with client_for(emulator, auth=login_of(emulator, store=store)) as client:
            await upload(client)
            clock.now += LIFETIME
            await asyncio.gather(*(upload(client, number) for number in range(20)))
        given = [number for number, each in enumerate(emulator.requests, 1) if each.kind in ("login", "refresh")]
        assert [arrived for _, arrived in store.saved] == given, "nothing arrives between the answer and the save"
        assert len(store.saved) == 2
        assert all(tokens.refresh_token for tokens, _ in store.saved)


async def test_tokens_that_cannot_be_saved_are_an_error_that_says_so_and_are_not_used(clock: Clock) -> None:
    async with emulator_on(clock) as emulator:
        store = Failing(after=1)
        async with client_for(emulator, auth=login_of(emulator, store=store)) as client:
            await upload(client)
            clock.now += LIFETIME
            with pytest.raises(AuthenticationError, match="could not be saved") as caught:
                await upload(client, 2)
            assert "/somewhere/tokens.json" in str(caught.value)
            assert "No space left" in str(caught.value)
            assert emulator.requests[-1].kind == "refresh", "nothing goes out with tokens that are not saved"
            assert [result.not_sent for result in caught.value.unaccounted] == [True]

            store.times = 0
            assert await upload(client, 3) == ["succeeded"]
        assert emulator.refreshes == {emulator.username: 1}, "the tokens were kept, and saved when they could be"
        assert emulator.logins == {emulator.username: 1}
        assert emulator.violations == []


async def test_tokens_that_could_not_be_saved_are_not_saved_over_those_that_others_have_saved_since(
    clock: Clock,
) -> None:
    async with emulator_on(clock) as emulator:
        store = Failing(after=1)
        async with client_for(emulator, auth=login_of(emulator, store=store)) as client:
            await upload(client)
            clock.now += LIFETIME
            with pytest.raises(AuthenticationError, match="could not be saved"):
                await upload(client, 2)

            store.times = 0
            async with client_for(emulator, auth=login_of(emulator, store=store)) as other:
                await upload(other, 3)
            newer = await store.load()
            assert await upload(client, 4) == ["succeeded"]
            assert await store.load() == newer
        assert emulator.logins == {emulator.username: 2}


@pytest.mark.parametrize("failing", ["load", "lock"])
async def test_a_store_that_fails_is_an_error_that_does_not_quote_it(failing: str) -> None:
    class Broken(MemoryTokenStore):
        async def load(self) -> StoredTokens | None:
            raise RuntimeError("s3cret")

        def lock(self) -> AbstractAsyncContextManager[Any]:
            if failing == "lock":
                raise RuntimeError("s3cret")
            return super().lock()

    async with Emulator(processing=0.01) as emulator:
        async with client_for(emulator, auth=login_of(emulator, store=Broken())) as client:
            with pytest.raises(AuthenticationError, match="RuntimeError") as caught:
                await upload(client)
        assert "s3cret" not in str(caught.value)
        assert "Broken" in str(caught.value)
        assert emulator.requests == []


async def test_a_store_with_rubbish_is_replaced_by_a_login(tmp_path: Path) -> None:
    path = tmp_path / "tokens.json"
    path.write_bytes(b"rubbish")
    async with Emulator(processing=0.01) as emulator:
        async with client_for(emulator, auth=login_of(emulator, store=FileTokenStore(path))) as client:
            assert await upload(client) == ["succeeded"]
        assert emulator.logins == {emulator.username: 1}
    known = await FileTokenStore(path).load()
    assert known is not None


@pytest.mark.parametrize("difference", ["user", "server"])
async def test_the_store_of_another_user_or_server_is_refused(difference: str) -> None:
    store = MemoryTokenStore()
    async with Emulator(processing=0.01) as emulator, Emulator(processing=0.01) as elsewhere:
        async with client_for(emulator, auth=login_of(emulator, store=store)) as client:
            await upload(client)
        emulator.add_user("other@example.com", "0ther")
        other = emulator if difference == "user" else elsewhere
        auth = (
            LoginAuth("other@example.com", "0ther", store=store)
            if difference == "user"
            else login_of(other, store=store)
        )
        before = len(other.requests)
        async with client_for(other, auth=auth) as client:
            with pytest.raises(ConfigurationError, match="another user or server"):
                await upload(client)
        assert len(other.requests) == before, "no token goes where it does not belong"


async def test_a_second_client_neither_logs_in_nor_refreshes_while_the_token_lives(
    clock: Clock, tmp_path: Path
) -> None:
    async with emulator_on(clock) as emulator:
        for number in range(3):
            store = FileTokenStore(tmp_path / "tokens.json")
            async with client_for(emulator, auth=login_of(emulator, store=store)) as client:
                await upload(client, number)
        clock.now += LIFETIME - 100.0
        for number in range(3):
            store = FileTokenStore(tmp_path / "tokens.json")
            async with client_for(emulator, auth=login_of(emulator, store=store)) as client:
                await upload(client, number)
        assert emulator.logins == emulator.refreshes == {emulator.username: 1}
        assert emulator.violations == []


async def test_a_refresh_token_that_was_given_gives_way_to_the_newer_one_in_the_store(
    clock: Clock, tmp_path: Path
) -> None:
    async with emulator_on(clock) as emulator:
        given = emulator.issue_refresh_token()
        for number in range(3):
            auth = RefreshAuth(given, store=FileTokenStore(tmp_path / "tokens.json"))
            async with client_for(emulator, auth=auth) as client:
                assert await upload(client, number) == ["succeeded"]
            clock.now += LIFETIME
        assert emulator.refreshes == {emulator.username: 3}
        assert emulator.violations == []


async def test_clients_that_share_a_store_refresh_once(clock: Clock, tmp_path: Path) -> None:
    async with emulator_on(clock) as emulator:
        clients = [
            client_for(emulator, auth=login_of(emulator, store=FileTokenStore(tmp_path / "tokens.json")))
            for _ in range(5)
        ]
        for _ in range(3):
            await asyncio.gather(*(upload(client, number) for number, client in enumerate(clients)))
            clock.now += LIFETIME - 10.0
        for client in clients:
            await client.aclose()
        assert emulator.logins == {emulator.username: 1}
        assert emulator.refreshes == {emulator.username: 2}
        assert emulator.violations == []


async def test_clients_whose_token_dies_early_refresh_once(tmp_path: Path) -> None:
    async with Emulator(processing=0.01) as emulator:
        path = tmp_path / "tokens.json"
        clients = [client_for(emulator, auth=login_of(emulator, store=FileTokenStore(path))) for _ in range(3)]
        for number, client in enumerate(clients):
            await upload(client, number)
        known = await FileTokenStore(path).load()
        assert known is not None
        emulator.expire_token(known.access_token)

        outcomes = await asyncio.gather(*(upload(client, number) for number, client in enumerate(clients, 10)))
        for client in clients:
            await client.aclose()
        assert outcomes == [["succeeded"]] * 3
        assert emulator.logins == emulator.refreshes == {emulator.username: 1}
        assert emulator.violations == []


PROCESS = """
import asyncio, sys
from quartile_async import MASTERLIST, FileTokenStore, LoginAuth, QuartileClient

async def main() -> None:
    url, key, user, password, path, first, seconds = sys.argv[1:]

    async def items():
        end = asyncio.get_running_loop().time() + float(seconds)
        number = 0
        while asyncio.get_running_loop().time() < end:
            yield {"asin": f"B{int(first) + number:09d}", "countryCode": "US", "percACoS": 25.0}
            number += 1
            await asyncio.sleep(0.02)

    auth = LoginAuth(user, password, store=FileTokenStore(path))
    async with QuartileClient(subscription_key=key, auth=auth, base_url=url, linger=0.02) as client:
        summary = await client.upload(MASTERLIST, items()).summary()
    print(summary.items, summary.succeeded, flush=True)

asyncio.run(main())
"""


async def processes(emulator: Emulator, path: Path, count: int, seconds: float) -> list[list[int]]:
    """What so many processes that upload at once have read and carried out."""
    common = [emulator.url, emulator.subscription_key, emulator.username, emulator.password, str(path)]
    started = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-c", PROCESS, *common, str(1_000_000 * number), str(seconds), stdout=subprocess.PIPE
        )
        for number in range(count)
    ]
    told = [(await process.communicate())[0] for process in started]
    return [[int(number) for number in each.split()] for each in told]


@pytest.mark.slow
async def test_processes_with_one_store_refresh_once_for_each_expiry(tmp_path: Path) -> None:
    async with Emulator(processing=0.01, token_lifetime=1.5) as emulator:
        counts = await processes(emulator, tmp_path / "tokens.json", 2, 4.0)
        assert len(counts) == 2
        assert all(read == succeeded > 50 for read, succeeded in counts)
        assert emulator.logins == {emulator.username: 1}
        # Each token is replaced in the last quarter of its life, and only once.
        given = [record.time for record in emulator.requests if record.kind in ("login", "refresh")]
        gaps = [later - earlier for earlier, later in pairwise(given)]
        assert len(gaps) == emulator.refreshes[emulator.username] >= 2
        assert all(0.75 * 1.5 - 0.1 < gap < 1.5 + 0.5 for gap in gaps)
        assert all(record.status != 401 for record in emulator.requests)
        assert emulator.violations == []


# Leaving


async def by_cancelling(client: QuartileClient, first: asyncio.Task[Any]) -> None:
    first.cancel()
    await asyncio.wait([first])


async def by_closing(client: QuartileClient, first: asyncio.Task[Any]) -> None:
    await client.aclose()
    await asyncio.wait([first])


async def tokens_that_work(emulator: Emulator, store: MemoryTokenStore) -> bool:
    """Whether someone who has the store alone gets in."""
    known = await store.load()
    assert known is not None
    emulator.expire_token(known.access_token)
    assert known.refresh_token is not None
    async with client_for(emulator, auth=RefreshAuth(known.refresh_token)) as client:
        try:
            return await upload(client, 1_000) == ["succeeded"]
        except AuthenticationError:
            return False


@pytest.mark.parametrize("leave", [by_cancelling, by_closing])
async def test_leaving_during_a_refresh_loses_no_token(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, leave: Callable[..., Any]
) -> None:
    async with emulator_on(clock) as emulator:
        store = MemoryTokenStore()
        async with client_for(emulator, auth=login_of(emulator, store=store)) as client:
            await upload(client)
            clock.now += LIFETIME
            old = await store.load()
            held = Held(emulator, monkeypatch, "refresh")
            first = asyncio.ensure_future(upload(client, 2))
            await held.arrived.wait()
            asyncio.get_running_loop().call_later(0.1, held.may_go.set)
            await leave(client, first)
        assert await store.load() != old, "the rotated token was saved"
        assert emulator.refreshes == {emulator.username: 1}
        assert emulator.logins == {emulator.username: 1}
        assert await tokens_that_work(emulator, store)
        assert emulator.violations == []


async def test_cancelling_the_request_that_leads_a_refresh_does_not_fail_the_others(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with emulator_on(clock) as emulator, client_for(emulator, auth=login_of(emulator)) as client:
        await upload(client)
        clock.now += LIFETIME
        held = Held(emulator, monkeypatch, "refresh")
        first = asyncio.ensure_future(client.submit(MASTERLIST, [item(2)]))
        await held.arrived.wait()
        others = [asyncio.ensure_future(upload(client, number)) for number in range(10, 20)]
        await asyncio.sleep(0.05)
        first.cancel()
        await asyncio.wait([first])
        held.may_go.set()
        assert await asyncio.gather(*others) == [["succeeded"]] * 10
        assert emulator.refreshes == {emulator.username: 1}
        assert emulator.violations == []


@pytest.mark.parametrize("steps", range(0, 60, 2))
async def test_closing_at_any_moment_of_a_refresh_loses_no_token(clock: Clock, steps: int) -> None:
    async with emulator_on(clock) as emulator:
        store = MemoryTokenStore()
        async with client_for(emulator, auth=login_of(emulator, store=store)) as client:
            await upload(client)
            clock.now += LIFETIME
            first = asyncio.ensure_future(upload(client, 2))
            for _ in range(steps):
                await asyncio.sleep(0)
            await client.aclose()
            await asyncio.wait([first])
            await asyncio.sleep(0.02)  # what was on the wire arrives
        assert await tokens_that_work(emulator, store)
        assert emulator.violations == []


@pytest.mark.parametrize("waits_for", ["login", "the store's lock", "the gate"])
async def test_closing_does_not_wait_for_tokens_that_nobody_has_given(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, waits_for: str
) -> None:
    async with emulator_on(clock) as emulator:
        store = MemoryTokenStore()
        async with nothing_is_left(emulator):
            client = client_for(emulator, auth=login_of(emulator, store=store))
            async with store.lock() if waits_for == "the store's lock" else anyio.Lock():
                if waits_for == "login":
                    held = Held(emulator, monkeypatch, "login")
                    first = asyncio.ensure_future(upload(client))
                    await held.arrived.wait()
                elif waits_for == "the gate":
                    await upload(client)
                    clock.now += LIFETIME
                    emulator.add(Fault(on="refresh", status=429, headers={"Retry-After": "100"}))
                    first = asyncio.ensure_future(upload(client, 2))
                    await until(lambda: kinds(emulator)["refresh"] == 1)
                    await asyncio.sleep(0.05)
                else:
                    first = asyncio.ensure_future(upload(client))
                    await asyncio.sleep(0.05)
                async with asyncio.timeout(3):
                    await client.aclose()
            with pytest.raises(ClientClosedError):
                await first


async def test_closing_during_a_refresh_whose_answer_is_lost_does_not_log_in(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with emulator_on(clock) as emulator:
        async with client_for(emulator, auth=login_of(emulator)) as client:
            await upload(client)
            clock.now += LIFETIME
            emulator.add(Fault(on="refresh", drop="after", delay=0.2))
            first = asyncio.ensure_future(upload(client, 2))
            await until(lambda: kinds(emulator)["refresh"] == 1)
            await client.aclose()
            with pytest.raises(ClientClosedError):
                await first
        assert emulator.logins == {emulator.username: 1}, "no further request goes out"


async def test_closing_does_not_wait_for_the_gate_that_a_refresh_was_told_of(clock: Clock) -> None:
    async with emulator_on(clock) as emulator:
        store = MemoryTokenStore()
        async with client_for(emulator, auth=login_of(emulator, store=store)) as client:
            await upload(client)
            clock.now += LIFETIME
            emulator.add(Fault(on="refresh", status=429, headers={"Retry-After": "100"}, delay=0.2))
            first = asyncio.ensure_future(upload(client, 2))
            await until(lambda: kinds(emulator)["refresh"] == 1)
            async with asyncio.timeout(3):
                await client.aclose()
            with pytest.raises(ClientClosedError):
                await first
        assert await tokens_that_work(emulator, store), "the refresh token was not spent"
        assert emulator.violations == []


async def test_a_client_that_is_closed_while_a_token_is_replaced_beside_its_use_saves_it(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with emulator_on(clock) as emulator:
        store = MemoryTokenStore()
        async with nothing_is_left(emulator):
            async with client_for(emulator, auth=login_of(emulator, store=store)) as client:
                await upload(client)
                clock.now += LIFETIME - 100.0
                held = Held(emulator, monkeypatch, "refresh")
                await upload(client, 2)
                await held.arrived.wait()
                asyncio.get_running_loop().call_later(0.1, held.may_go.set)
        assert await tokens_that_work(emulator, store)


# Accounts


def accounts_of(emulator: Emulator, client: QuartileClient, count: int) -> Iterator[tuple[str, Any]]:
    for number in range(count):
        user = f"user-{number}@example.com"
        emulator.add_user(user, f"passw0rd-{number}")
        yield user, client.for_account(f"account-{number}", auth=LoginAuth(user, f"passw0rd-{number}"))


async def test_each_account_sends_its_own_users_token() -> None:
    async with Emulator(processing=0.01) as emulator:
        async with client_for(emulator, auth=login_of(emulator), account="first") as client:
            accounts = {emulator.username: client, **dict(accounts_of(emulator, client, 3))}
            await asyncio.gather(
                *(
                    upload(account, *range(number * 1_000, number * 1_000 + 250))
                    for number, account in enumerate(accounts.values())
                )
            )
        assert emulator.logins == dict.fromkeys(accounts, 1)
        users = {batch.items[0]["asin"][:-3]: batch.user for batch in emulator.batches}
        assert [users[f"B0{number:08d}"[:-3]] for number in range(0, 4_000, 1_000)] == list(accounts)
        of_batch = {batch.id: batch.user for batch in emulator.batches}
        sent = [record for record in emulator.requests if record.batch_id is not None]
        assert all(record.user == of_batch[record.batch_id or ""] for record in sent), "polls, too"
        assert emulator.violations == []


async def test_an_accounts_refresh_does_not_hold_up_another(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    async with emulator_on(clock) as emulator:
        async with client_for(emulator, auth=login_of(emulator)) as client:
            other = client.for_account("other", auth=emulator.issue_token(lifetime=1e9))
            await upload(client)
            clock.now += LIFETIME
            held = Held(emulator, monkeypatch, "refresh")
            waiting = asyncio.ensure_future(upload(client, 2))
            await held.arrived.wait()
            async with asyncio.timeout(5):
                assert await upload(other, 3) == ["succeeded"]
            assert not waiting.done()
            held.may_go.set()
            assert await waiting == ["succeeded"]


async def test_one_accounts_refused_login_costs_no_other_account_anything() -> None:
    async with Emulator(processing=0.01) as emulator:
        async with client_for(emulator, auth=login_of(emulator)) as client:
            locked_out = client.for_account("locked out", auth=LoginAuth("nobody@example.com", "nothing"))
            good, bad = await asyncio.gather(
                upload(client, *range(300)), upload(locked_out, *range(300)), return_exceptions=True
            )
        assert good == ["succeeded"] * 300
        assert isinstance(bad, AuthenticationError)
        assert len(bad.unaccounted) == 300
        assert all(result.not_sent for result in bad.unaccounted)


async def test_the_order_of_writes_to_a_key_is_kept_for_each_account_by_itself() -> None:
    async with Emulator(processing=0.3) as emulator:
        async with client_for(emulator, auth=login_of(emulator), account="first", linger=0.0) as client:
            ((_, other),) = accounts_of(emulator, client, 1)
            await asyncio.gather(upload(client, 1), upload(other, 1))
            assert emulator.max_in_flight == 2, "the same product of two accounts is two products"
            same = client.for_account("first", auth=login_of(emulator))
            taken = len(emulator.batches)
            await asyncio.gather(upload(client, 2), upload(same, 2))
            first, second = emulator.batches[taken:]
            assert first.told_at is not None
            assert first.told_at <= second.taken_at, "one label is one account"
        assert emulator.overlaps == []


@pytest.mark.slow
async def test_two_hundred_accounts_stay_within_the_bound_and_take_turns() -> None:
    async with Emulator(processing=0.02) as emulator:
        async with client_for(emulator, auth=login_of(emulator), max_in_flight=8) as client:
            accounts = list(accounts_of(emulator, client, 200))
            ends: list[float] = []
            loop = asyncio.get_running_loop()
            start = loop.time()

            async def one(account: Any) -> list[str]:
                outcomes = await upload(account, *range(300))
                ends.append(loop.time() - start)
                return outcomes

            outcomes = await asyncio.gather(*(one(account) for _, account in accounts))
        assert outcomes == [["succeeded"] * 300] * 200
        assert emulator.max_in_flight == 8
        turns = [batch.user for batch in emulator.batches]
        assert len(turns) == 600
        assert len(set(turns[:200])) >= 190, "nobody has a second batch before nearly all have had a first"
        assert emulator.overlaps == []
        assert emulator.logins == dict.fromkeys([user for user, _ in accounts], 1)
        assert emulator.violations == []


async def test_closing_the_client_closes_its_accounts(monkeypatch: pytest.MonkeyPatch) -> None:
    async with Emulator(processing=5.0) as emulator:
        async with nothing_is_left(emulator):
            client = client_for(emulator, auth=login_of(emulator))
            accounts = [account for _, account in accounts_of(emulator, client, 3)]
            uploads = [asyncio.ensure_future(upload(account, number)) for number, account in enumerate(accounts)]
            await until(lambda: len(emulator.batches) == 3)
            late = client.for_account("late", auth=LoginAuth("user-0@example.com", "passw0rd-0"))
            held = Held(emulator, monkeypatch, "login")
            uploads.append(asyncio.ensure_future(upload(late, 5)))
            await held.arrived.wait()
            await client.aclose()
            ended = await asyncio.gather(*uploads, return_exceptions=True)
        assert [type(error) for error in ended] == [ClientClosedError] * 4
        with pytest.raises(ClientClosedError):
            accounts[0].upload(MASTERLIST, items(1))
        with pytest.raises(ClientClosedError):
            client.for_account("another", auth="token")


async def test_accounts_of_one_user_may_share_a_store() -> None:
    async with Emulator(processing=0.01) as emulator:
        auth = login_of(emulator, store=MemoryTokenStore())
        async with client_for(emulator, auth=auth) as client:
            others = [client.for_account(label, auth=auth) for label in ("one", "two")]
            await asyncio.gather(*(upload(account, number) for number, account in enumerate([client, *others])))
        assert emulator.logins == {emulator.username: 1}


async def test_an_account_that_is_dropped_during_its_refresh_loses_no_token(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with emulator_on(clock) as emulator:
        store = MemoryTokenStore()
        async with client_for(emulator, auth="unused") as client:
            account = client.for_account("one", auth=login_of(emulator, store=store))
            await account.submit(MASTERLIST, [item(1)])
            clock.now += LIFETIME
            held = Held(emulator, monkeypatch, "refresh")
            leading = asyncio.ensure_future(account.submit(MASTERLIST, [item(2)]))
            await held.arrived.wait()
            leading.cancel()
            await asyncio.wait([leading])
            del account, leading
            gc.collect()
            asyncio.get_running_loop().call_later(0.1, held.may_go.set)
        assert await tokens_that_work(emulator, store)


@pytest.mark.parametrize("password", ["pässwörd", 'quo"te\\', "line\nbreak", " blank ", "p" * 5000])
async def test_any_user_name_and_password_can_log_in(password: str) -> None:
    async with Emulator(processing=0.01) as emulator:
        emulator.add_user("sélér@example.com", password)
        auth = LoginAuth("sélér@example.com", password)
        assert password not in repr(auth)
        async with client_for(emulator, auth=auth) as client:
            assert await upload(client) == ["succeeded"]


@pytest.mark.parametrize(
    "made",
    [
        lambda: LoginAuth("", "passw0rd"),
        lambda: LoginAuth("user", ""),
        lambda: RefreshAuth(""),
        lambda: RefreshAuth("t0ken\n"),
        lambda: RefreshAuth("t0 ken"),
    ],
)
def test_credentials_that_cannot_be_used_are_refused_without_being_shown(made: Callable[[], object]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        made()
    assert "t0" not in str(caught.value)
    assert "passw0rd" not in str(caught.value)


async def test_from_env_logs_in_with_user_name_and_password(monkeypatch: pytest.MonkeyPatch) -> None:
    async with Emulator(processing=0.01) as emulator:
        monkeypatch.delenv("QUARTILE_ACCESS_TOKEN", raising=False)
        monkeypatch.setenv("QUARTILE_SUBSCRIPTION_KEY", emulator.subscription_key)
        monkeypatch.setenv("QUARTILE_USERNAME", emulator.username)
        monkeypatch.setenv("QUARTILE_PASSWORD", emulator.password)
        monkeypatch.setenv("QUARTILE_BASE_URL", emulator.url)
        async with QuartileClient.from_env() as client:
            assert await upload(client) == ["succeeded"]
        assert emulator.logins == {emulator.username: 1}

        monkeypatch.delenv("QUARTILE_PASSWORD")
        with pytest.raises(ConfigurationError, match="QUARTILE_PASSWORD"):
            QuartileClient.from_env()


# Nothing leaks


async def test_no_secret_of_a_login_or_refresh_stands_in_logs_and_errors(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    def quoting(request: Request) -> Fault | None:
        if request.kind in ("refresh", "login") and len(emulator.requests) > 2:
            return Fault(status=401, body={"message": f"No: {request.body.decode()}"})
        return None

    caplog.set_level(0)
    async with emulator_on(clock) as emulator:
        store = MemoryTokenStore()
        emulator.add(quoting)
        async with client_for(emulator, auth=login_of(emulator, store=store)) as client:
            await upload(client)
            known = await store.load()
            assert known is not None
            assert known.refresh_token is not None
            clock.now += LIFETIME
            with pytest.raises(AuthenticationError) as caught:
                await upload(client, 2)
        error: BaseException | None = caught.value
        texts = [caplog.text]
        while error is not None:
            texts += [str(error), repr(error), str(vars(error))]
            error = error.__cause__ or error.__context__
        for secret in (emulator.password, known.refresh_token, known.access_token, emulator.subscription_key):
            assert all(secret not in text for text in texts)
