"""Each event is told of in the very situation that it names; what the function does with it harms nothing."""

from __future__ import annotations

import asyncio
import functools
import json
import logging
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest

import quartile_async._hook
from quartile_async import (
    MASTERLIST,
    UNMANAGED_ASINS,
    ConfigurationError,
    FileTokenStore,
    LoginAuth,
    QuartileClient,
    QuartileError,
    RefreshAuth,
    TransportError,
    Upload,
)
from quartile_async._journal import Ended, Record
from quartile_async.emulator import Emulator, Fault, RateLimit, Request
from quartile_async.events import (
    BatchFinished,
    BatchPolled,
    BatchSubmitted,
    Event,
    OutageBegan,
    OutageEnded,
    RequestRetried,
    Throttled,
    TokenRefreshed,
)

from ..journal.test_own_journal import MemoryJournal
from .conftest import client_for, item, items, until

E = TypeVar("E")


class Heard(list[Event]):
    """Keeps what it is told."""

    def __call__(self, event: Event) -> None:
        assert asyncio.get_running_loop().is_running()
        self.append(event)

    def only(self, kind: type[E]) -> list[E]:
        return [event for event in self if isinstance(event, kind)]


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first probe of an outage goes out at once."""
    monkeypatch.setattr("quartile_async._outage.FIRST_PROBE", 0.02)


def assert_in_pairs(heard: Heard) -> None:
    """Each batch that was submitted is finished once, later, with as many items."""
    begun = {event.batch_id: event.items for event in heard.only(BatchSubmitted)}
    ended = {event.batch_id: event.items for event in heard.only(BatchFinished)}
    assert begun == ended
    assert len(heard.only(BatchSubmitted)) == len(heard.only(BatchFinished)) == len(begun)
    for batch_id in begun:
        kinds = [type(event) for event in heard if getattr(event, "batch_id", None) == batch_id]
        assert kinds[0] is BatchSubmitted
        assert kinds[-1] is BatchFinished
        assert set(kinds[1:-1]) <= {BatchPolled}


async def left(upload: Upload[Any], *, once: Callable[[], object]) -> None:
    """Starts an upload, and leaves it as soon as something is true."""
    running = asyncio.ensure_future(upload.collect())
    await until(once)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


# Batches


async def test_an_upload_tells_of_each_batch_from_its_submit_to_its_end(emulator: Emulator, heard: Heard) -> None:
    async with client_for(emulator, on_event=heard, account="acme") as client:
        results = await client.upload(MASTERLIST, items(950)).collect()

    assert all(result.ok for result in results)
    assert_in_pairs(heard)
    assert set(map(type, heard)) == {BatchSubmitted, BatchPolled, BatchFinished}
    assert {event.batch_id for event in heard.only(BatchSubmitted)} == {batch.id for batch in emulator.batches}
    assert sum(event.items for event in heard.only(BatchSubmitted)) == 950
    for event in heard.only(BatchFinished):
        assert (event.status, event.succeeded, event.failed, event.unknown) == ("SUCCESS", event.items, 0, 0)
        assert event.seconds is not None
        assert 0.01 <= event.seconds < 5.0
    assert all(0.0 < event.seconds < 5.0 for event in heard.only(BatchSubmitted))
    assert {(event.resource, event.account) for event in heard} == {(MASTERLIST.path, "acme")}


async def test_each_poll_is_told_of_with_the_servers_word(heard: Heard) -> None:
    async with Emulator(processing=0.2) as emulator, client_for(emulator, on_event=heard) as client:
        await client.upload(MASTERLIST, items(1)).collect()

        polls = heard.only(BatchPolled)
        assert len(polls) == sum(record.kind == "poll" for record in emulator.requests) > 1
    assert [poll.finished for poll in polls] == [False] * (len(polls) - 1) + [True]
    assert {poll.status for poll in polls[:-1]} <= {"PENDING", "RUNNING"}
    assert polls[-1].status == "SUCCESS"


async def test_the_end_of_a_batch_counts_what_became_of_its_items(heard: Heard) -> None:
    def mixed(payload: Any) -> Any:
        if payload.get("data"):
            payload["data"][0]["status"]["success"] = False
            del payload["data"][1]
        return payload

    async with Emulator(processing=0.0) as emulator, client_for(emulator, on_event=heard) as client:
        emulator.add(Fault(on="poll", times=None, rewrite=mixed))
        await client.upload(MASTERLIST, items(10)).collect()

    (event,) = heard.only(BatchFinished)
    assert (event.items, event.succeeded, event.failed, event.unknown) == (10, 8, 1, 1)


async def test_an_end_is_told_of_before_its_results_arrive(emulator: Emulator, heard: Heard) -> None:
    async with client_for(emulator, on_event=heard) as client:
        async for result in client.upload(MASTERLIST, items(300)):
            assert result.batch_id in {event.batch_id for event in heard.only(BatchFinished)}


async def test_items_that_are_refused_are_in_no_batch_that_is_told_of(heard: Heard) -> None:
    refused = item(3)["asin"]

    def refuse(each: dict[str, Any]) -> str | None:
        return "no" if each["asin"] == refused else None

    async with Emulator(processing=0.0, refuse=refuse) as emulator, client_for(emulator, on_event=heard) as client:
        await client.upload(MASTERLIST, items(100)).collect()

    assert_in_pairs(heard)
    assert [event.items for event in heard.only(BatchFinished)] == [99]


async def test_a_batch_that_is_not_visible_yet_is_polled_without_a_word(emulator: Emulator, heard: Heard) -> None:
    emulator.add(Fault(on="poll", times=2, status=404, body={"detail": "not found"}))
    async with client_for(emulator, on_event=heard) as client:
        await client.upload(MASTERLIST, items(1)).collect()

    assert [(poll.status, poll.finished) for poll in heard.only(BatchPolled)][:3] == [
        (None, False),
        (None, False),
        ("SUCCESS", True),
    ]


async def test_a_batch_that_is_given_up_has_finished_without_a_word(heard: Heard) -> None:
    async with Emulator(processing=60.0) as emulator:
        async with client_for(emulator, on_event=heard, batch_deadline=0.2) as client:
            await client.upload(MASTERLIST, items(10)).collect()

    assert_in_pairs(heard)
    (event,) = heard.only(BatchFinished)
    assert (event.status, event.items, event.unknown) == (None, 10, 10)
    assert event.seconds is not None
    assert event.seconds >= 0.2


async def test_a_batch_whose_end_cannot_be_used_has_finished_without_a_word(
    heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("quartile_async._waiting.UNUSABLE_FIRST_WAIT", 0.001)
    async with Emulator(processing=0.0) as emulator, client_for(emulator, on_event=heard) as client:
        emulator.add(Fault(on="poll", times=None, rewrite=lambda payload: payload | {"data": None}))
        await client.upload(MASTERLIST, items(10)).collect()

    assert_in_pairs(heard)
    assert [(event.status, event.unknown) for event in heard.only(BatchFinished)] == [(None, 10)]
    assert {poll.status for poll in heard.only(BatchPolled)} == {None}


async def test_an_upload_that_is_left_tells_the_end_of_each_batch_that_it_had_submitted(heard: Heard) -> None:
    async with Emulator(processing=60.0) as emulator, client_for(emulator, on_event=heard) as client:
        await left(client.upload(MASTERLIST, items(1000)), once=lambda: len(heard.only(BatchSubmitted)) == 10)

        assert_in_pairs(heard)
        assert len(heard.only(BatchFinished)) == 10
    assert {event.status for event in heard.only(BatchFinished)} == {None}


async def test_a_submit_that_reveals_its_id_after_its_upload_was_left_is_told_of_with_its_end(heard: Heard) -> None:
    async with Emulator(processing=0.0) as emulator, client_for(emulator, on_event=heard) as client:
        emulator.add(Fault(on="submit", times=None, delay=0.2))
        upload = client.upload(MASTERLIST, items(100))
        await left(upload, once=lambda: emulator.batches)

        (submitted, finished) = heard
        assert isinstance(submitted, BatchSubmitted)
        assert isinstance(finished, BatchFinished)
        assert submitted.batch_id == finished.batch_id == upload.unaccounted[0].batch_id
        assert (finished.status, finished.unknown) == (None, 100)
        assert finished.seconds is not None


async def test_an_upload_that_goes_on_from_its_journal_tells_of_the_end_without_seconds(
    heard: Heard, tmp_path: Path
) -> None:
    path = tmp_path / "journal"
    async with Emulator(processing=0.5) as emulator, client_for(emulator) as client:
        await left(client.upload(MASTERLIST, items(100), journal=path), once=lambda: emulator.batches)
        async with client_for(emulator, on_event=heard) as again:
            await again.upload(MASTERLIST, items(100), journal=path).collect()

    assert heard.only(BatchSubmitted) == []
    assert [(event.items, event.succeeded, event.seconds) for event in heard.only(BatchFinished)] == [(100, 100, None)]


async def test_a_batch_that_is_given_up_again_has_finished_again_in_each_run(heard: Heard, tmp_path: Path) -> None:
    path = tmp_path / "journal"
    async with Emulator(processing=60.0) as emulator:
        for _ in range(2):
            async with client_for(emulator, on_event=heard, batch_deadline=0.1) as client:
                await client.upload(MASTERLIST, items(1), journal=path).collect()

    assert [(event.status, event.seconds is None) for event in heard.only(BatchFinished)] == [
        (None, False),
        (None, True),
    ]


async def test_an_end_that_was_seen_and_could_not_be_written_down_is_told_of_once(heard: Heard) -> None:
    class Failing(MemoryJournal):
        async def write(self, *records: Record) -> None:
            if any(isinstance(record, Ended) for record in records):
                raise OSError(28, "No space left on device")
            await super().write(*records)

    async with Emulator(processing=0.0) as emulator, client_for(emulator, on_event=heard) as client:
        with pytest.raises(OSError, match="No space"):
            await client.upload(MASTERLIST, items(1), journal=Failing()).collect()

    assert_in_pairs(heard)
    assert [event.status for event in heard.only(BatchFinished)] == ["SUCCESS"]


async def test_one_level_down_submits_and_polls_are_told_of(emulator: Emulator, heard: Heard) -> None:
    async with client_for(emulator, on_event=heard) as client:
        batch_id = await client.submit(UNMANAGED_ASINS, [{"asin": "B01N5IB20Q", "countryCode": "US", "percACoS": 5}])
        await client.wait(batch_id, UNMANAGED_ASINS)
        await client.get_batch(batch_id, UNMANAGED_ASINS)

    submitted, *polled = heard
    assert isinstance(submitted, BatchSubmitted)
    assert (submitted.batch_id, submitted.items, submitted.resource) == (batch_id, 1, UNMANAGED_ASINS.path)
    assert all(isinstance(event, BatchPolled) for event in polled)
    assert len(polled) >= 2


async def test_events_of_another_account_carry_its_label(emulator: Emulator, heard: Heard) -> None:
    async with client_for(emulator, on_event=heard, account="one") as client:
        other = client.for_account("other", auth=LoginAuth(emulator.username, emulator.password))
        await other.upload(MASTERLIST, items(1)).collect()

    assert heard
    assert {event.account for event in heard} == {"other"}
    assert heard[0] == TokenRefreshed(account="other", how="login")


# The gate


async def test_each_429_is_told_of_with_the_seconds_that_everything_waits(heard: Heard) -> None:
    async with Emulator(processing=0.0) as emulator, client_for(emulator, on_event=heard) as client:
        emulator.add(Fault(on="submit", times=1, status=429, headers={"Retry-After": "1"}))
        await client.upload(MASTERLIST, items(1)).collect()

    (event,) = heard.only(Throttled)
    assert event.reason == "429"
    assert event.seconds == pytest.approx(1.0, abs=0.2)
    assert heard[0] is event
    assert heard.only(RequestRetried) == [], "waiting at the gate is no retry"


async def test_a_rate_limit_is_told_of_as_often_as_it_refuses(heard: Heard) -> None:
    async with Emulator(processing=0.0, rate_limit=RateLimit(4, 0.5)) as emulator:
        async with client_for(emulator, on_event=heard) as client:
            await client.upload(MASTERLIST, items(500)).collect()

    assert len([event for event in heard.only(Throttled) if event.reason == "429"]) == emulator.refused_by_limit > 0
    assert_in_pairs(heard)


async def test_an_answer_that_no_request_is_left_is_told_of(emulator: Emulator, heard: Heard) -> None:
    emulator.add(Fault(on="submit", times=1, headers={"RateLimit-Remaining": "0", "RateLimit-Reset": "0.3"}))
    async with client_for(emulator, on_event=heard) as client:
        await client.upload(MASTERLIST, items(1)).collect()

    (event,) = heard.only(Throttled)
    assert event.reason == "RateLimit-Remaining"
    assert event.seconds == pytest.approx(0.3, abs=0.1)


# Outages


@pytest.mark.usefixtures("soon")
async def test_an_outage_is_told_of_when_it_begins_and_when_it_ends(emulator: Emulator, heard: Heard) -> None:
    async with client_for(emulator, on_event=heard, max_tries=2, outage_limit=30.0) as client:
        await client.upload(MASTERLIST, items(1)).collect()
        emulator.add(Fault(on="any", times=6, status=502, body="<html>bad gateway</html>"))
        results = await client.upload(MASTERLIST, items(10)).collect()

    assert all(result.ok for result in results)
    (began,), (ended,) = heard.only(OutageBegan), heard.only(OutageEnded)
    assert heard.index(began) < heard.index(ended)
    assert began.limit == 30.0
    assert "502" in began.reason
    assert ended.recovered
    assert 0.0 < ended.seconds < 10.0


@pytest.mark.usefixtures("soon")
async def test_an_outage_that_lasts_too_long_has_ended_without_recovery(emulator: Emulator, heard: Heard) -> None:
    async with client_for(emulator, on_event=heard, max_tries=1, outage_limit=0.3) as client:
        await client.upload(MASTERLIST, items(1)).collect()
        emulator.add(Fault(on="any", times=None, status=502, body="<html>bad gateway</html>"))
        with pytest.raises(TransportError):
            await client.upload(MASTERLIST, items(10)).collect()

    assert len(heard.only(OutageBegan)) == 1
    (ended,) = heard.only(OutageEnded)
    assert not ended.recovered
    assert 0.3 <= ended.seconds < 3.0


async def test_an_outage_ends_with_its_client(emulator: Emulator, heard: Heard) -> None:
    async with client_for(emulator, on_event=heard, max_tries=1) as client:
        await client.upload(MASTERLIST, items(1)).collect()
        emulator.add(Fault(on="any", times=None, status=502, body="<html>bad gateway</html>"))
        running = asyncio.ensure_future(client.upload(MASTERLIST, items(10)).collect())
        await until(lambda: heard.only(OutageBegan))
    with pytest.raises(QuartileError):
        await running

    assert [event.recovered for event in heard.only(OutageEnded)] == [False]


# Tokens


async def test_a_login_and_each_refresh_are_told_of(heard: Heard) -> None:
    async with Emulator(processing=0.3, token_lifetime=0.2) as emulator:
        auth = LoginAuth(emulator.username, emulator.password)
        async with client_for(emulator, on_event=heard, auth=auth, account="acme") as client:
            await client.upload(MASTERLIST, items(1)).collect()
        refreshes = emulator.refreshes[emulator.username]

    told = heard.only(TokenRefreshed)
    assert heard[0] == TokenRefreshed(account="acme", how="login")
    assert Counter(event.how for event in told) == {"login": 1, "refresh": refreshes}
    assert {event.account for event in told} == {"acme"}


async def test_a_token_from_the_store_is_told_of_as_stored(emulator: Emulator, heard: Heard, tmp_path: Path) -> None:
    store = FileTokenStore(tmp_path / "tokens.json")
    for _ in range(2):
        auth = LoginAuth(emulator.username, emulator.password, store=store)
        async with client_for(emulator, on_event=heard, auth=auth) as client:
            await client.upload(MASTERLIST, items(1)).collect()

    assert [event.how for event in heard.only(TokenRefreshed)] == ["login", "stored"]


async def test_a_token_that_another_client_has_fetched_meanwhile_is_told_of_as_stored(
    emulator: Emulator, heard: Heard, tmp_path: Path
) -> None:
    store = FileTokenStore(tmp_path / "tokens.json")
    auth = LoginAuth(emulator.username, emulator.password, store=store)
    async with client_for(emulator, on_event=heard, auth=auth) as client, client_for(emulator, auth=auth) as other:
        await client.upload(MASTERLIST, items(1)).collect()
        await other.upload(MASTERLIST, items(1)).collect()
        emulator.expire_token(await other._api._tokens.get())
        await other.upload(MASTERLIST, items(1)).collect()
        await client.upload(MASTERLIST, items(1)).collect()

    assert emulator.refreshes == {emulator.username: 1}
    assert [event.how for event in heard.only(TokenRefreshed)] == ["login", "stored"]


async def test_a_token_that_was_provided_is_told_of(emulator: Emulator, heard: Heard) -> None:
    async def provider() -> str:
        return emulator.access_token

    async with client_for(emulator, on_event=heard, auth=provider) as client:
        await client.upload(MASTERLIST, items(1)).collect()

    assert heard.only(TokenRefreshed) == [TokenRefreshed(account=None, how="provided")]


# Retries


async def test_each_further_try_is_told_of_with_its_reason_and_wait(emulator: Emulator, heard: Heard) -> None:
    emulator.add(Fault(on="submit", times=2, status=503, body={"detail": "busy"}))
    emulator.add(Fault(on="poll", times=1, status=500, body={"detail": "oops"}))
    async with client_for(emulator, on_event=heard, account="acme") as client:
        (result,) = await client.upload(MASTERLIST, items(1)).collect()

    first, second, third = heard.only(RequestRetried)
    assert heard[:2] == [first, second]
    assert [(event.method, event.tries) for event in (first, second, third)] == [("PATCH", 1), ("PATCH", 2), ("GET", 1)]
    assert first.path == "/amazon/v2/process/masterlist"
    assert third.path == "/amazon/v2/batch/{batch_id}", "an id would make it another path for each batch"
    assert "busy" in first.reason
    assert all(0.0 <= event.wait <= 60.0 for event in (first, second, third))
    assert {event.account for event in heard.only(RequestRetried)} == {"acme"}
    (submitted,) = heard.only(BatchSubmitted)
    assert submitted.seconds >= first.wait + second.wait - 0.01, "retries are part of it"
    assert result.ok


async def test_the_last_try_is_not_told_of_as_a_retry(emulator: Emulator, heard: Heard) -> None:
    async with client_for(emulator, on_event=heard, max_tries=3, account="acme") as client:
        await client.upload(MASTERLIST, items(1)).collect()
        emulator.add(Fault(on="submit", times=None, status=500))
        heard.clear()
        with pytest.raises(QuartileError):
            await client.submit(MASTERLIST, items(1))

    assert [event.tries for event in heard.only(RequestRetried)] == [1, 2]
    assert len(heard) == 2


# The function


async def test_a_function_that_raises_is_logged_and_harms_nothing(
    emulator: Emulator, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[Event] = []

    def broken(event: Event) -> None:
        told.append(event)
        raise ValueError("a mistake of the user's")

    auth = LoginAuth(emulator.username, emulator.password)
    with caplog.at_level(logging.ERROR, logger="quartile_async"):
        async with client_for(emulator, on_event=broken, auth=auth) as client:
            results = await client.upload(MASTERLIST, items(250)).collect()

    assert [result.ok for result in results] == [True] * 250
    assert len(caplog.records) == len(told) > 3
    assert "on_event" in caplog.records[0].getMessage()
    assert "TokenRefreshed" in caplog.records[0].getMessage()
    assert "a mistake of the user's" in caplog.text


async def test_what_is_no_exception_is_not_swallowed(emulator: Emulator) -> None:
    class EndError(BaseException):
        pass

    def ends(event: Event) -> None:
        raise EndError

    async with client_for(emulator, on_event=ends) as client:
        with pytest.raises(EndError):
            await client.submit(MASTERLIST, items(1))


async def test_a_function_may_stop_the_upload_that_it_hears_of(emulator: Emulator) -> None:
    def stop(event: Event) -> None:
        if isinstance(event, BatchFinished):
            upload.stop()

    async with client_for(emulator, on_event=stop, max_in_flight=1) as client:
        upload = client.upload(MASTERLIST, items(5000))
        results = await upload.collect()

    assert len(results) + len(upload.unaccounted) <= 5000
    assert 100 <= len(results) < 5000


class Async:
    async def __call__(self, event: Event) -> None: ...


async def coroutine(event: Event) -> None: ...


@pytest.mark.parametrize(
    "on_event", ["print", 1, [], coroutine, functools.partial(coroutine), Async(), Async().__call__]
)
def test_what_cannot_be_called_or_is_async_is_refused_at_once(on_event: Any) -> None:
    with pytest.raises(ConfigurationError, match="on_event is"):
        QuartileClient(subscription_key="key", auth="token", on_event=on_event)


def test_from_env_takes_the_function(monkeypatch: pytest.MonkeyPatch, heard: Heard) -> None:
    monkeypatch.setenv("QUARTILE_SUBSCRIPTION_KEY", "key")
    monkeypatch.setenv("QUARTILE_ACCESS_TOKEN", "token")

    assert QuartileClient.from_env(on_event=heard)._hook is not None
    with pytest.raises(ConfigurationError):
        QuartileClient.from_env(on_event="heard")


async def test_no_secret_stands_in_an_event(heard: Heard) -> None:
    """Not even where the server quotes what it was sent."""
    secrets: set[str] = set()
    failed: set[str] = set()

    def quoting(request: Request) -> Fault | None:
        """Fails the first request of each kind, but not the refresh: its token would be spent."""
        sent = {request.headers["Subscription-Key"], request.headers.get("Authorization", "").removeprefix("Bearer ")}
        if request.kind in ("login", "refresh"):
            content = json.loads(request.body)
            sent.add(content.get("token") or content["password"])
        sent.discard("")
        secrets.update(sent)
        if request.kind in failed | {"refresh"}:
            return None
        failed.add(request.kind)
        return Fault(status=503, body={"detail": f"not now: {' and '.join(sent)}"})

    async with Emulator(processing=0.3, token_lifetime=0.5) as emulator:
        emulator.add(quoting)
        for auth in (LoginAuth(emulator.username, emulator.password), RefreshAuth(emulator.issue_refresh_token())):
            async with client_for(emulator, on_event=heard, auth=auth) as client:
                await client.upload(MASTERLIST, items(1)).collect()
        assert {emulator.subscription_key, emulator.password} < secrets

    assert failed == {"login", "submit", "poll"}
    assert {RequestRetried, TokenRefreshed, BatchFinished} <= set(map(type, heard))
    shown = repr(list(heard))
    assert "not now: ***" in shown
    assert not [secret for secret in secrets if secret in shown]


async def test_without_a_function_no_event_is_made(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    def made(*args: object, **fields: object) -> None:
        raise AssertionError("an event was made")

    for name in ("BatchSubmitted", "BatchPolled", "BatchFinished", "TokenRefreshed", "Hook"):
        monkeypatch.setattr(quartile_async._hook, name, made)
    auth = LoginAuth(emulator.username, emulator.password)
    async with client_for(emulator, auth=auth) as client:
        results = await client.upload(MASTERLIST, items(250)).collect()

    assert all(result.ok for result in results)
