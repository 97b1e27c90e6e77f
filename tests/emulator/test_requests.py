"""The contract over a real socket: what is right is answered as it says, what is wrong is refused and written down."""

from __future__ import annotations

import re
from typing import Any

import pytest

from quartile_async.emulator import Emulator

from .calls import POLL, SUBMIT, Clock, ask, item, items, poll, submit

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
UNMANAGED = "/amazon/v2/unmanaged/asins"


async def test_a_batch_goes_the_way_of_the_documentation() -> None:
    async with Emulator(processing=0.0) as emulator:
        sent = [{"asin": "ASINXYZXPTO1", "countryCode": "US", "percACoS": 2.7}]
        taken = await submit(emulator, sent)
        assert taken.status == 200
        assert taken.headers["Content-Type"].startswith("application/json")
        assert list(taken.json) == ["batchId"]
        assert re.fullmatch("[0-9a-f]{24}", taken.json["batchId"])

        told = await poll(emulator, taken.json["batchId"])
        assert told.status == 200
        row = told.json["data"][0]
        assert UUID.fullmatch(row.pop("id"))
        assert told.json | {"data": [row]} == {
            "batchId": taken.json["batchId"],
            "status": "SUCCESS",
            "data": [{**sent[0], "status": {"success": True, "message": "successfully", "process": "INSERT"}}],
        }
        assert emulator.applied == {("ASINXYZXPTO1", "US"): sent[0]}
        assert emulator.violations == []


async def test_a_batch_is_queued_then_running_then_finished() -> None:
    clock = Clock()
    async with Emulator(processing=10.0, clock=clock) as emulator:
        batch_id = (await submit(emulator, items(2))).json["batchId"]
        states = []
        for wait in (0.0, 5.0, 4.99, 0.01):
            clock.move(wait)
            answer = await poll(emulator, batch_id)
            states.append((answer.status, answer.json["status"], "data" in answer.json))
        assert states == [
            (206, "PENDING", False),
            (206, "RUNNING", False),
            (206, "RUNNING", False),
            (200, "SUCCESS", True),
        ]
        assert emulator.batches[0].told_at == clock.now


@pytest.mark.parametrize(
    ("failing", "http_status", "status"),
    [(set(), 200, "SUCCESS"), ({1}, 206, "PARTIAL"), ({0, 1, 2}, 206, "FAILED")],
)
async def test_the_outcome_follows_from_the_items(failing: set[int], http_status: int, status: str) -> None:
    names = {item(number)["asin"] for number in failing}
    async with Emulator(
        processing=0.0, fail=lambda each: "It was not found." if each["asin"] in names else None
    ) as emulator:
        answer = await poll(emulator, (await submit(emulator, items(3))).json["batchId"])
        assert (answer.status, answer.json["status"]) == (http_status, status)
        assert {number for number, row in enumerate(answer.json["data"]) if not row["status"]["success"]} == failing
        assert {row["status"]["message"] for row in answer.json["data"]} <= {"successfully", "It was not found."}
        assert len(emulator.applied) == 3 - len(failing)


@pytest.mark.parametrize(
    ("spelling", "submit_path", "poll_path", "served"),
    [
        ("both", SUBMIT, POLL, True),
        ("both", SUBMIT + "/batch", SUBMIT + "/batch/", True),
        ("example", SUBMIT, POLL, True),
        ("example", SUBMIT + "/batch", SUBMIT + "/batch/", False),
        ("table", SUBMIT, POLL, False),
        ("table", SUBMIT + "/batch", SUBMIT + "/batch/", True),
    ],
)
async def test_each_spelling_of_the_paths_is_served_where_it_is_wanted(
    spelling: Any, submit_path: str, poll_path: str, served: bool
) -> None:
    async with Emulator(processing=0.0, batch_paths=spelling) as emulator:
        taken = await ask(emulator, "PATCH", submit_path, items(1))
        assert (taken.status == 200) is served
        batch_id = taken.json["batchId"] if served else "5349b4ddd2781d08c09890f3"
        told = await ask(emulator, "GET", poll_path + batch_id)
        assert told.status == (200 if served else 404)
        assert len(emulator.violations) == (0 if served else 2)


