"""Results as a response: as they arrive, in either form, with an end that can be told from a cut."""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from quartile_async import MASTERLIST, MasterlistItem
from quartile_async._web.lines import Form, form_for
from quartile_async.emulator import Fault, ThreadedEmulator
from quartile_async.fastapi import Client, quartile_lifespan, stream_results

from .conftest import Served, client, items, options, until


def streaming(emulator: ThreadedEmulator, **changes: Any) -> FastAPI:
    app = FastAPI(lifespan=quartile_lifespan(**options(emulator) | {"max_in_flight": 8} | changes))

    @app.post("/targets")
    async def set_targets(items: list[MasterlistItem], client: Client) -> Any:
        return stream_results(client.upload(MASTERLIST, items), heartbeat=0.1)

    @app.get("/endless")
    async def endless(client: Client) -> Any:
        def forever() -> Iterator[Any]:
            number = 0
            while True:
                app.state.read = number
                yield {"asin": f"B0{number:08d}", "countryCode": "US", "percACoS": 27.5}
                number += 1

        app.state.read = 0
        return stream_results(client.upload(MASTERLIST, forever()))

    @app.get("/broken")
    async def broken(client: Client, after: int) -> Any:
        def some() -> Iterator[Any]:
            yield from items(after)
            raise LookupError("the database is gone, password hunter2")

        return stream_results(client.upload(MASTERLIST, some()))

    return app


def lines_of(answer: httpx.Response) -> list[dict[str, Any]]:
    return [line for line in map(json.loads, answer.text.splitlines()) if line["type"] != "heartbeat"]


Serve = Callable[[FastAPI], Served]


@pytest.mark.quartile_emulator(processing=0.05, fail=lambda item: "no" if item["asin"].endswith("7") else None)
def test_each_item_is_a_line_and_the_last_one_is_the_summary(quartile_emulator: ThreadedEmulator, serve: Serve) -> None:
    with client(serve(streaming(quartile_emulator)).url) as http:
        answer = http.post("/targets", json=items(250))

    *results, last = lines_of(answer)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/x-ndjson; charset=utf-8"
    assert sorted(line["index"] for line in results) == list(range(250))
    assert {line["type"] for line in results} == {"result"}
    assert {line["outcome"] for line in results if line["index"] % 10 == 7} == {"failed"}
    assert last.pop("seconds") > 0
    assert last == {
        "type": "summary",
        "items": 250,
        "succeeded": 225,
        "failed": 25,
        "rejected": 0,
        "unknown": 0,
        "batches": 3,
    }


@pytest.mark.quartile_emulator(processing=0.3)
def test_browsers_get_server_sent_events_and_silence_is_broken_by_heartbeats(
    quartile_emulator: ThreadedEmulator, serve: Serve
) -> None:
    with client(serve(streaming(quartile_emulator)).url, accept="text/event-stream") as http:
        answer = http.post("/targets", json=items(2))

    *events, empty = answer.text.split("\n\n")
    assert empty == ""
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["cache-control"] == "no-store"
    kinds = [re.match(r"(event: \w+|: heartbeat)", event)[1] for event in events]
    assert [kind for kind in kinds if kind != ": heartbeat"] == ["event: result", "event: result", "event: summary"]
    assert json.loads(events[-1].split("data: ")[1])["succeeded"] == 2


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        ("", Form.NDJSON),
        ("*/*", Form.NDJSON),
        ("application/json", Form.NDJSON),
        ("text/event-stream", Form.EVENTS),
        ("application/json, TEXT/Event-Stream;q=0.9", Form.EVENTS),
    ],
)
def test_the_form_is_the_one_that_is_asked_for(accept: str, form: Form) -> None:
    assert form_for(accept) is form


@pytest.mark.quartile_emulator(processing=2.5)
def test_the_status_line_waits_for_a_second_at_most(quartile_emulator: ThreadedEmulator, serve: Serve) -> None:
    with client(serve(streaming(quartile_emulator)).url) as http, http.stream("POST", "/targets", json=items(1)) as one:
        assert one.status_code == 200
        first, *_, last = one.iter_lines()

    assert first == '{"type":"heartbeat"}'
    assert json.loads(last)["type"] == "summary"


ERRORS = [
    (Fault(status=403, body={"message": "Out of call volume quota. Replenished in 00:10:00."}, times=None), 503, "600"),
    (Fault(status=403, body={"message": "Forbidden for hunter2"}, times=None), 502, None),
    (Fault(status=401, body={"message": "Access denied due to invalid subscription key."}, times=None), 502, None),
    (Fault(status=404, body={"message": "Resource not found"}, times=None), 502, None),
]


@pytest.mark.parametrize(("fault", "status", "retry_after"), ERRORS)
def test_an_error_before_the_first_result_has_a_status_of_its_own_and_tells_no_secret(
    fault: Fault, status: int, retry_after: str | None, quartile_emulator: ThreadedEmulator, serve: Serve
) -> None:
    quartile_emulator.add(fault)
    with client(serve(streaming(quartile_emulator)).url) as http:
        answer = http.post("/targets", json=items(1))

    assert answer.status_code == status, answer.text
    assert set(answer.json()) == {"detail"}
    assert "hunter2" not in answer.text
    assert quartile_emulator.url not in answer.text
    assert answer.headers.get("retry-after") == retry_after


