"""Several processes, one folder: each answers for all, one runs each, and kill -9 loses nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from quartile_async.emulator import ThreadedEmulator

from .conftest import Worker, done, items, state, until

pytestmark = pytest.mark.slow


def begin(http: httpx.Client, count: int, name: str) -> None:
    assert http.post("/uploads", json={"items": items(count), "id": name}).status_code == 202


def results(http: httpx.Client, name: str) -> list[dict[str, Any]]:
    found = map(json.loads, http.get(f"/uploads/{name}/results").text.splitlines())
    return [line for line in found if line["type"] == "result"]


@pytest.mark.quartile_emulator(processing=1.5)
def test_any_worker_answers_for_any_upload_and_a_stop_reaches_the_one_that_runs_it(
    quartile_emulator: ThreadedEmulator, worker: Callable[[], Worker]
) -> None:
    one, other = worker(), worker()
    begin(one.http, 20_000, "one")
    until(lambda: state(other.http, "one")["state"] == "running")
    until(lambda: done(other.http, "one") > 0)

    assert other.http.delete("/uploads/one").json()["state"] in ("stopping", "stopped")
    found = results(other.http, "one")

    assert state(one.http, "one")["state"] == state(other.http, "one")["state"] == "stopped"
    assert sorted(line["index"] for line in found) == list(range(20_000))
    assert len(quartile_emulator.batches) < 200
    assert found == results(one.http, "one")


@pytest.mark.quartile_emulator(processing=0.3)
def test_a_worker_that_is_killed_loses_nothing_and_exactly_one_of_the_others_goes_on(
    quartile_emulator: ThreadedEmulator, worker: Callable[[], Worker]
) -> None:
    one, *others = worker(), worker(), worker()
    for number in range(3):
        begin(one.http, 3_000, f"upload-{number}")
    until(lambda: all(done(others[0].http, f"upload-{number}") for number in range(3)))

    one.kill()
    for number in range(3):
        until(lambda number=number: state(others[1].http, f"upload-{number}")["state"] == "finished", 60)  # type: ignore[misc]  # bound at once
        found = results(others[0].http, f"upload-{number}")
        assert sorted(line["index"] for line in found) == list(range(3_000))
        assert {line["outcome"] for line in found} == {"succeeded"}

    # What was in flight when it was killed may have been sent again; nothing was sent by two of them.
    assert sum(len(batch.items) for batch in quartile_emulator.batches) <= 9_000 + 16 * 100


@pytest.mark.quartile_emulator(processing=0.3)
def test_all_workers_killed_and_started_again_go_on(
    quartile_emulator: ThreadedEmulator, worker: Callable[[], Worker]
) -> None:
    first = [worker(), worker()]
    begin(first[0].http, 3_000, "one")
    until(lambda: done(first[1].http, "one"))
    for each in first:
        each.kill()

    second = [worker(), worker()]
    until(lambda: state(second[0].http, "one")["state"] == "finished", 60)

    assert sorted(line["index"] for line in results(second[1].http, "one")) == list(range(3_000))
