"""What goes wrong around uploads: damaged and removed files, a disk that fails, bodies that are meant to hurt."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI

from quartile_async._web import records
from quartile_async.emulator import Fault, ThreadedEmulator

from .conftest import Served, application, client, done, items, served, state, until
from .test_uploads import begin, indexes, lines

Serve = Callable[[FastAPI], Served]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "uploads"


def path_of(folder: Path, name: str) -> Path:
    return next(path.parent for path in folder.rglob("upload.json") if json.loads(path.read_bytes())["id"] == name)


@pytest.mark.parametrize("damaged", ["upload.json", "end.json", "progress.json"])
@pytest.mark.quartile_emulator(processing=0.1)
def test_a_damaged_file_of_one_upload_harms_no_other(
    quartile_emulator: ThreadedEmulator, folder: Path, damaged: str
) -> None:
    with served(application(quartile_emulator, folder)) as first, client(first.url) as http:
        begin(http, 150, "one")
        lines(http, "one")
    (path_of(folder, "one") / damaged).write_bytes(b"")
    key = "-".join(next(folder.rglob("items.jsonl")).parts[-3:-1])
    (folder / "open" / key).touch()

    with served(application(quartile_emulator, folder)) as second, client(second.url) as http:
        begin(http, 50, "two")
        assert indexes(lines(http, "two")) == list(range(50))
        assert http.get("/uploads").status_code == 200
        if damaged != "upload.json":
            until(lambda: state(http, "one")["state"] == "finished")
            assert indexes(lines(http, "one")) == list(range(150))


@pytest.mark.quartile_emulator(processing=0.1)
def test_a_damaged_line_of_results_is_written_anew(quartile_emulator: ThreadedEmulator, folder: Path) -> None:
    with served(application(quartile_emulator, folder)) as first, client(first.url) as http:
        begin(http, 150, "one")
        lines(http, "one")
    path = path_of(folder, "one")
    content = (path / "results.jsonl").read_bytes().splitlines(keepends=True)
    (path / "results.jsonl").write_bytes(b"".join([*content[:20], b"{torn\n", *content[21:]]))
    (path / "end.json").unlink()
    (folder / "open" / "-".join(path.parts[-2:])).touch()

    with served(application(quartile_emulator, folder)) as second, client(second.url) as http:
        assert indexes(lines(http, "one")) == list(range(150))
    assert len(quartile_emulator.batches) == 2, "nothing was sent again"


def remove(path: Path, folder: Path) -> None:
    """At once: whoever still writes into it could keep its files from being removed one by one."""
    shutil.rmtree(path.rename(folder.parent / "removed"), ignore_errors=True)


@pytest.mark.quartile_emulator(processing=0.3)
def test_an_upload_that_is_removed_ends_its_streams_and_writes_into_no_other(
    quartile_emulator: ThreadedEmulator, serve: Serve, folder: Path
) -> None:
    with client(serve(application(quartile_emulator, folder)).url) as http:
        begin(http, 3_000, "one")
        until(lambda: done(http, "one") > 0)
        remove(path_of(folder, "one"), folder)
        other = [item | {"percACoS": 55.0} for item in items(120)]
        assert http.post("/uploads", json={"id": "one", "items": other}).status_code == 202
        found = lines(http, "one")

    assert indexes(found) == list(range(120))
    assert found[-1]["succeeded"] == 120
    assert {item["percACoS"] for (asin, _), item in quartile_emulator.applied.items() if asin < "B000000120"} == {55.0}


@pytest.mark.quartile_emulator(processing=0.3)
def test_a_stream_of_an_upload_that_is_removed_ends_with_an_error(
    quartile_emulator: ThreadedEmulator, serve: Serve, folder: Path
) -> None:
    with client(serve(application(quartile_emulator, folder)).url) as http:
        begin(http, 5_000, "one")
        with http.stream("GET", "/uploads/one/results") as answer:
            coming = answer.iter_lines()
            next(coming)
            remove(path_of(folder, "one"), folder)
            last = json.loads([line for line in coming if "heartbeat" not in line][-1])

    assert (last["type"], last["error"]) == ("error", "GoneError")
    assert last["unaccounted"] > 0


@pytest.mark.quartile_emulator(processing=0.3)
def test_an_upload_that_cannot_be_written_down_is_gone_on_with_once_it_can(
    quartile_emulator: ThreadedEmulator, serve: Serve, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    append, failures = records.Stored.append_results, [OSError(5, "Input/output error")]

    def failing(self: records.Stored, new: Any) -> None:
        if failures:
            raise failures.pop()
        append(self, new)

    monkeypatch.setattr(records.Stored, "append_results", failing)
    with client(serve(application(quartile_emulator, folder)).url) as http:
        begin(http, 1_500, "one")
        found = lines(http, "one")

    assert failures == []
    assert indexes(found) == list(range(1_500))
    assert found[-1]["succeeded"] == 1_500
    assert sum(len(batch.items) for batch in quartile_emulator.batches) == 1_500


@pytest.mark.quartile_emulator(processing=0.3)
def test_what_was_not_known_is_asked_for_again_when_it_is_gone_on_with(
    quartile_emulator: ThreadedEmulator, serve: Serve, folder: Path
) -> None:
    is_lost = [True]
    quartile_emulator.add(Fault(on="poll", when=lambda _: bool(is_lost), status=404, times=None))
    with client(serve(application(quartile_emulator, folder, client={"not_visible_grace": 0.1})).url) as http:
        begin(http, 150, "one")
        *results, last = lines(http, "one")
        assert indexes(results) == list(range(150))
        assert {line["outcome"] for line in results} == {"unknown"}
        assert last["unknown"] == 150

        assert last["batches"] == 2

        is_lost.clear()
        until(lambda: len(quartile_emulator.applied) == 150)
        begin(http, 150, "one")
        until(lambda: state(http, "one")["last"] and state(http, "one")["last"]["succeeded"] == 150)
        found = lines(http, "one")

    assert indexes(found) == list(range(150))
    assert {line["outcome"] for line in found[:-1]} == {"succeeded"}


def test_a_body_of_nothing_but_faults_is_told_of_a_hundred(
    quartile_emulator: ThreadedEmulator, serve: Serve, folder: Path
) -> None:
    with client(serve(application(quartile_emulator, folder)).url) as http:
        empty = http.post("/uploads", json={"items": [{}] * 100_000})
        numbers = http.post("/uploads", json={"items": [1] * 100_000})

    assert (empty.status_code, numbers.status_code) == (422, 422)
    assert len(empty.json()["detail"]) == len(numbers.json()["detail"]) == 100
    assert numbers.json()["detail"][3]["loc"] == ["body", "items", 3]


@pytest.mark.parametrize("body", [b'{"items": [{"asin": "B01", "n": 1e400}]}', b'{"items": 1e999}'])
def test_a_number_that_is_too_large_for_json_is_a_422(
    quartile_emulator: ThreadedEmulator, serve: Serve, folder: Path, body: bytes
) -> None:
    with client(serve(application(quartile_emulator, folder)).url) as http:
        answer = http.post("/uploads", content=body)

    assert answer.status_code == 422, answer.text


@pytest.mark.quartile_emulator(processing=0.0)
def test_positions_beyond_all_bounds_are_refused_or_left_aside(
    quartile_emulator: ThreadedEmulator, serve: Serve, folder: Path
) -> None:
    with client(serve(application(quartile_emulator, folder)).url) as http:
        begin(http, 3, "one")
        everything = lines(http, "one")

        assert http.get("/uploads/one/results", params={"after": 10**20}).status_code == 422
        assert lines(http, "one", after=10**6) == everything[-1:]
        answer = http.get("/uploads/one/results", headers={"last-event-id": "9" * 5_000})
    assert answer.status_code == 200
    assert len(answer.text.splitlines()) == 4


@pytest.mark.quartile_emulator(processing=1.0)
def test_asking_for_an_upload_that_is_being_stopped_is_a_conflict(
    quartile_emulator: ThreadedEmulator, serve: Serve, folder: Path
) -> None:
    with client(serve(application(quartile_emulator, folder)).url) as http:
        begin(http, 3_000, "one")
        until(lambda: quartile_emulator.batches)
        http.delete("/uploads/one")
        answer = begin(http, 3_000, "one")

    assert answer.status_code == 409
    assert "being stopped" in answer.json()["detail"]


@pytest.mark.quartile_emulator(processing=0.2)
def test_more_uploads_than_may_run_wait_for_their_turn(
    quartile_emulator: ThreadedEmulator, serve: Serve, folder: Path
) -> None:
    running = serve(application(quartile_emulator, folder, max_running=2))
    with client(running.url) as http:
        for number in range(6):
            begin(http, 10, f"upload-{number}")
        assert len([name for name in running.tasks() if name.startswith("quartile_async upload upload")]) <= 2
        for number in range(6):
            assert indexes(lines(http, f"upload-{number}")) == list(range(10))