async def test_the_prefix_is_a_setting() -> None:
    async with Emulator(processing=0.0, prefix="/amazon/v9") as emulator:
        assert (await submit(emulator, items(1), "/amazon/v9/process/masterlist")).status == 200
        assert (await submit(emulator, items(1))).status == 404


async def test_a_hundred_items_are_not_too_many() -> None:
    async with Emulator() as emulator:
        assert (await submit(emulator, items(100))).status == 200
        assert emulator.items_received == 100
        assert emulator.violations == []


def with_target(literal: str) -> bytes:
    return b'[{"asin":"B01","countryCode":"US","percACoS":' + literal.encode() + b"}]"


@pytest.mark.parametrize(
    ("content", "place"),
    [
        ([{"countryCode": "US", "percACoS": 2}], ["body", 0, "asin"]),
        ([{**item(0), "asin": "B0"}], ["body", 0, "asin"]),
        ([{**item(0), "asin": 12345}], ["body", 0, "asin"]),
        ([item(0), {**item(1), "countryCode": "us"}], ["body", 1, "countryCode"]),
        ([item(0), {**item(1), "countryCode": "ZZ"}], ["body", 1, "countryCode"]),
        ([*items(17), {**item(17), "percACoS": 0.99}], ["body", 17, "percACoS"]),
        (with_target('"2"'), ["body", 0, "percACoS"]),
        (with_target("true"), ["body", 0, "percACoS"]),
        (with_target("null"), ["body", 0, "percACoS"]),
        (with_target("1e999"), ["body", 0, "percACoS"]),
        (with_target("1" + "0" * 400), ["body", 0, "percACoS"]),
        (with_target("NaN"), ["body"]),
        (with_target("Infinity"), ["body"]),
        ([{**item(0), "unheard": "of"}], ["body", 0, "unheard"]),
        ([item(0), 7], ["body", 1]),
        ([item(0), None], ["body", 1]),
        ([], ["body"]),
        (items(101), ["body"]),
        (item(0), ["body"]),
        ("text", ["body"]),
        (b"", ["body"]),
        (b"[{]", ["body"]),
        (b"\xff\xfe", ["body"]),
        (b"[" * 100_000, ["body"]),
        ([item(0), item(1), item(0, 30.0)], ["body", 2]),
        ([item(0), {**item(0), "asin": item(0)["asin"].lower()}], ["body", 1]),
    ],
)
async def test_a_wrong_body_is_refused_as_a_whole_in_the_shape_of_fastapi(content: Any, place: list[Any]) -> None:
    async with Emulator(processing=0.0) as emulator:
        answer = await submit(emulator, content)
        assert answer.status == 422
        first = answer.json["detail"][0]
        assert first["loc"] == place
        assert isinstance(first["msg"], str)
        assert isinstance(first["type"], str)
        assert (emulator.batches, emulator.applied) == ([], {})
        assert [violation.method for violation in emulator.violations] == ["PATCH"]
        assert ".".join(map(str, place)) in emulator.violations[0].what


@pytest.mark.parametrize(
    ("content", "place"),
    [
        ([{"a": 1}, 7], ["body", 1]),
        ([{"a": 1}, {"a": 1}], ["body", 1]),
        ([{"a": 1}, {"a": 1.0}], ["body", 1]),
        ([{"a": {"b": 1, "c": 2}}, {"a": {"c": 2, "b": 1}}], ["body", 1]),
        ([{"a": "x"}, {"a": "X"}], ["body", 1]),
        (b'[{"a": 1}, {"a": [1e999]}]', ["body", 1]),
    ],
)
async def test_of_any_object_the_whole_is_the_key(content: Any, place: list[Any]) -> None:
    async with Emulator(processing=0.0) as emulator:
        answer = await submit(emulator, content, UNMANAGED)
        assert (answer.status, answer.json["detail"][0]["loc"]) == (422, place)
        different = [{"a": 1}, {"a": True}, {"a": "1"}, {"a": [1]}, {"a": {"1": 1}}, {"a": None}, {}]
        assert (await submit(emulator, different, UNMANAGED)).status == 200
        assert emulator.applied_to("unmanaged/asins") == different
        assert emulator.applied_to("unmanaged/campaigns") == []
        assert len(emulator.violations) == 1


