"""The commands that only ask: `batch` and `check`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator

import pytest

from quartile_async import MASTERLIST, QuartileClient
from quartile_async.emulator import Fault, ThreadedEmulator

from .test_commands import run

ITEMS = [{"asin": f"B0{number:08d}", "countryCode": "US", "percACoS": 25.0} for number in range(3)]


@pytest.fixture
def emulator(quartile_emulator: ThreadedEmulator) -> Iterator[ThreadedEmulator]:
    yield quartile_emulator
    assert quartile_emulator.violations == []


def submitted(emulator: ThreadedEmulator) -> str:
    async def submit() -> str:
        async with QuartileClient(
            subscription_key=emulator.subscription_key, auth=emulator.access_token, base_url=emulator.url
        ) as client:
            return await client.submit(MASTERLIST, ITEMS)

    return asyncio.run(submit())


@pytest.mark.quartile_emulator(processing=0.0)
def test_a_batch_that_has_ended_is_told_with_its_rows_and_exits_0(emulator: ThreadedEmulator) -> None:
    batch_id = submitted(emulator)

    done = run("batch", batch_id, emulator=emulator)

    assert done.returncode == 0, done.stderr
    assert [json.loads(line)["asin"] for line in done.stdout.splitlines()] == [item["asin"] for item in ITEMS]
    assert done.stderr == f"Batch {batch_id} has ended: SUCCESS, 3 rows: 3 succeeded.\n"


@pytest.mark.quartile_emulator(processing=0.0, fail=lambda item: "no" if item["asin"].endswith("1") else None)
def test_a_batch_of_which_some_rows_failed_exits_1_and_may_be_read_as_json(emulator: ThreadedEmulator) -> None:
    batch_id = submitted(emulator)

    done = run("batch", batch_id, "--json", emulator=emulator)

    assert done.returncode == 1
    told = json.loads(done.stdout)
    assert (told["batch_id"], told["status"], told["finished"]) == (batch_id, "PARTIAL", True)
    assert [row["status"]["success"] for row in told["rows"]] == [True, False, True]
    assert run("batch", batch_id, emulator=emulator).stderr.endswith("PARTIAL, 3 rows: 2 succeeded, 1 failed.\n")


@pytest.mark.quartile_emulator(processing=0.5)
def test_a_batch_that_has_not_ended_is_waited_for_where_one_says_so(emulator: ThreadedEmulator) -> None:
    emulator.add(Fault(on="poll", times=1, status=206, body={"detail": "processing", "status": "PENDING"}))
    batch_id = submitted(emulator)

    now, waited = run("batch", batch_id, emulator=emulator), run("batch", batch_id, "--wait", emulator=emulator)

    assert (now.returncode, now.stdout) == (1, "")
    assert now.stderr == f"Batch {batch_id} has not ended: PENDING. Ask again later, or with --wait.\n"
    assert waited.returncode == 0, waited.stderr
    assert len(waited.stdout.splitlines()) == 3


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["batch", "../login"], 2, "plain token"),
        (["batch"], 2, "Missing argument"),
        (["check", "--base-url", "x"], 2, "URL"),
    ],
)
def test_what_cannot_be_asked_exits_2_and_sends_nothing(
    arguments: list[str], code: int, words: str, emulator: ThreadedEmulator
) -> None:
    done = run(*arguments, emulator=emulator)

    assert done.returncode == code
    assert words in done.stderr
    assert len(done.stderr.splitlines()) <= 12
    assert not emulator.requests


def test_credentials_that_work_are_said_to_and_nothing_is_changed(emulator: ThreadedEmulator) -> None:
    done = run("check", emulator=emulator)

    assert done.returncode == 0, done.stderr
    assert done.stderr == f"{emulator.url} takes the subscription key and the access token.\n"
    assert [request.kind for request in emulator.requests] == ["validate"]
    assert not emulator.batches


def test_a_login_is_checked_too(emulator: ThreadedEmulator) -> None:
    login = {"QUARTILE_USERNAME": emulator.username, "QUARTILE_PASSWORD": emulator.password}

    done = run("check", emulator=emulator, QUARTILE_ACCESS_TOKEN="", **login)

    assert done.returncode == 0, done.stderr
    assert [request.kind for request in emulator.requests] == ["login", "validate"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"QUARTILE_ACCESS_TOKEN": "another.token"}, "get a new one"),
        ({"QUARTILE_SUBSCRIPTION_KEY": "0" * 32}, "Check the subscription key"),
    ],
)
def test_credentials_that_do_not_work_exit_3_with_what_to_do(
    changes: dict[str, str], words: str, quartile_emulator: ThreadedEmulator
) -> None:
    done = run("check", emulator=quartile_emulator, **changes)

    assert done.returncode == 3
    assert words in done.stderr
    assert len(done.stderr.splitlines()) <= 12
    assert not any(secret in done.stderr for secret in changes.values())


@pytest.mark.slow
def test_an_address_at_which_nobody_answers_exits_3() -> None:
    done = run(
        "check",
        "--base-url",
        "http://127.0.0.1:1",
        QUARTILE_SUBSCRIPTION_KEY="0" * 32,
        QUARTILE_ACCESS_TOKEN="some.token",
    )

    assert done.returncode == 3
    assert "Check base_url and the network" in done.stderr


@pytest.mark.parametrize("command", ["batch", "check"])
def test_help_has_an_example_and_the_exit_codes(command: str) -> None:
    done = run(command, "--help", COLUMNS="80")

    assert done.returncode == 0
    assert f"Example: quartile-async {command}" in done.stdout
    assert "Exit codes" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80
