"""The seam for a quota that processes share: what a client asks it and tells it, and what it does with the answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from quartile_async import (
    MASTERLIST,
    ConfigurationError,
    LoginAuth,
    QuartileClient,
    RateLimitError,
    SharedQuotaError,
)
from quartile_async.emulator import Emulator, Fault

from ..behaviour.conftest import items


class FakeQuota:
    """Lets everything through, and remembers it; one client alone may use it."""

    rate = None

    def __init__(self) -> None:
        self.key = ""
        self.closed_elsewhere: Callable[[float], object] = lambda seconds: None
        self.admissions = 0
        self.held: set[object] = set()
        self.most_held = 0
        self.told: list[float] = []
        self.closed = False
        self.lifetime = 10.0
        self.fails_after: int | None = None
        self.has_slots = True

    def share_of(self, subscription_key: str, *, closed_elsewhere: Callable[[float], object]) -> FakeQuota:
        self.key, self.closed_elsewhere = subscription_key, closed_elsewhere
        return self

    async def admission(self) -> float:
        if self.fails_after is not None and self.admissions >= self.fails_after:
            raise SharedQuotaError("it cannot be asked")
        self.admissions += 1
        await asyncio.sleep(0)
        return asyncio.get_running_loop().time() + self.lifetime

    async def take(self, borrower: object) -> None:
        if not self.has_slots:
            raise SharedQuotaError("it cannot be asked")
        await asyncio.sleep(0)
        self.held.add(borrower)
        self.most_held = max(self.most_held, len(self.held))

    def give_back(self, borrower: object) -> None:
        self.held.remove(borrower)

    def gate_closed(self, seconds: float) -> None:
        self.told.append(seconds)

    async def aclose(self) -> None:
        self.closed = True


@pytest.fixture
def quota() -> FakeQuota:
    return FakeQuota()


def client_for(emulator: Emulator, quota: Any, **settings: Any) -> QuartileClient:
    settings = {"auth": emulator.access_token, "max_in_flight": 4} | settings
    return QuartileClient(subscription_key=emulator.subscription_key, base_url=emulator.url, quota=quota, **settings)


async def test_each_request_asks_for_a_place_and_each_batch_for_a_slot_that_it_gives_back(quota: FakeQuota) -> None:
    async with Emulator(processing=0.01) as emulator:
        async with client_for(emulator, quota) as client:
            assert (await client.upload(MASTERLIST, items(1_000)).summary()).succeeded == 1_000
            other = client.for_account("other", auth=emulator.access_token)
            assert (await other.upload(MASTERLIST, items(100)).summary()).succeeded == 100
            await client.wait(await other.submit(MASTERLIST, items(1)))
            assert quota.held == set()
        assert quota.admissions == len(emulator.requests)
        assert 1 <= quota.most_held <= 4
        assert quota.key == emulator.subscription_key
        assert quota.closed


async def test_logins_and_refreshes_ask_for_a_place_too(quota: FakeQuota) -> None:
    async with Emulator(processing=0.0) as emulator:
        auth = LoginAuth(emulator.username, emulator.password)
        async with client_for(emulator, quota, auth=auth) as client:
            await client.upload(MASTERLIST, items(100)).summary()
        assert emulator.requests[0].kind == "login"
        assert quota.admissions == len(emulator.requests)


async def test_a_place_whose_time_is_over_is_not_used(quota: FakeQuota) -> None:
    async with Emulator(processing=0.0) as emulator, client_for(emulator, quota) as client:
        quota.lifetime = -1.0
        asking = asyncio.ensure_future(client.submit(MASTERLIST, items(1)))
        await asyncio.sleep(0.05)
        assert emulator.requests == []
        assert quota.admissions > 3
        quota.lifetime = 10.0
        await asking
        assert len(emulator.requests) == 1


async def test_a_429_is_told_to_the_others_once_and_theirs_is_heeded(quota: FakeQuota) -> None:
    async with Emulator(
        processing=0.0, faults=[Fault(on="submit", status=429, headers={"Retry-After": "1"})]
    ) as emulator:
        async with client_for(emulator, quota) as client:
            await client.submit(MASTERLIST, items(1))
            assert quota.told == [pytest.approx(1.0, abs=0.1)]
            begun = emulator.requests[-1].time
            quota.closed_elsewhere(0.5)
            await client.submit(MASTERLIST, items(1))
            assert emulator.requests[-1].time - begun >= 0.5
            assert len(quota.told) == 1, "what the others told is not told to them"


async def test_a_pause_that_is_too_long_is_still_an_error(quota: FakeQuota) -> None:
    async with Emulator(faults=[Fault(on="submit", status=429, headers={"Retry-After": "1000"})]) as emulator:
        async with client_for(emulator, quota) as client:
            with pytest.raises(RateLimitError):
                await client.submit(MASTERLIST, items(1))


@pytest.mark.parametrize("what", ["places", "slots"])
async def test_a_quota_that_cannot_be_asked_ends_an_upload_with_each_item_accounted_for(
    quota: FakeQuota, what: str
) -> None:
    async with Emulator(processing=0.01) as emulator, client_for(emulator, quota) as client:
        if what == "places":
            quota.fails_after = 10
        else:
            quota.has_slots = False
        upload = client.upload(MASTERLIST, items(5_000))
        with pytest.raises(SharedQuotaError) as caught:
            await upload.collect()
        assert len(caught.value.results) + len(caught.value.unaccounted) == upload.progress.read
        taken = {batch.id for batch in emulator.batches}
        assert all(result.not_sent or result.batch_id in taken for result in caught.value.unaccounted)
        assert quota.held == set()
        assert client._traffic.slots.in_use == 0


def test_what_is_no_quota_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="quota is a str"):
        QuartileClient(subscription_key="k", auth="t", quota="redis://localhost")  # type: ignore[arg-type]  # on purpose
