"""What takes minutes or a night, in virtual time: outages, closed gates, congestion, deadlines."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from quartile_async import (
    MASTERLIST,
    LoginAuth,
    Outcome,
    QuartileClient,
    RateLimitError,
    Resource,
    ServerError,
    TransportError,
)
from quartile_async._retrying import RetryBudget
from quartile_async.emulator import Emulator, Fault, Lognormal, RateLimit

from .virtual import EPOCH, Outage, VirtualHttp

pytestmark = pytest.mark.looptime(start=0.0)


def now() -> float:
    return asyncio.get_running_loop().time()


def emulator_with(**settings: Any) -> Emulator:
    return Emulator(**{"clock": now, "wall_clock": lambda: EPOCH + now(), "processing": 1.0, **settings})


@asynccontextmanager
async def client_of(
    emulator: Emulator, *outages: Outage, auth: Any = None, **settings: Any
) -> AsyncIterator[tuple[QuartileClient, VirtualHttp]]:
    client = QuartileClient(
        subscription_key=emulator.subscription_key,
        auth=auth or emulator.access_token,
        base_url="http://127.0.0.1:1",
        **settings,
    )
    headers = {"Subscription-Key": emulator.subscription_key, "Content-Type": "application/json"}
    http = VirtualHttp(emulator, settings.get("request_timeout", 30.0), headers, list(outages))
    client._transport._http = client._http = http  # type: ignore[assignment]  # a stand-in
    async with client:
        yield client, http
    assert emulator.violations == []


def items(count: int) -> Iterator[dict[str, Any]]:
    for number in range(count):
        yield {"asin": f"B0{number:08d}", "countryCode": "US", "percACoS": 25.0}


@pytest.fixture(autouse=True)
def _the_same_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    random.seed(0)  # the client's jitter
    monkeypatch.setattr("quartile_async._client.wall_clock", lambda: EPOCH + now())


@pytest.mark.parametrize("how", ["refused", "lost", "502"])
@pytest.mark.parametrize("resource", [MASTERLIST, Resource("unmanaged/asins", key="asin", idempotent=False)])
async def test_an_outage_pauses_reading_and_submitting_and_the_upload_goes_on_after_it(how: str, resource: Any) -> None:
    emulator = emulator_with()
    outage = Outage(5.0, 65.0, how)
    async with client_of(emulator, outage) as (client, http):
        upload, reads, results = client.upload(resource, items(20_000)), [], []

        async def watch() -> None:
            for at in (16.0, 30.0, 60.0):
                await asyncio.sleep(at - now())
                reads.append(upload.progress.read)

        watching = asyncio.ensure_future(watch())
        async for result in upload:
            results.append(result)
        await watching

    assert len(results) == 20_000
    assert len(set(reads)) == 1, "nothing is read while nothing gets through"
    probes = [each for each in http.seen if 20.0 <= each.sent_at < 65.0]
    assert 4 <= len(probes) <= 15, "one probe at a time, ever more seldom"
    unknown = [result for result in results if result.outcome is Outcome.UNKNOWN]
    if resource is MASTERLIST or how == "refused":
        assert not unknown
    else:
        # A submit in doubt is not sent again: those that were on the wire are lost, and no more than a few probes.
        assert len(unknown) <= 100 * (client._traffic.slots.limit + 15)
        assert not any(result.not_sent for result in unknown)


async def test_nothing_is_read_in_an_outage_although_there_is_room() -> None:
    emulator, reads = emulator_with(), {}

    async def slowly() -> AsyncIterator[dict[str, Any]]:
        for item in items(2_000):
            await asyncio.sleep(0.02)
            reads[round(now(), 1)] = item
            yield item

    async with client_of(emulator, Outage(5.0, 65.0, "refused")) as (client, _):
        results = await client.upload(MASTERLIST, slowly()).collect()

    assert all(result.ok for result in results)
    assert len(results) == 2_000
    # It takes the tries of a request until it is known; then one item that was asked for already may come.
    assert len([at for at in reads if 20.0 <= at < 65.0]) <= 1


async def test_a_probe_that_is_left_while_it_waits_for_its_answer_makes_way_for_another_upload() -> None:
    emulator = emulator_with(processing=0.5)
    other = Resource("unmanaged/asins", key="asin")
    async with client_of(emulator, Outage(5.0, 60.0, "silent"), request_timeout=500.0) as (client, _):
        uploads = {
            "process/masterlist": client.upload(MASTERLIST, items(9_000)),
            other.path: client.upload(other, items(9_000)),
        }
        running = {path: asyncio.ensure_future(upload.collect()) for path, upload in uploads.items()}
        await asyncio.sleep(4.0)
        client._traffic.outage.begin("for the test", since=now())
        await asyncio.sleep(10.0)
        probe = client._traffic.outage._probe
        assert probe is not None
        by_id = {batch.id: batch.resource for batch in emulator.batches}
        path = probe.path  # type: ignore[attr-defined]  # the outage knows requests as objects only
        left = by_id.get(path.rsplit("/", 1)[1]) or path.removeprefix("/amazon/v2/")
        running[left].cancel()
        (stays,) = set(running) - {left}
        results = await running[stays]

    assert all(result.ok for result in results)
    assert now() <= 120.0


async def test_an_outage_that_does_not_end_stops_the_upload_after_outage_limit_and_says_what_is_known() -> None:
    emulator = emulator_with(processing=20.0)
    async with client_of(emulator, Outage(5.0, 1e9, "refused"), outage_limit=120.0) as (client, _):
        upload, delivered = client.upload(MASTERLIST, items(50_000)), []
        with pytest.raises(TransportError) as caught:
            async for result in upload:
                delivered.append(result)

    assert 120.0 <= now() <= 180.0
    assert "120 s" in str(caught.value)
    assert "outage_limit" in str(caught.value)
    rest = caught.value.unaccounted
    assert len(delivered) + len(rest) == upload.progress.read <= 100 * (16 + 8)
    known = {result.batch_id for result in rest if result.batch_id}
    assert known == {batch.id for batch in emulator.batches}
    assert all(result.batch_id or result.not_sent for result in rest)


async def test_when_nothing_ever_got_through_the_upload_stops_after_the_first_batchs_retries() -> None:
    for how in ("refused", "lost", "502"):
        emulator = emulator_with()
        before = now()
        async with client_of(emulator, Outage(0.0, 1e9, how)) as (client, _):
            upload = client.upload(MASTERLIST, items(50_000))
            with pytest.raises(TransportError) as caught:
                await upload.collect()
        assert now() - before <= 30.0
        assert len(caught.value.unaccounted) == upload.progress.read


async def test_a_batch_that_fails_while_others_get_through_costs_itself() -> None:
    emulator = emulator_with(processing=Lognormal(3.0, 0.8))
    poisoned = {f"B0{number:08d}".encode() for number in (250, 1_700)}
    emulator.add(
        Fault(on="submit", times=None, status=500, when=lambda request: any(each in request.body for each in poisoned))
    )
    async with client_of(emulator, max_in_flight=4) as (client, _):
        results = await client.upload(MASTERLIST, items(6_000)).collect()

    unknown = [result.index for result in results if result.outcome is Outcome.UNKNOWN]
    assert unknown == [*range(200, 300), *range(1_700, 1_800)]
    assert all(result.ok for result in results if result.index not in unknown)


async def test_a_closed_gate_is_closed_for_all_and_no_request_is_wasted_on_it() -> None:
    emulator = emulator_with(processing=2.0)
    emulator.add(Fault(on="poll", after=20, times=1, status=429, headers={"Retry-After": "90"}))
    async with client_of(emulator) as (client, http):
        many = [client.upload(MASTERLIST, [dict(item, percACoS=float(n + 2)) for item in items(800)]) for n in range(3)]
        gathered = await asyncio.gather(*(upload.collect() for upload in many))

    assert all(result.ok for results in gathered for result in results)
    (refused,) = [each for each in http.seen if each.status == 429]
    assert refused.answered_at is not None
    opens_at = refused.answered_at + 90.0
    # What was on the wire when the answer came arrives within its own latency.
    assert not [each for each in http.seen if refused.answered_at < each.sent_at < opens_at]
    after = sorted(each.sent_at for each in http.seen if each.sent_at >= opens_at)
    assert len(set(after[:5])) == 5, "spread, not all at once"


async def test_a_request_that_waited_at_the_gate_has_all_its_tries_left() -> None:
    emulator = emulator_with()
    for _ in range(4):
        emulator.add(Fault(on="submit", times=1, status=429, headers={"Retry-After": "50"}))
    for _ in range(4):
        emulator.add(Fault(on="submit", times=1, status=503))
    async with client_of(emulator, max_tries=5, max_retry_time=30.0) as (client, _):
        (result,) = await client.upload(MASTERLIST, items(1)).collect()

    assert result.ok
    assert now() >= 200.0


@pytest.mark.parametrize(
    ("fault", "kind", "named"),
    [
        ({"status": 429, "headers": {"Retry-After": "7200"}}, RateLimitError, "2:00:00"),
        ({"status": 429, "body": {"message": "Try again in 7200 seconds."}}, RateLimitError, "2:00:00"),
        ({"status": 503, "headers": {"Retry-After": "7200"}}, ServerError, "2:00:00"),
        ({"status": 429, "headers": {"Retry-After": "31536000"}}, RateLimitError, "365 days"),
    ],
)
async def test_a_pause_longer_than_max_pause_stops_the_upload_and_is_named(
    fault: dict[str, Any], kind: type[Exception], named: str
) -> None:
    emulator = emulator_with()
    emulator.add(Fault(on="submit", after=5, times=1, **fault))
    async with client_of(emulator) as (client, _):
        with pytest.raises(kind, match=named) as caught:
            await client.upload(MASTERLIST, items(5_000)).collect()

    assert now() < 30.0, "it does not sleep for hours unasked"
    assert caught.value.retry_after >= 7200.0  # type: ignore[attr-defined]  # all of these have it
    assert "UTC" in str(caught.value)


@pytest.mark.slow
async def test_a_server_that_has_too_much_to_do_is_asked_for_less_and_then_for_more_again() -> None:
    emulator = emulator_with(processing=2.0)
    emulator.add(
        lambda request: (
            Fault(status=503) if request.kind == "submit" and 10.0 <= now() < 40.0 and emulator.in_flight > 3 else None
        )
    )
    allowed = []
    async with client_of(emulator) as (client, _):
        upload = client.upload(MASTERLIST, items(60_000))

        async def watch() -> None:
            while True:
                allowed.append((now(), client._traffic.slots.allowed))
                await asyncio.sleep(1.0)

        watching = asyncio.ensure_future(watch())
        results = await upload.collect()
        watching.cancel()

    assert sum(result.ok for result in results) >= 59_000
    congested = [slots for at, slots in allowed if 12.0 <= at < 40.0]
    assert min(congested) <= 4
    assert max(slots for at, slots in allowed if at > 45.0) == 16


async def test_polls_are_spaced_out_when_requests_are_scarce_and_neither_polls_nor_submits_starve() -> None:
    emulator = emulator_with(processing=5.0, rate_limit=RateLimit(60, 30.0))
    async with client_of(emulator) as (client, http):
        results = await client.upload(MASTERLIST, items(10_000)).collect()

    assert all(result.ok for result in results)
    submits = sum(each.method == "PATCH" and each.status == 200 for each in http.seen)
    polls = sum(each.method == "GET" and each.status != 429 for each in http.seen)
    assert submits == 100
    assert polls / submits <= 4.0
    refused = sum(each.status == 429 for each in http.seen)
    assert refused <= 0.15 * len(http.seen), "most of the pacing is by the hints"
    # Two requests a second are allowed; a batch needs a submit and, at best, a poll.
    assert now() <= 3.0 * (submits * 2) / 2.0


async def test_a_batch_that_does_not_end_is_unknown_at_its_deadline_and_can_be_asked_for_later() -> None:
    emulator = emulator_with(processing=lambda rng, batch: 500.0 if batch[0]["asin"] == "B000000000" else 1.0)
    async with client_of(emulator, batch_deadline=60.0) as (client, _):
        results = await client.upload(MASTERLIST, items(300)).collect()
        assert 60.0 <= now() <= 66.0
        assert [result.outcome for result in results] == [Outcome.UNKNOWN] * 100 + [Outcome.SUCCEEDED] * 200
        assert results[0].batch_id is not None
        assert results[0].batch_id in results[0].message
        assert "may still complete" in results[0].message.replace("\n", " ")
        await asyncio.sleep(450.0)
        status = await client.wait(results[0].batch_id)

    assert status.finished
    assert len(status.rows) == 100


@pytest.mark.parametrize("closed_by", ["an outage", "a closed gate"])
async def test_the_deadline_holds_in_an_outage_and_at_a_closed_gate(closed_by: str) -> None:
    emulator = emulator_with(processing=5.0)
    outages = [Outage(2.0, 1e9, "refused")] if closed_by == "an outage" else []
    if not outages:
        emulator.add(Fault(on="poll", times=None, status=429, headers={"Retry-After": "200"}))
    async with client_of(emulator, *outages, batch_deadline=60.0) as (client, _):
        (result,) = await client.upload(MASTERLIST, items(1)).collect()

    assert result.outcome is Outcome.UNKNOWN
    assert result.batch_id == emulator.batches[0].id
    assert 60.0 <= now() <= 66.0


@pytest.mark.slow
async def test_a_night_with_a_flaky_gateway_short_tokens_and_a_rate_limit_loses_nothing() -> None:
    emulator = emulator_with(
        processing=Lognormal(20.0, 0.5),
        submit_latency=0.5,
        token_lifetime=1_200.0,
        rate_limit=RateLimit(100, 60.0),
        shuffle_rows=True,
        fail=lambda item: "no such product" if item["asin"].endswith("77") else None,
        faults=[
            Fault(on="any", times=None, share=0.02, drop="after"),
            Fault(on="any", times=None, share=0.02, status=502, body="<html>Bad Gateway</html>"),
            Fault(on="any", times=None, share=0.01, status=503, headers={"Retry-After": "2"}),
        ],
    )
    outages = [Outage(3_000.0, 3_120.0, "refused"), Outage(1_000.0, 1_060.0, "502")]
    auth = LoginAuth(emulator.username, emulator.password)
    async with client_of(emulator, *outages, auth=auth, max_tries=8) as (client, http):
        summary = await client.upload(MASTERLIST, items(100_000)).summary()

    assert summary.items == 100_000
    assert summary.unknown == summary.rejected == 0
    assert len(emulator.applied) == summary.succeeded
    lives = now() / 1_200.0
    assert lives > 2.0
    assert emulator.logins[emulator.username] + emulator.refreshes.get(emulator.username, 0) <= 2 * lives + 2
    refused = sum(each.status == 429 for each in http.seen)
    assert refused <= 0.15 * len(http.seen)


@pytest.mark.slow
async def test_nearly_everything_failing_does_not_multiply_the_load(monkeypatch: pytest.MonkeyPatch) -> None:
    async def submits_a_second() -> float:
        emulator, before = emulator_with(processing=1.0), now()
        emulator.add(Fault(on="submit", times=None, share=0.9, status=500))
        async with client_of(emulator) as (client, http):
            assert len(await client.upload(MASTERLIST, items(20_000)).collect()) == 20_000
        return sum(each.method == "PATCH" for each in http.seen) / (now() - before)

    with_budget = await submits_a_second()
    monkeypatch.setattr(RetryBudget, "delay", lambda self: 0.0)
    without = await submits_a_second()

    assert with_budget <= 1.5
    assert with_budget <= without / 2


async def test_an_outage_that_begins_in_the_middle_of_a_requests_tries_is_no_fault_of_its_own() -> None:
    for start in (0.5, 1.0, 1.5, 2.0, 2.5):
        emulator = emulator_with(processing=0.2)
        begin = now() + start
        async with client_of(emulator, Outage(begin, begin + 20.0, "502"), max_tries=2) as (client, _):
            results = await client.upload(MASTERLIST, items(10_000)).collect()
        assert all(result.ok for result in results)
