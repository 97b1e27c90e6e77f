"""The emulator is as strict as the contract, and says what a request breached."""

from __future__ import annotations

import itertools
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from quartile_async.emulator import Emulator, Fault, Lognormal, RateLimit, ThreadedEmulator

ITEM: dict[str, Any] = {"asin": "B01N5IB20Q", "countryCode": "US", "percACoS": 27.5}
EXAMPLE, TABLE = "/amazon/v2/process/masterlist", "/amazon/v2/process/masterlist/batch"


def other(number: int) -> dict[str, Any]:
    return {**ITEM, "asin": f"B0{number:08d}"}


class Caller:
    """Sends raw requests."""

    def __init__(self, emulator: Emulator, session: aiohttp.ClientSession) -> None:
        self.emulator = emulator
        self.session = session
        self.headers: dict[str, str] = {
            "Subscription-Key": emulator.subscription_key,
            "Authorization": f"Bearer {emulator.access_token}",
            "Content-Type": "application/json",
        }

    async def send(self, method: str, path: str, body: Any = None, **headers: str | None) -> tuple[int, Any, Any]:
        sent = {**self.headers, **{name.replace("_", "-"): value for name, value in headers.items()}}
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        async with self.session.request(
            method,
            self.emulator.url + path,
            data=data,
            headers={name: value for name, value in sent.items() if value is not None},
            skip_auto_headers=["Content-Type"],
        ) as response:
            text = await response.text()
            content = json.loads(text) if response.content_type == "application/json" else text
            return response.status, content, response.headers

    async def submit(self, *items: Any, path: str = EXAMPLE) -> str:
        status, content, _ = await self.send("PATCH", path, list(items))
        assert status == 200, content
        return str(content["batchId"])

    async def poll(self, batch_id: str) -> tuple[int, Any]:
        status, content, _ = await self.send("GET", f"/amazon/v2/batch/{batch_id}")
        return status, content