def test_a_server_that_is_not_there_is_a_503_with_the_time_to_come_back(
    quartile_emulator: ThreadedEmulator, serve: Serve
) -> None:
    app = streaming(quartile_emulator, base_url="http://127.0.0.1:9", max_tries=1)
    with client(serve(app).url) as http:
        answer = http.post("/targets", json=items(1))

    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert answer.json() == {"detail": "The vendor's API cannot be reached."}


@pytest.mark.quartile_emulator(processing=0.05)
def test_a_later_error_is_the_last_line_and_counts_what_is_unaccounted_for(
    quartile_emulator: ThreadedEmulator, serve: Serve
) -> None:
    quartile_emulator.add(
        Fault(on="submit", after=1, status=403, body={"message": "Out of call volume quota."}, times=None)
    )
    with client(serve(streaming(quartile_emulator, max_in_flight=1)).url) as http:
        *results, last = lines_of(http.post("/targets", json=items(250)))

    assert len(results) == 100
    assert last["type"] == "error"
    assert last["error"] == "QuotaExceededError"
    assert last["unaccounted"] == 150


def test_what_the_application_itself_raises_is_told_without_its_words_and_logged(
    quartile_emulator: ThreadedEmulator, serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    with client(serve(streaming(quartile_emulator)).url) as http:
        *_, last = lines_of(http.get("/broken?after=1000"))

    assert last["message"] == "The application has failed."
    assert "hunter2" not in json.dumps(last)
    assert any("database is gone" in record.getMessage() for record in caplog.records)


@pytest.mark.quartile_emulator(processing=0.02)
def test_a_client_that_goes_away_ends_the_upload_and_the_log_names_what_was_submitted(
    quartile_emulator: ThreadedEmulator, serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "quartile_async")
    running = serve(streaming(quartile_emulator))
    with client(running.url) as http, http.stream("GET", "/endless") as answer:
        lines = answer.iter_lines()
        for _ in range(150):
            next(lines)

    until(lambda: running.tasks() == [])
    time.sleep(0.2)  # nothing more may come
    submitted = len(quartile_emulator.batches)
    time.sleep(0.3)
    assert len(quartile_emulator.batches) == submitted
    (record,) = [record for record in caplog.records if "was left after" in record.getMessage()]
    named = set(re.findall(r"[0-9a-f]{24}", record.getMessage()))
    assert named <= {batch.id for batch in quartile_emulator.batches}


@pytest.mark.quartile_emulator(processing=0.0)
def test_a_client_that_does_not_read_holds_the_upload_up(quartile_emulator: ThreadedEmulator, serve: Serve) -> None:
    app = streaming(quartile_emulator)
    with client(serve(app).url) as http, http.stream("GET", "/endless") as answer:
        next(answer.iter_lines())
        time.sleep(1.0)
        read = app.state.read
        time.sleep(0.5)
        assert app.state.read == read, "reading has stopped"
        # What lies in the sockets' buffers, in the stream, and in the upload.
        assert read < 60_000


@pytest.mark.quartile_emulator(processing=0.1)
def test_fifty_handlers_at_once_share_one_client(quartile_emulator: ThreadedEmulator, serve: Serve) -> None:
    running = serve(streaming(quartile_emulator))

    def upload(number: int) -> list[dict[str, Any]]:
        with client(running.url) as http:
            return lines_of(http.post("/targets", json=items(30, first=number * 30)))

    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(upload, range(50)))

    assert all(len(lines) == 31 and lines[-1]["succeeded"] == 30 for lines in answers)
    assert len(quartile_emulator.applied) == 1_500
    assert running.tasks() == []


def test_without_the_lifespan_it_says_what_is_missing(quartile_emulator: ThreadedEmulator, serve: Serve) -> None:
    app = FastAPI()
    failed: list[BaseException] = []

    @app.get("/")
    async def handler(client: Client) -> None: ...

    @app.exception_handler(Exception)
    async def remember(request: Any, error: Exception) -> Any:
        failed.append(error)
        raise error

    with client(serve(app).url) as http:
        assert http.get("/").status_code == 500
    assert "lifespan=quartile_lifespan()" in str(failed[0])


def test_a_lifespan_of_ones_own_can_hold_the_client(quartile_emulator: ThreadedEmulator, serve: Serve) -> None:
    from contextlib import asynccontextmanager

    seen: list[str] = []

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> Any:
        async with quartile_lifespan(**options(quartile_emulator))(app):
            seen.append("up")
            yield {"mine": 1}
        seen.append("down")

    app = FastAPI(lifespan=lifespan)

    @app.get("/")
    async def handler(client: Client) -> str:
        return repr(client)

    running = serve(app)
    with client(running.url) as http:
        assert quartile_emulator.url in http.get("/").text
    assert seen == ["up"]
    running.stop()
    assert seen == ["up", "down"]
