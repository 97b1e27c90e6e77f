"""Faults: which requests they meet, and what they do to them."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import pytest

from quartile_async.emulator import Emulator, Fault, Request

from .calls import Direct, items, poll, submit


@pytest.mark.parametrize(
    ("fault", "met"),
    [
        (Fault(status=503), [0]),
        (Fault(status=503, times=None), [0, 1, 2, 3, 4, 5]),
        (Fault(status=503, times=2), [0, 1]),
        (Fault(status=503, after=2), [2]),
        (Fault(status=503, after=2, times=3), [2, 3, 4]),
        (Fault(status=503, on="submit", times=None), [0, 2, 4]),
        (Fault(status=503, on="poll", times=None), [1, 3, 5]),
        (Fault(status=503, on="other", times=None), []),
        (Fault(status=503, on="poll", after=1, times=None), [3, 5]),
        (Fault(status=503, when=lambda request: request.method == "GET", times=2), [1, 3]),
        (Fault(status=503, share=0.0, times=None), []),
    ],
)
def test_a_rule_meets_the_requests_that_it_names(fault: Fault, met: list[int]) -> None:
    direct = Direct(faults=[fault])
    answers = [direct.submit(items(1)) if number % 2 == 0 else direct.poll("0" * 24) for number in range(6)]
    assert [number for number, answer in enumerate(answers) if answer.status == 503] == met
    recorded = [number for number, record in enumerate(direct.emulator.requests) if record.fault is fault]
    assert recorded == met


def test_a_share_of_requests_is_met_by_the_seed_alone() -> None:
    def met(seed: int, *before: Fault) -> list[int]:
        direct = Direct(seed=seed, faults=[*before, Fault(on="submit", share=0.3, times=None, status=503)])
        return [number for number in range(300) if direct.submit(items(1)).status == 503]

    assert 60 < len(met(1)) < 120
    assert met(1) == met(1)
    assert met(1) != met(2)


def test_the_first_rule_that_meets_a_request_counts() -> None:
    direct = Direct()
    direct.emulator.add(Fault(status=500))
    direct.emulator.add(Fault(status=502))
    assert [direct.submit(items(1)).status for _ in range(3)] == [500, 502, 200]


def test_rules_can_be_taken_out_of_force() -> None:
    direct = Direct(faults=[Fault(status=500, times=None)])
    assert direct.submit(items(1)).status == 500
    direct.emulator.clear_faults()
    assert direct.submit(items(1)).status == 200


def test_a_function_can_script_the_faults() -> None:
    def script(request: Request) -> Fault | None:
        assert "Authorization" in request.headers
        return Fault(status=503) if request.kind == "submit" and b"66.0" in request.body else None

    direct = Direct()
    direct.emulator.add(script)
    bad, good = [{**items(1)[0], "percACoS": 66.0}], items(1)
    assert [direct.submit(content).status for content in (bad, good, bad, bad)] == [503, 200, 503, 503]


@pytest.mark.parametrize(
    ("body", "content_type", "sent"),
    [
        ({"detail": "no"}, "application/json", b'{"detail":"no"}'),
        ([1], "application/json", b"[1]"),
        (None, "application/json", b"null"),
        ("<html>Bad Gateway</html>", "text/html", b"<html>Bad Gateway</html>"),
        (b"\xff\x00", "text/html", b"\xff\x00"),
    ],
)
async def test_an_answer_is_replaced_by_the_one_of_the_rule(body: Any, content_type: str, sent: bytes) -> None:
    async with Emulator() as emulator:
        emulator.add(Fault(status=418, body=body, headers={"Retry-After": "7"}))
        answer = await submit(emulator, items(1))
        assert (answer.status, answer.body, answer.headers["Retry-After"]) == (418, sent, "7")
        assert answer.headers["Content-Type"].startswith(content_type)
        assert emulator.batches == []


async def test_headers_of_a_rule_replace_those_of_the_answer() -> None:
    async with Emulator() as emulator:
        emulator.add(Fault(headers={"content-type": "text/plain", "X-Request-Id": "r1"}))
        answer = await submit(emulator, items(1))
        assert (answer.status, answer.headers["Content-Type"]) == (200, "text/plain")
        assert answer.headers["X-Request-Id"] == "r1"


@pytest.mark.parametrize(("drop", "taken"), [("before", 0), ("after", 1)])
async def test_a_connection_is_dropped_before_or_after_the_batch_was_taken(drop: Any, taken: int) -> None:
    async with Emulator() as emulator:
        emulator.add(Fault(on="submit", drop=drop))
        with pytest.raises(aiohttp.ClientConnectionError):
            await submit(emulator, items(1))
        assert len(emulator.batches) == taken
        assert [record.status for record in emulator.requests] == [0]
        assert (await submit(emulator, items(1))).status == 200
        assert emulator.max_in_flight == 1, "nobody can wait for the batch whose answer was lost"
        assert emulator.overlaps == []
        assert emulator.violations == []


async def test_a_proxy_may_hide_that_the_batch_was_taken() -> None:
    async with Emulator(processing=0.0) as emulator:
        emulator.add(Fault(on="submit", status=502, body="<html>Bad Gateway</html>", taken=True))
        assert (await submit(emulator, items(3))).status == 502
        assert (len(emulator.batches), len(emulator.applied)) == (1, 3)
        assert emulator.batches[0].orphaned


async def test_the_real_answer_can_be_rewritten_and_the_next_one_is_whole_again() -> None:
    def turn(payload: Any) -> Any:
        payload["data"].reverse()
        payload["data"].pop()
        payload["data"][0]["status"]["success"] = "yes"
        return payload | {"status": "DONE"}

    async with Emulator(processing=0.0) as emulator:
        batch_id = (await submit(emulator, items(3))).json["batchId"]
        emulator.add(Fault(on="poll", rewrite=turn))
        changed = (await poll(emulator, batch_id)).json
        assert (changed["status"], len(changed["data"])) == ("DONE", 2)
        assert changed["data"][0]["status"]["success"] == "yes"
        whole = (await poll(emulator, batch_id)).json
        assert (whole["status"], [row["asin"] for row in whole["data"]]) == (
            "SUCCESS",
            [each["asin"] for each in items(3)],
        )
        assert all(row["status"]["success"] is True for row in whole["data"])


async def test_an_answer_may_be_rewritten_to_what_is_no_json() -> None:
    async with Emulator() as emulator:
        emulator.add(Fault(rewrite=lambda payload: b'{"batchId": '))
        assert (await submit(emulator, items(1))).body == b'{"batchId": '


async def test_an_answer_is_held_back_and_the_batch_taken_at_once() -> None:
    async with Emulator(submit_latency=0.02) as emulator:
        emulator.add(Fault(delay=0.03))
        started = asyncio.get_running_loop().time()
        request = asyncio.create_task(submit(emulator, items(1)))
        while not emulator.batches:
            await asyncio.sleep(0.001)
        assert not request.done()
        assert (await request).status == 200
        assert asyncio.get_running_loop().time() - started >= 0.05


def test_a_forbidden_request_is_written_down_whatever_a_fault_makes_of_it() -> None:
    direct = Direct(faults=[Fault(times=None, status=503)])
    direct.submit([])
    direct.poll("nobody")
    assert len(direct.emulator.violations) == 2


def test_to_ask_for_an_id_that_only_a_fault_gave_out_is_no_violation() -> None:
    direct = Direct(faults=[Fault(status=200, body={"batchId": "made-up"})])
    assert direct.submit(items(1)).json == {"batchId": "made-up"}
    assert direct.poll("made-up").status == 404
    assert direct.emulator.violations == []


@pytest.mark.parametrize(
    "settings",
    [
        {"body": "text"},
        {"taken": True},
        {"status": 500, "drop": "before"},
        {"status": 500, "rewrite": lambda payload: payload},
        {"drop": "after", "rewrite": lambda payload: payload},
        {"share": 1.5},
        {"delay": -1.0},
    ],
)
def test_a_rule_that_would_not_do_what_it_says_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="`"):
        Fault(**settings)


def test_a_request_shows_no_secret() -> None:
    seen = []
    direct = Direct()
    direct.emulator.add(lambda request: seen.append(repr(request)))
    direct.submit(items(1))
    assert "submit" in seen[0]
    assert direct.emulator.subscription_key not in seen[0]
    assert direct.emulator.access_token not in seen[0]
