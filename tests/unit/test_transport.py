"""One exchange, with aioresponses in the server's place."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import AsyncIterator, Iterator
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from aioresponses import CallbackResult, aioresponses

from quartile_async import (
    MASTERLIST,
    UNMANAGED_ASINS,
    APIError,
    AuthenticationError,
    ConfigurationError,
    PermissionDeniedError,
    ProtocolError,
    QuartileClient,
    QuartileError,
    QuotaExceededError,
    RateLimitError,
    ServerError,
    TransportError,
)

KEY = "abcdefghijklmnopqrstuvwxyz012345"
TOKEN = "header.payload.signature"
ID = "5349b4ddd2781d08c09890f3"
BASE = "https://api.quartile.com"
SUBMIT = f"{BASE}/amazon/v2/process/masterlist"
BATCH = f"{BASE}/amazon/v2/batch/{ID}"
ITEM: dict[str, Any] = {"asin": "B01N5IB20Q", "countryCode": "US", "percACoS": 27.5}

in_virtual_time = pytest.mark.looptime


@pytest.fixture
def server() -> Iterator[aioresponses]:
    with aioresponses() as mock:
        yield mock


@pytest_asyncio.fixture
async def client() -> AsyncIterator[QuartileClient]:
    async with QuartileClient(subscription_key=KEY, auth=TOKEN) as client:
        yield client


def calls(server: aioresponses) -> list[Any]:
    return [call for made in server.requests.values() for call in made]


async def test_a_submit_is_what_the_contract_says(server: aioresponses, client: QuartileClient) -> None:
    server.patch(SUBMIT, payload={"batchId": ID})

    assert await client.submit(MASTERLIST, [ITEM]) == ID

    ((method, url),) = server.requests
    (call,) = calls(server)
    assert (method, str(url)) == ("PATCH", SUBMIT)
    headers = call.kwargs["headers"]
    assert (headers["Authorization"], headers["Subscription-Key"]) == (f"Bearer {TOKEN}", KEY)
    assert headers["Content-Type"] == "application/json"
    assert call.kwargs["data"]._value == b'[{"asin":"B01N5IB20Q","countryCode":"US","percACoS":27.5}]'
    assert call.kwargs["allow_redirects"] is False


@pytest.mark.parametrize(
    ("paths", "submit", "batch"),
    [
        ("example", "/amazon/v2/process/masterlist", f"/amazon/v2/batch/{ID}"),
        ("table", "/amazon/v2/process/masterlist/batch", f"/amazon/v2/process/masterlist/batch/{ID}"),
    ],
)
async def test_both_spellings_of_the_paths_are_one_setting_away(
    server: aioresponses, paths: Any, submit: str, batch: str
) -> None:
    server.patch(BASE + submit, payload={"batchId": ID})
    server.get(BASE + batch, payload={"batchId": ID, "status": "PENDING"}, status=206)
    async with QuartileClient(subscription_key=KEY, auth=TOKEN, batch_paths=paths) as client:
        assert await client.submit(MASTERLIST, [ITEM]) == ID
        assert not (await client.get_batch(ID)).finished


async def test_prefix_and_address_are_settings(server: aioresponses) -> None:
    server.patch("http://127.0.0.1:8080/proxy/shop/v3/process/masterlist", payload={"batchId": ID})
    async with QuartileClient(
        subscription_key=KEY, auth=TOKEN, base_url="http://127.0.0.1:8080/proxy/", path_prefix="shop/v3"
    ) as client:
        assert await client.submit(MASTERLIST, [ITEM]) == ID


@pytest.mark.parametrize("status", [404, 405])
async def test_a_wrong_path_names_the_other_spelling(server: aioresponses, client: QuartileClient, status: int) -> None:
    server.patch(SUBMIT, status=status, payload={"detail": "Not Found"})

    with pytest.raises(APIError) as caught:
        await client.submit(MASTERLIST, [ITEM])

    assert caught.value.status == status
    assert not caught.value.may_have_been_sent
    assert "batch_paths='table'" in str(caught.value)
    assert "/amazon/v2/process/masterlist/batch" in str(caught.value)


@pytest.mark.parametrize(
    ("status", "message", "kind"),
    [
        (401, "Access denied due to invalid subscription key.", AuthenticationError),
        (401, "The access token has expired.", AuthenticationError),
        (403, "Forbidden", PermissionDeniedError),
        (403, "Out of call volume quota. Quota will be replenished in 02:12:03.", QuotaExceededError),
        (429, "Rate limit is exceeded. Try again in 4000 seconds.", RateLimitError),
        (400, "Bad Request", APIError),
        (302, "Found", APIError),
    ],
)
async def test_what_cannot_pass_is_asked_once(
    server: aioresponses, client: QuartileClient, status: int, message: str, kind: type[APIError]
) -> None:
    server.patch(SUBMIT, status=status, payload={"statusCode": status, "message": message}, repeat=True)

    with pytest.raises(kind) as caught:
        await client.submit(MASTERLIST, [ITEM])

    assert len(calls(server)) == 1
    assert message in str(caught.value)
    assert not caught.value.may_have_been_sent


@in_virtual_time
@pytest.mark.parametrize(
    "failure",
    [
        {"status": 500},
        {"status": 502, "body": "<html>Bad Gateway</html>", "content_type": "text/html"},
        {"status": 503},
        {"status": 504},
        {"status": 408},
        {"status": 425},
        {"exception": aiohttp.ServerDisconnectedError()},
        {"exception": TimeoutError()},
        {"exception": ConnectionResetError()},
        {"payload": {"batchId": "../login"}},
        {"body": "{"},
        {"payload": {}},
    ],
)
async def test_what_may_pass_is_tried_again(
    server: aioresponses, client: QuartileClient, failure: dict[str, Any]
) -> None:
    server.patch(SUBMIT, **failure)
    server.patch(SUBMIT, payload={"batchId": ID})

    assert await client.submit(MASTERLIST, [ITEM]) == ID
    assert len(calls(server)) == 2


@in_virtual_time
@pytest.mark.parametrize(
    ("failure", "in_doubt"),
    [
        ({"status": 502}, True),
        ({"status": 408}, True),
        ({"exception": aiohttp.ServerDisconnectedError()}, True),
        ({"exception": TimeoutError()}, True),
        ({"payload": {"batchId": "../login"}}, True),
        ({"status": 425}, False),
        ({"exception": aiohttp.ConnectionTimeoutError()}, False),
    ],
)
async def test_a_submit_that_may_have_arrived_is_sent_again_only_where_that_is_harmless(
    server: aioresponses, client: QuartileClient, failure: dict[str, Any], in_doubt: bool
) -> None:
    server.patch(f"{BASE}/amazon/v2/unmanaged/asins", repeat=True, **failure)  # no key: not idempotent

    with pytest.raises(QuartileError) as caught:
        await client.submit(UNMANAGED_ASINS, [ITEM])

    assert caught.value.may_have_been_sent is in_doubt
    assert len(calls(server)) == (1 if in_doubt else 5)


@in_virtual_time
async def test_an_earlier_try_that_may_have_arrived_is_not_forgotten(
    server: aioresponses, client: QuartileClient
) -> None:
    server.patch(SUBMIT, status=502)
    server.patch(SUBMIT, status=400)  # certainly not sent by itself

    with pytest.raises(APIError) as caught:
        await client.submit(MASTERLIST, [ITEM])

    assert caught.value.status == 400
    assert caught.value.may_have_been_sent


@in_virtual_time
async def test_a_server_that_is_not_there_is_reported_within_30_seconds(
    server: aioresponses, client: QuartileClient
) -> None:
    async def nobody_listens(url: Any, **kwargs: Any) -> CallbackResult:
        await asyncio.sleep(kwargs.get("timeout") or client._http._timeout.sock_connect)
        raise aiohttp.ConnectionTimeoutError

    server.patch(SUBMIT, callback=nobody_listens, repeat=True)

    with pytest.raises(TransportError):
        await client.submit(MASTERLIST, [ITEM])

    assert asyncio.get_running_loop().time() <= 30.0


@in_virtual_time
async def test_a_429_closes_the_gate_for_every_request_and_is_no_failed_try(
    server: aioresponses, client: QuartileClient
) -> None:
    for _ in range(7):  # more than there are tries
        server.patch(SUBMIT, status=429, headers={"Retry-After": "10"})
    server.patch(SUBMIT, payload={"batchId": ID})
    server.get(BATCH, payload={"status": "PENDING"}, repeat=True)

    submitting = asyncio.ensure_future(client.submit(MASTERLIST, [ITEM]))
    await asyncio.sleep(1.0)
    await client.get_batch(ID)
    asked = asyncio.get_running_loop().time()

    assert await submitting == ID
    assert asked >= 10.0
    assert asyncio.get_running_loop().time() >= 70.0


async def test_a_refused_token_is_replaced_and_the_request_repeated(server: aioresponses) -> None:
    tokens = iter(["old.token", "new.token"])

    async def auth() -> str:
        return next(tokens)

    server.get(BATCH, status=401, payload={"statusCode": 401, "message": "The access token has expired."})
    server.get(BATCH, payload={"status": "PENDING"})
    async with QuartileClient(subscription_key=KEY, auth=auth) as client:
        await client.get_batch(ID)

    assert [call.kwargs["headers"]["Authorization"] for call in calls(server)] == [
        "Bearer old.token",
        "Bearer new.token",
    ]


async def test_tokens_that_are_refused_for_ever_end_in_an_authentication_error(server: aioresponses) -> None:
    async def auth() -> str:
        return "same.token"

    server.get(BATCH, status=401, payload={"message": "The access token has expired."}, repeat=True)
    async with QuartileClient(subscription_key=KEY, auth=auth) as client:
        with pytest.raises(AuthenticationError):
            await client.get_batch(ID)

    assert len(calls(server)) <= 4


async def test_an_answer_that_is_too_long_is_not_read_on(server: aioresponses, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("quartile_async._http.MOST_BODY", 1_000)
    server.get(BATCH, body=b"x" * 1_001, repeat=True)

    async with QuartileClient(subscription_key=KEY, auth=TOKEN, max_tries=1) as client:
        with pytest.raises(ProtocolError, match="longer than 1000 bytes"):
            await client.get_batch(ID)


@in_virtual_time
@pytest.mark.parametrize("status", [400, 401, 422, 503])
async def test_secrets_that_the_server_quotes_are_blanked_everywhere(
    server: aioresponses, client: QuartileClient, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    echo = {"message": f"bad request with key {KEY} and Authorization: Bearer {TOKEN}"}
    server.get(BATCH, status=status, payload=echo, repeat=True)

    with pytest.raises(APIError) as caught:
        await client.get_batch(ID)

    error = caught.value
    shown = "".join(traceback.format_exception(error)) + error.message + error.body + repr(error) + caplog.text
    assert KEY not in shown
    assert TOKEN not in shown


@in_virtual_time
async def test_no_error_of_aiohttps_carries_the_headers_along(server: aioresponses, client: QuartileClient) -> None:
    request = aiohttp.RequestInfo(  # what aiohttp itself puts on such an error
        url=BATCH,  # type: ignore[arg-type]  # any printable thing will do
        method="GET",
        headers={"Authorization": f"Bearer {TOKEN}"},  # type: ignore[arg-type]  # any printable thing will do
    )
    server.get(BATCH, exception=aiohttp.ClientResponseError(request, ()), repeat=True)

    with pytest.raises(TransportError) as caught:
        await client.get_batch(ID)

    chain: BaseException | None = caught.value
    while chain is not None:
        assert TOKEN not in repr(chain) + str(chain)
        chain = chain.__cause__ or chain.__context__


@pytest.mark.parametrize(
    "base_url",
    [
        "http://api.quartile.com",
        "http://192.168.0.1",
        "http://localhost.evil.com",
        "ftp://api.quartile.com",
        "api.quartile.com",
        "",
        "https://",
        "https://user:secret@api.quartile.com",
        "https://api.quartile.com/?a=b",
        "https://api.quartile.com/#a",
        None,
    ],
)
def test_an_address_that_would_leak_or_cannot_work_is_refused(base_url: Any) -> None:
    with pytest.raises(ConfigurationError) as caught:
        QuartileClient(subscription_key=KEY, auth=TOKEN, base_url=base_url)

    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("base_url", ["http://127.0.0.1:1", "http://localhost:1", "http://[::1]:1", "http://127.9.9.9"])
def test_loopback_may_be_unencrypted(base_url: str) -> None:
    QuartileClient(subscription_key=KEY, auth=TOKEN, base_url=base_url)


@pytest.mark.parametrize(
    "settings",
    [
        {"max_in_flight": 0},
        {"max_in_flight": True},
        {"max_in_flight": "16"},
        {"linger": -1},
        {"batch_deadline": float("inf")},
        {"request_timeout": float("nan")},
        {"batch_paths": "both"},
        {"path_prefix": "/a/../b"},
    ],
)
def test_a_setting_that_cannot_be_used_is_refused_by_its_name(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(settings))):
        QuartileClient(subscription_key=KEY, auth=TOKEN, **settings)


@pytest.mark.parametrize(
    ("items", "said"),
    [
        ([], "1 to 100"),
        ([ITEM] * 101, "1 to 100"),
        ([ITEM, {**ITEM, "asin": "b01n5ib20q"}], "same natural key"),
        ([ITEM, {"asin": "x"}], "item 1"),
    ],
)
async def test_items_that_are_no_batch_are_refused_before_anything_is_sent(
    server: aioresponses, client: QuartileClient, items: list[Any], said: str
) -> None:
    with pytest.raises(ConfigurationError, match=said):
        await client.submit(MASTERLIST, items)

    assert not calls(server)


@pytest.mark.parametrize("batch_id", ["", "../login", "a/b", ".", "é", "x" * 129])
async def test_an_id_that_is_no_plain_token_never_becomes_part_of_a_url(
    server: aioresponses, client: QuartileClient, batch_id: str
) -> None:
    for ask in (client.get_batch, client.wait):
        with pytest.raises(ConfigurationError):
            await ask(batch_id)

    assert not calls(server)


def test_the_environment_configures_a_client_and_options_win(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUARTILE_SUBSCRIPTION_KEY", KEY)
    monkeypatch.setenv("QUARTILE_ACCESS_TOKEN", TOKEN)
    monkeypatch.setenv("QUARTILE_BASE_URL", "http://127.0.0.1:7")

    assert "http://127.0.0.1:7" in repr(QuartileClient.from_env())
    assert BASE in repr(QuartileClient.from_env(base_url=BASE))


def test_what_is_missing_in_the_environment_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("QUARTILE_SUBSCRIPTION_KEY", raising=False)
    monkeypatch.setenv("QUARTILE_ACCESS_TOKEN", "")

    with pytest.raises(ConfigurationError, match="QUARTILE_SUBSCRIPTION_KEY and QUARTILE_ACCESS_TOKEN"):
        QuartileClient.from_env()


async def test_a_closed_client_says_so(client: QuartileClient) -> None:
    from quartile_async import ClientClosedError

    await client.aclose()
    await client.aclose()

    with pytest.raises(ClientClosedError):
        await client.get_batch(ID)
    with pytest.raises(ClientClosedError):
        client.upload(MASTERLIST, [])
    with pytest.raises(ClientClosedError):
        async with client:
            pass


async def test_the_last_try_of_a_failing_server_is_a_server_error(server: aioresponses) -> None:
    server.get(BATCH, status=500, payload={"detail": "broken"}, repeat=True)

    async with QuartileClient(subscription_key=KEY, auth=TOKEN, max_tries=1) as client:
        with pytest.raises(ServerError, match="broken"):
            await client.get_batch(ID)