FORBIDDEN = [
    pytest.param("PATCH", SUBMIT, {"Subscription-Key": None}, 401, "missing subscription key", "subscription key"),
    pytest.param("PATCH", SUBMIT, {"Subscription-Key": "0" * 32}, 401, "invalid subscription key", "subscription key"),
    pytest.param("GET", POLL + "x", {"Subscription-Key": None}, 401, "missing subscription key", "subscription key"),
    pytest.param("PATCH", SUBMIT, {"Authorization": None}, 401, "access token", "access token"),
    pytest.param("PATCH", SUBMIT, {"Authorization": "Bearer a.b.c"}, 401, "access token", "access token"),
    pytest.param("PATCH", SUBMIT, {"Authorization": "Basic eDp5"}, 401, "access token", "access token"),
    pytest.param("PATCH", SUBMIT, {"Content-Type": None}, 415, "Media Type", "content type"),
    pytest.param("PATCH", SUBMIT, {"Content-Type": "text/plain"}, 415, "Media Type", "content type"),
    pytest.param("POST", SUBMIT, {}, 405, "Not Allowed", "PATCH"),
    pytest.param("GET", SUBMIT, {}, 405, "Not Allowed", "PATCH"),
    pytest.param("DELETE", POLL + "x", {}, 405, "Not Allowed", "GET"),
    pytest.param("PATCH", "/amazon/v3/process/masterlist", {}, 404, "Not Found", "path"),
    pytest.param("PATCH", "/amazon/v2/process", {}, 404, "Not Found", "path"),
    pytest.param("PATCH", SUBMIT + "/", {}, 404, "Not Found", "path"),
    pytest.param("PATCH", "/amazon/v2/batch", {}, 404, "Not Found", "path"),
    pytest.param("GET", "/", {}, 404, "Not Found", "path"),
    pytest.param("GET", POLL + "5349b4ddd2781d08c09890f3", {}, 404, "Not Found", "no batch"),
]


@pytest.mark.parametrize(("method", "path", "headers", "status", "said", "violation"), FORBIDDEN)
async def test_what_the_contract_forbids_is_refused_and_written_down(
    *, method: str, path: str, headers: dict[str, str | None], status: int, said: str, violation: str
) -> None:
    async with Emulator() as emulator:
        answer = await ask(emulator, method, path, items(1), headers)
        assert answer.status == status
        assert said in answer.body.decode()
        if status == 401:
            assert answer.json["statusCode"] == 401
            assert said in answer.json["message"]
        assert [(each.method, each.path) for each in emulator.violations] == [(method, path)]
        assert violation in emulator.violations[0].what
        assert str(emulator.violations[0]) == f"{method} {path}: {emulator.violations[0].what}"
        assert emulator.batches == []


async def test_a_batch_is_not_found_under_another_resource() -> None:
    async with Emulator(processing=0.0) as emulator:
        batch_id = (await submit(emulator, [{}], UNMANAGED)).json["batchId"]
        assert (await ask(emulator, "GET", f"{UNMANAGED}/batch/{batch_id}")).status == 200
        assert (await ask(emulator, "GET", f"{SUBMIT}/batch/{batch_id}")).status == 404
        assert "unmanaged/asins" in emulator.violations[0].what


async def test_what_is_written_down_holds_no_secret() -> None:
    async with Emulator(processing=0.0) as emulator:
        secrets = (emulator.subscription_key, emulator.access_token)
        for secret in secrets:
            await ask(emulator, "GET", f"{POLL}{secret}")
            await submit(emulator, [{**item(0), secret: 1}])
            await submit(emulator, items(1), f"/{secret}")
        written = repr(emulator.violations) + repr(emulator.requests) + repr(emulator) + repr(emulator.batches)
        assert len(emulator.violations) == 6
        assert not any(secret in written for secret in secrets)


async def test_what_refuse_refuses_is_no_violation() -> None:
    def refuse(each: dict[str, Any]) -> str | None:
        return "not yours" if each["percACoS"] == 66.0 else None

    async with Emulator(processing=0.0, refuse=refuse) as emulator:
        answer = await submit(emulator, [item(0), item(1, 66.0), item(2)])
        assert answer.status == 422
        assert answer.json == {"detail": [{"loc": ["body", 1], "msg": "not yours", "type": "value_error"}]}
        assert (await submit(emulator, [item(0), item(2)])).status == 200
        assert emulator.violations == []