class Clock:
    """A time that moves when the test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest_asyncio.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


FORBIDDEN: dict[str, tuple[tuple[Any, ...], dict[str, Any], int, str]] = {
    "no key": (("PATCH", EXAMPLE, [ITEM]), {"Subscription_Key": None}, 401, "subscription key"),
    "a wrong key": (("PATCH", EXAMPLE, [ITEM]), {"Subscription_Key": "x" * 32}, 401, "subscription key"),
    "no token": (("PATCH", EXAMPLE, [ITEM]), {"Authorization": None}, 401, "access token"),
    "a wrong token": (("PATCH", EXAMPLE, [ITEM]), {"Authorization": "Bearer x"}, 401, "access token"),
    "no bearer": (("PATCH", EXAMPLE, [ITEM]), {"Authorization": "Basic x"}, 401, "access token"),
    "no content type": (("PATCH", EXAMPLE, [ITEM]), {"Content_Type": None}, 415, "content type"),
    "another content type": (("PATCH", EXAMPLE, [ITEM]), {"Content_Type": "text/plain"}, 415, "content type"),
    "another method": (("POST", EXAMPLE, [ITEM]), {}, 405, "method"),
    "another method to a batch": (("DELETE", "/amazon/v2/batch/x"), {}, 405, "method"),
    "another path": (("PATCH", "/amazon/v2/process/nonsense", [ITEM]), {}, 404, "path"),
    "an unknown id": (("GET", "/amazon/v2/batch/5349b4ddd2781d08c09890f3"), {}, 404, "no batch"),
    "no body": (("PATCH", EXAMPLE, None), {}, 422, "JSON"),
    "no JSON": (("PATCH", EXAMPLE, b"[{]"), {}, 422, "JSON"),
    "NaN": (("PATCH", EXAMPLE, b'[{"asin":"B01","countryCode":"US","percACoS":NaN}]'), {}, 422, "JSON"),
    "no list": (("PATCH", EXAMPLE, ITEM), {}, 422, "list"),
    "no items": (("PATCH", EXAMPLE, []), {}, 422, "1 to 100"),
    "101 items": (("PATCH", EXAMPLE, [other(number) for number in range(101)]), {}, 422, "1 to 100"),
    "the same item twice": (("PATCH", EXAMPLE, [ITEM, {**ITEM, "asin": "b01n5ib20q"}]), {}, 422, "unique"),
    "no object": (("PATCH", EXAMPLE, [7]), {}, 422, "body"),
    "a short ASIN": (("PATCH", EXAMPLE, [{**ITEM, "asin": "B0"}]), {}, 422, "asin"),
    "an unknown country": (("PATCH", EXAMPLE, [{**ITEM, "countryCode": "us"}]), {}, 422, "countryCode"),
    "a target below 1": (("PATCH", EXAMPLE, [{**ITEM, "percACoS": 0.99}]), {}, 422, "percACoS"),
    "a target in a string": (("PATCH", EXAMPLE, [{**ITEM, "percACoS": "27.5"}]), {}, 422, "percACoS"),
    "a missing field": (("PATCH", EXAMPLE, [{"asin": "B01N5IB20Q"}]), {}, 422, "countryCode"),
    "a field too many": (("PATCH", EXAMPLE, [{**ITEM, "note": "x"}]), {}, 422, "note"),
    "an unmanaged item that is no object": (("PATCH", "/amazon/v2/unmanaged/asins", ["x"]), {}, 422, "body"),
}


@pytest.mark.parametrize("case", FORBIDDEN)
async def test_what_the_contract_forbids_is_refused_and_listed(case: str, session: aiohttp.ClientSession) -> None:
    request, headers, status, what = FORBIDDEN[case]
    async with Emulator() as emulator:
        answered, content, _ = await Caller(emulator, session).send(*request, **headers)

    assert answered == status
    assert "detail" in content or content["statusCode"] == status
    (violation,) = emulator.violations
    assert what in str(violation)
    assert emulator.access_token not in str(violation)
    assert emulator.batches == []
    assert emulator.applied == {}


async def test_a_422_points_at_each_item_in_fastapis_shape(session: aiohttp.ClientSession) -> None:
    async with Emulator() as emulator:
        items = [other(number) for number in range(20)]
        items[17] = {**items[17], "percACoS": 0.5}
        _, content, _ = await Caller(emulator, session).send("PATCH", EXAMPLE, items)

    (detail,) = content["detail"]
    assert detail["loc"][:3] == ["body", 17, "percACoS"]
    assert set(detail) == {"loc", "msg", "type"}


async def test_a_batch_goes_from_pending_over_running_to_its_end(session: aiohttp.ClientSession) -> None:
    clock = Clock()
    async with Emulator(processing=10.0, clock=clock) as emulator:
        caller = Caller(emulator, session)
        batch_id = await caller.submit(ITEM)
        seen = []
        for now in (100.0, 105.0, 110.0):
            clock.now = now
            seen.append(await caller.poll(batch_id))
        applied_before_the_end = emulator.applied

    assert seen[0] == (206, {"detail": "processing", "status": "PENDING"})
    assert seen[1] == (206, {"detail": "processing", "status": "RUNNING"})
    status, content = seen[2]
    assert (status, content["status"], content["batchId"]) == (200, "SUCCESS", batch_id)
    (row,) = content["data"]
    assert {name: row[name] for name in ITEM} == ITEM
    assert row["status"] == {"success": True, "message": "successfully", "process": "INSERT"}
    assert applied_before_the_end == {("B01N5IB20Q", "US"): ITEM}
    assert emulator.violations == []


async def test_nothing_is_applied_before_its_batch_ends_and_ends_decide_the_order() -> None:
    clock, seconds = Clock(), iter([10.0, 1.0])
    async with Emulator(processing=lambda rng, items: next(seconds), clock=clock) as emulator:
        async with aiohttp.ClientSession() as session:
            caller = Caller(emulator, session)
            await caller.submit({**ITEM, "percACoS": 1.0})
            await caller.submit({**ITEM, "percACoS": 2.0})
        assert emulator.applied == {}
        clock.now = 101.0
        assert emulator.applied["B01N5IB20Q", "US"]["percACoS"] == 2.0
        clock.now = 110.0
        assert emulator.applied["B01N5IB20Q", "US"]["percACoS"] == 1.0, "the later write was overtaken"

    assert emulator.overlaps == [("B01N5IB20Q", "US")]
    assert emulator.max_in_flight == 2
    assert [write["percACoS"] for write in emulator.applied_to("process/masterlist")] == [2.0, 1.0]


@pytest.mark.parametrize(
    ("failing", "status", "http_status"), [([], "SUCCESS", 200), ([1], "PARTIAL", 206), ([0, 1, 2], "FAILED", 206)]
)
async def test_the_share_that_fails_decides_how_a_batch_ends(
    failing: list[int], status: str, http_status: int, session: aiohttp.ClientSession
) -> None:
    asins = {other(number)["asin"] for number in failing}
    async with Emulator(processing=0.0, fail=lambda each: "no" if each["asin"] in asins else None) as emulator:
        caller = Caller(emulator, session)
        answered, content = await caller.poll(await caller.submit(*(other(number) for number in range(3))))

    assert (answered, content["status"]) == (http_status, status)
    assert [row["status"]["success"] for row in content["data"]] == [number not in failing for number in range(3)]
    assert len(emulator.applied) == 3 - len(failing)


@pytest.mark.parametrize(
    ("spelling", "example", "table"), [("both", 200, 200), ("example", 200, 404), ("table", 404, 200)]
)
async def test_either_or_both_spellings_of_the_paths_are_served(
    spelling: Any, example: int, table: int, session: aiohttp.ClientSession
) -> None:
    async with Emulator(batch_paths=spelling, processing=0.0) as emulator:
        caller = Caller(emulator, session)
        assert (await caller.send("PATCH", EXAMPLE, [other(1)]))[0] == example
        assert (await caller.send("PATCH", TABLE, [other(2)]))[0] == table
        batch_id = emulator.batches[0].id
        assert (await caller.send("GET", f"/amazon/v2/batch/{batch_id}"))[0] == example
        assert (await caller.send("GET", f"{TABLE}/{batch_id}"))[0] == table


async def test_the_same_seed_gives_the_same_run(session: aiohttp.ClientSession) -> None:
    runs = []
    for seed in (5, 5, 6):
        async with Emulator(
            seed=seed, processing=Lognormal(0.001, 0.5), fail_share=0.3, shuffle_rows=True, missing_row_share=0.2,
            clock=Clock(),
        ) as emulator:  # fmt: skip
            caller = Caller(emulator, session)
            for start in (0, 50):
                await caller.submit(*(other(start + number) for number in range(50)))
        runs.append(
            (emulator.subscription_key, [(batch.id, batch.ends_at, batch.failures) for batch in emulator.batches])
        )

    assert runs[0] == runs[1]
    assert runs[0] != runs[2]


async def test_rows_may_come_shuffled_and_missing(session: aiohttp.ClientSession) -> None:
    async with Emulator(processing=0.0, shuffle_rows=True, missing_row_share=0.3, seed=1) as emulator:
        caller = Caller(emulator, session)
        _, content = await caller.poll(await caller.submit(*(other(number) for number in range(100))))

    asins = [row["asin"] for row in content["data"]]
    assert 40 < len(asins) < 90
    assert asins != sorted(asins)
    assert len(emulator.applied) == 100, "a row that is missing was applied all the same"


async def test_a_rate_limit_refuses_names_the_time_and_counts_over_a_moving_window(
    session: aiohttp.ClientSession,
) -> None:
    clock = Clock()
    async with Emulator(rate_limit=RateLimit(requests=2, seconds=10.0), clock=clock) as emulator:
        caller = Caller(emulator, session)
        numbers = itertools.count()
        for now, expected in ((100.0, 200), (106.0, 200), (107.0, 429), (109.9, 429), (110.0, 200), (115.0, 429)):
            clock.now = now
            status, content, headers = await caller.send("PATCH", EXAMPLE, [other(next(numbers))])
            assert status == expected
            if status == 429:
                wait = headers["Retry-After"]
                assert content == {
                    "statusCode": 429,
                    "message": f"Rate limit is exceeded. Try again in {wait} seconds.",
                }
            else:
                assert headers["RateLimit-Limit"] == "2"

    assert emulator.violations == []


async def test_a_token_expires_and_that_is_no_violation(session: aiohttp.ClientSession) -> None:
    clock = Clock()
    async with Emulator(token_lifetime=10.0, clock=clock) as emulator:
        caller = Caller(emulator, session)
        await caller.submit(ITEM)
        clock.now = 110.0
        status, content, _ = await caller.send("PATCH", EXAMPLE, [ITEM])
        assert status == 401
        assert "expired" in content["message"]
        caller.headers["Authorization"] = f"Bearer {emulator.issue_token()}"
        await caller.submit(ITEM)
        emulator.expire_token(caller.headers["Authorization"].split()[1])
        assert (await caller.send("PATCH", EXAMPLE, [ITEM]))[0] == 401

    assert emulator.violations == []


async def test_a_batch_may_become_visible_late(session: aiohttp.ClientSession) -> None:
    clock = Clock()
    async with Emulator(visible_after=5.0, processing=0.0, clock=clock) as emulator:
        caller = Caller(emulator, session)
        batch_id = await caller.submit(ITEM)
        assert (await caller.poll(batch_id))[0] == 404
        clock.now = 105.0
        assert (await caller.poll(batch_id))[0] == 200

    assert emulator.violations == []


async def test_items_may_be_refused_although_their_schema_is_right(session: aiohttp.ClientSession) -> None:
    async with Emulator(refuse=lambda each: "discontinued" if each["asin"].endswith("3") else None) as emulator:
        status, content, _ = await Caller(emulator, session).send("PATCH", EXAMPLE, [other(n) for n in range(5)])

    assert status == 422
    assert content["detail"] == [{"loc": ["body", 3], "msg": "discontinued", "type": "value_error"}]
    assert emulator.violations == []


async def test_a_fault_answers_in_the_apis_place_after_so_many_and_so_often(session: aiohttp.ClientSession) -> None:
    async with Emulator(faults=[Fault(on="submit", after=1, times=2, status=503, headers={"X-Y": "z"})]) as emulator:
        caller = Caller(emulator, session)
        answers = [await caller.send("PATCH", EXAMPLE, [other(number)]) for number in range(4)]

    assert [status for status, _, _ in answers] == [200, 503, 503, 200]
    assert answers[1][2]["X-Y"] == "z"
    assert len(emulator.batches) == 2
    assert [record.status for record in emulator.requests] == [200, 503, 503, 200]


@pytest.mark.parametrize(("drop", "taken"), [("before", 0), ("after", 1)])
async def test_a_connection_may_drop_before_or_after_a_batch_was_taken(
    drop: Any, taken: int, session: aiohttp.ClientSession
) -> None:
    async with Emulator(faults=[Fault(drop=drop)]) as emulator:
        with pytest.raises(aiohttp.ClientConnectionError):
            await Caller(emulator, session).send("PATCH", EXAMPLE, [ITEM])

    assert len(emulator.batches) == taken
    assert emulator.requests[0].status == 0


async def test_a_proxys_page_may_hide_that_a_batch_was_taken(session: aiohttp.ClientSession) -> None:
    page = "<html>Bad Gateway</html>"
    async with Emulator(faults=[Fault(status=502, body=page, taken=True)]) as emulator:
        status, content, headers = await Caller(emulator, session).send("PATCH", EXAMPLE, [ITEM])

    assert (status, content, headers["Content-Type"].split(";")[0]) == (502, page, "text/html")
    assert len(emulator.batches) == 1
    assert emulator.batches[0].orphaned


async def test_a_real_answer_can_be_rewritten_for_some_requests(session: aiohttp.ClientSession) -> None:
    lie = Fault(on="poll", times=None, when=lambda request: request.path.endswith("0"), rewrite=lambda p: {**p, "x": 1})
    async with Emulator(processing=0.0, seed=2) as emulator:
        emulator.add(lie)
        caller = Caller(emulator, session)
        ids = [await caller.submit(other(number)) for number in range(60)]
        answers = {batch_id: (await caller.poll(batch_id))[1] for batch_id in ids}

    assert {batch_id for batch_id, content in answers.items() if "x" in content} == {
        batch_id for batch_id in ids if batch_id.endswith("0")
    }
    assert any("x" in content for content in answers.values())


async def test_polls_after_the_end_are_counted(session: aiohttp.ClientSession) -> None:
    async with Emulator(processing=0.0) as emulator:
        caller = Caller(emulator, session)
        batch_id = await caller.submit(ITEM)
        for _ in range(3):
            await caller.poll(batch_id)

    assert (emulator.batches[0].polls, emulator.batches[0].polls_after_the_end) == (3, 2)


def test_synchronous_code_has_an_emulator_on_a_thread_of_its_own() -> None:
    import urllib.request

    with ThreadedEmulator(processing=0.0) as emulator:
        request = urllib.request.Request(
            emulator.url + EXAMPLE,
            data=json.dumps([ITEM]).encode(),
            method="PATCH",
            headers={
                "Subscription-Key": emulator.subscription_key,
                "Authorization": f"Bearer {emulator.access_token}",
                "Content-Type": "application/json",
            },
        )
        with urllib.request.urlopen(request) as answer:
            assert json.load(answer)["batchId"] == emulator.batches[0].id
        assert emulator.applied == {("B01N5IB20Q", "US"): ITEM}
        assert emulator.violations == []


def test_a_threaded_emulator_that_cannot_start_says_why() -> None:
    with ThreadedEmulator() as emulator:
        port = int(emulator.url.rsplit(":", 1)[1])
        with pytest.raises(OSError, match="address already in use"), ThreadedEmulator(port=port):
            pass
