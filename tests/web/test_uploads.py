"""Uploads that outlive their request: begun, watched, stopped and gone on with, by their owner alone."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from fastapi import FastAPI

from quartile_async import ConfigurationError
from quartile_async.emulator import Fault, ThreadedEmulator
from quartile_async.fastapi import uploads_router

from .conftest import Served, application, client, current_user, done, items, served, state, until

Serve = Callable[[FastAPI], Served]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "uploads"


def begin(http: httpx.Client, count: int, name: str | None = None, **more: Any) -> httpx.Response:
    return http.post("/uploads", json={"items": items(count), **({"id": name} if name else {}), **more})


def lines(http: httpx.Client, name: str, **query: Any) -> list[dict[str, Any]]:
    answer = http.get(f"/uploads/{name}/results", params=query)
    assert answer.status_code == 200
    return [line for line in map(json.loads, answer.text.splitlines()) if line["type"] != "heartbeat"]


def indexes(told: list[dict[str, Any]]) -> list[int]:
    return sorted(line["index"] for line in told if line["type"] == "result")


@pytest.mark.quartile_emulator(processing=0.2)
def test_an_upload_goes_on_after_the_request_that_began_it(
    quartile_emulator: ThreadedEmulator, serve: Serve, folder: Path
) -> None:
    url = serve(application(quartile_emulator, folder)).url
    with client(url) as http:
        begun = begin(http, 250)
        name = begun.json()["id"]
        assert begun.status_code == 202
        assert begun.json() == {"id": name}
        assert begun.headers["location"] == f"/uploads/{name}"
        assert state(http, name)["state"] in ("running", "finished")

    with client(url) as http:
        *results, last = lines(http, name)
        told = state(http, name)

    assert indexes(results) == list(range(250))
    assert [line["position"] for line in results] == list(range(250))
    assert (last["type"], last["succeeded"]) == ("summary", 250)
    assert told["state"] == "finished"
    assert (told["items"], told["resource"], told["last"]) == (250, "masterlist", last)
    assert told["progress"]["done"] == told["progress"]["succeeded"] == 250


@pytest.mark.quartile_emulator(processing=0.0)
def test_results_are_streamed_after_a_position_and_as_a_browser_comes_back(
    quartile_emulator: ThreadedEmulator, serve: Serve, folder: Path
) -> None:
    with client(serve(application(quartile_emulator, folder)).url) as http:
        begin(http, 120, "one")
        everything = lines(http, "one")

        assert lines(http, "one", after=99) == everything[100:]
        assert lines(http, "one", after=-1) == everything
        assert lines(http, "one", after=119) == everything[120:]
        events = http.get("/uploads/one/results", headers={"accept": "text/event-stream", "last-event-id": "118"}).text
    assert [part.splitlines()[:2] for part in events.split("\n\n")[:-1]] == [
        ["event: result", "id: 119"],
        ["event: summary", f"data: {json.dumps(everything[-1], separators=(',', ':'))}"],
    ]


@pytest.mark.quartile_emulator(processing=0.0)
def test_an_upload_is_visible_to_its_owner_alone(
    quartile_emulator: ThreadedEmulator, serve: Serve, folder: Path
) -> None:
    url = serve(application(quartile_emulator, folder)).url
    with client(url, **{"x-user": "ana"}) as ana, client(url, **{"x-user": "bob"}) as bob:
        begin(ana, 1, "mine")
        lines(ana, "mine")

        for answer in (bob.get("/uploads/mine"), bob.get("/uploads/mine/results"), bob.delete("/uploads/mine")):
            assert answer.status_code == 404
        assert bob.get("/uploads").json() == []
        assert begin(bob, 2, "mine").status_code == 202, "another owner's names are free"
        assert state(bob, "mine")["items"] == 2
        assert [each["items"] for each in ana.get("/uploads").json()] == [1]
    with client(url, **{"x-user": "nobody"}) as nobody:
        assert nobody.get("/uploads").status_code == 401


@pytest.mark.quartile_emulator(processing=0.0)
def test_asking_twice_begins_once_and_other_items_are_a_conflict(
    quartile_emulator: ThreadedEmulator, serve: Serve, folder: Path
) -> None:
    with client(serve(application(quartile_emulator, folder)).url) as http:
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda _: begin(http, 50, "one"), range(8)))
        lines(http, "one")
        other = begin(http, 51, "one")
        listed = http.get("/uploads").json()

    assert {answer.status_code for answer in answers} == {202}
    assert len(quartile_emulator.batches) == 1
    assert other.status_code == 409
    assert [each["id"] for each in listed] == ["one"]


@pytest.mark.parametrize(
    ("body", "place"),
    [
        (
            {"items": [{"asin": "B01", "countryCode": "US", "percACoS": 2}, {"asin": "B0"}]},
            ["body", "items", 1, "asin"],
        ),
        ({"items": {}}, ["body", "items"]),
        ({"items": [], "id": "../etc/passwd"}, ["body", "id"]),
        ({"items": [], "resource": "nonsense"}, ["body", "resource"]),
        ({"items": [], "more": 1}, ["body", "more"]),
        ([], ["body"]),
        (b'{"items": [NaN]}', ["body"]),
        (b"\xff", ["body"]),
    ],
)
def test_a_body_that_cannot_be_used_is_a_422_in_fastapis_own_shape(
    body: Any, place: list[Any], quartile_emulator: ThreadedEmulator, serve: Serve, folder: Path
) -> None:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    with client(serve(application(quartile_emulator, folder)).url) as http:
        answer = http.post("/uploads", content=content, headers={"content-type": "application/json"})
        listed = http.get("/uploads").json()

    assert answer.status_code == 422
    problem = answer.json()["detail"][0]
    assert problem["loc"] == place
    assert {"loc", "msg", "type"} <= problem.keys()
    assert listed == []


def test_a_body_that_is_too_large_is_a_413_with_or_without_its_length(
    quartile_emulator: ThreadedEmulator, serve: Serve, folder: Path
) -> None:
    content = json.dumps({"items": items(100)}).encode()
    with client(serve(application(quartile_emulator, folder, max_body_bytes=1_000)).url) as http:
        whole = http.post("/uploads", content=content)
        chunked = http.post("/uploads", content=iter([content]))

    assert (whole.status_code, chunked.status_code) == (413, 413)
    assert "1000 bytes" in whole.json()["detail"]


@pytest.mark.quartile_emulator(processing=3600.0)
def test_as_many_as_may_be_are_taken_and_the_next_is_told_when_to_come_back(
    quartile_emulator: ThreadedEmulator, serve: Serve, folder: Path
) -> None:
    with client(serve(application(quartile_emulator, folder, max_open=3)).url) as http:
        answers = [begin(http, 1, f"upload-{number}") for number in range(4)]
        again = begin(http, 1, "upload-0")

    assert [answer.status_code for answer in answers] == [202, 202, 202, 429]
    assert int(answers[-1].headers["retry-after"]) > 0
    assert again.status_code == 202, "it is there already"


@pytest.mark.slow
@pytest.mark.quartile_emulator(processing=0.4)
def test_a_stopped_upload_finishes_what_is_in_flight_and_accounts_for_the_rest_and_can_be_gone_on_with(
    quartile_emulator: ThreadedEmulator, serve: Serve, folder: Path
) -> None:
    with client(serve(application(quartile_emulator, folder)).url) as http:
        begin(http, 5_000, "one")
        until(lambda: len(quartile_emulator.batches) >= 8)
        stopping = http.delete("/uploads/one")
        *results, last = lines(http, "one")
        told = state(http, "one")
        submitted = len(quartile_emulator.batches)

        assert (stopping.status_code, stopping.json()["state"]) == (202, "stopping")
        assert indexes(results) == list(range(5_000))
        outcomes = [line["outcome"] for line in results]
        assert 0 < outcomes.count("succeeded") == last["succeeded"] == len(quartile_emulator.applied) < 5_000
        assert all(line["not_sent"] for line in results if line["outcome"] == "unknown")
        assert last["unknown"] == 5_000 - last["succeeded"]
        assert told["state"] == "stopped"
        assert http.delete("/uploads/one").json()["state"] == "stopped", "it stays as it is"

        assert begin(http, 5_000, "one").status_code == 202
        until(lambda: state(http, "one")["state"] == "finished", 60)
        results = lines(http, "one")[:-1]

    assert indexes(results) == list(range(5_000))
    assert {line["outcome"] for line in results} == {"succeeded"}
    assert sum(len(batch.items) for batch in quartile_emulator.batches) == 5_000, "nothing was sent twice"
    assert submitted < len(quartile_emulator.batches)


@pytest.mark.quartile_emulator(processing=0.05)
def test_an_upload_that_fails_says_so_without_secrets_and_can_be_gone_on_with(
    quartile_emulator: ThreadedEmulator, serve: Serve, folder: Path
) -> None:
    refusal = Fault(on="submit", after=2, status=403, body={"message": "Out of call volume quota."})
    quartile_emulator.add(refusal)
    with client(serve(application(quartile_emulator, folder)).url) as http:
        begin(http, 1_000, "one")
        *results, last = lines(http, "one")
        assert state(http, "one")["state"] == "failed"
        assert (last["type"], last["error"]) == ("error", "QuotaExceededError")
        assert last["unaccounted"] == sum(line["outcome"] == "unknown" for line in results)
        assert indexes(results) == list(range(1_000))

        begin(http, 1_000, "one")
        until(lambda: state(http, "one")["state"] == "finished")
        assert indexes(lines(http, "one")) == list(range(1_000))


@pytest.mark.quartile_emulator(processing=0.3)
def test_an_application_that_is_started_again_goes_on_with_what_was_under_way(
    quartile_emulator: ThreadedEmulator, folder: Path
) -> None:
    with served(application(quartile_emulator, folder)) as first, client(first.url) as http:
        begin(http, 3_000, "one")
        until(lambda: done(http, "one") >= 500)

    with served(application(quartile_emulator, folder)) as second, client(second.url) as http:
        results = lines(http, "one")[:-1]

    assert indexes(results) == list(range(3_000))
    assert {line["outcome"] for line in results} == {"succeeded"}
    assert sum(len(batch.items) for batch in quartile_emulator.batches) == 3_000, "nothing was sent twice"


@pytest.mark.quartile_emulator(processing=0.0)
def test_a_line_that_a_crash_has_torn_is_written_anew(quartile_emulator: ThreadedEmulator, folder: Path) -> None:
    with served(application(quartile_emulator, folder)) as first, client(first.url) as http:
        begin(http, 150, "one")
        lines(http, "one")
    (results,) = folder.rglob("results.jsonl")
    results.write_bytes(results.read_bytes()[:-40])
    (end,) = folder.rglob("end.json")
    end.unlink()
    (folder / "open" / "-".join(end.parts[-3:-1])).touch()

    with served(application(quartile_emulator, folder)) as second, client(second.url) as http:
        found = lines(http, "one")

    assert indexes(found) == list(range(150))
    assert len(quartile_emulator.batches) == 2


@pytest.mark.quartile_emulator(processing=0.0)
def test_what_is_on_disk_is_for_its_owner_alone_and_has_no_secret(
    quartile_emulator: ThreadedEmulator, serve: Serve, folder: Path
) -> None:
    with client(serve(application(quartile_emulator, folder)).url) as http:
        begin(http, 3, "one")
        lines(http, "one")

    assert (folder / "uploads").stat().st_mode & 0o077 == 0
    for path in folder.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert quartile_emulator.access_token.encode() not in content
            assert quartile_emulator.subscription_key.encode() not in content


@pytest.mark.slow
@pytest.mark.quartile_emulator(processing=0.05)
def test_two_hundred_small_uploads_at_once_leave_nothing_behind(
    quartile_emulator: ThreadedEmulator, serve: Serve, folder: Path
) -> None:
    running = serve(application(quartile_emulator, folder))

    def upload(number: int) -> list[dict[str, Any]]:
        with client(running.url) as http:
            begun = http.post("/uploads", json={"items": items(5, first=number * 5), "id": f"upload-{number}"})
            assert begun.status_code == 202, begun.text
            return lines(http, f"upload-{number}")

    upload(1_000)  # connections and threads that are kept are there now
    process = psutil.Process()
    until(lambda: running.tasks() == ["quartile_async uploads"])
    before = process.num_fds()
    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(upload, range(200)))

    assert all(len(found) == 6 and found[-1]["succeeded"] == 5 for found in answers)
    until(lambda: running.tasks() == ["quartile_async uploads"])
    # The client keeps up to as many connections as it has batches in flight.
    until(lambda: process.num_fds() <= before + 16)
    assert list((folder / "open").iterdir()) == []


def test_the_schema_has_each_route_with_its_answers(quartile_emulator: ThreadedEmulator, tmp_path: Path) -> None:
    schema = application(quartile_emulator, tmp_path).openapi()

    paths = schema["paths"]
    assert sorted((path, method) for path, methods in paths.items() for method in methods) == [
        ("/uploads", "get"),
        ("/uploads", "post"),
        ("/uploads/{id}", "delete"),
        ("/uploads/{id}", "get"),
        ("/uploads/{id}/results", "get"),
    ]
    assert sorted(paths["/uploads"]["post"]["responses"]) == ["202", "409", "413", "422", "429", "503"]
    body = paths["/uploads"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert set(body["properties"]) == {"resource", "items", "id"}
    assert set(paths["/uploads/{id}/results"]["get"]["responses"]["200"]["content"]) == {
        "application/x-ndjson",
        "text/event-stream",
    }
    assert any(each["name"] == "x-user" for each in paths["/uploads"]["get"]["parameters"]), "the owner's own header"


def test_a_router_without_the_lifespan_does_not_start(tmp_path: Path) -> None:
    app = FastAPI()
    app.include_router(uploads_router(folder=tmp_path, owner=current_user), prefix="/uploads")

    async def start() -> None:
        async with app.router.lifespan_context(app):
            pass

    with pytest.raises(ConfigurationError, match="lifespan=quartile_lifespan"):
        asyncio.run(start())


def test_while_it_shuts_down_nothing_is_begun(quartile_emulator: ThreadedEmulator, serve: Serve, folder: Path) -> None:
    running = serve(application(quartile_emulator, folder))
    (uploads,) = running.app.state.quartile_uploads.values()
    uploads._is_closing = True
    with client(running.url) as http:
        answer = begin(http, 1)

    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) > 0
