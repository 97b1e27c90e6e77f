"""What comes of answers that a broken or hostile server gives: a table, over real sockets."""

from __future__ import annotations

import asyncio
import json
import tracemalloc
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from quartile_async import (
    MASTERLIST,
    APIError,
    AuthenticationError,
    ItemResult,
    Outcome,
    ProtocolError,
    QuartileClient,
    QuartileError,
    RateLimitError,
    ServerError,
    TransportError,
)
from quartile_async._http import MOST_BODY

from .server import Act, Asked, RawServer, Reply, chunked, http

KEY = "abcdefghijklmnopqrstuvwxyz012345"
TOKEN = "header.payload.signature"
ID = "5349b4ddd2781d08c09890f3"
SUBMIT = "/amazon/v2/process/masterlist"
BATCH = f"/amazon/v2/batch/{ID}"
ITEMS = [{"asin": f"B00000000{number}", "countryCode": "US", "percACoS": 25.0} for number in (1, 2)]

SUCCEEDED, FAILED, REJECTED, UNKNOWN = Outcome.SUCCEEDED, Outcome.FAILED, Outcome.REJECTED, Outcome.UNKNOWN
BOTH_UNKNOWN = (UNKNOWN, UNKNOWN)
BOTH_REJECTED = (REJECTED, REJECTED)
BOTH_WELL = (SUCCEEDED, SUCCEEDED)

SETTINGS: dict[str, Any] = {
    "max_tries": 2,
    "max_retry_time": 1.0,
    "request_timeout": 0.3,
    "batch_deadline": 0.4,
    "outage_limit": 0.1,
    "not_visible_grace": 0.1,
    "max_pause": 1.0,
}


@pytest.fixture(autouse=True)
def little_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """The waits between tries and probes are not what is looked at here."""
    monkeypatch.setattr("quartile_async._retrying.BASE", 0.01)
    monkeypatch.setattr("quartile_async._outage.FIRST_PROBE", 0.02)
    monkeypatch.setattr("quartile_async._pacing.SHORTEST_PAUSE", 0.05)
    monkeypatch.setattr("quartile_async._pacing.PAUSE_WITHOUT_A_NAME", 0.1)
    monkeypatch.setattr("quartile_async._pacing.SPREAD", 0.05)


@dataclass(frozen=True)
class Case:
    """An answer, and what must come of it.

    Attributes:
        name: what is wrong with it.
        reply: the answer, each time.
        ends: the outcomes of the two items, or the error that ends the upload.
        said: stands in the message of an item that did not succeed, or in the error's.
    """

    name: str
    reply: Reply
    ends: tuple[Outcome, ...] | type[QuartileError]
    said: str = ""


@dataclass
class Ending:
    """How an upload has ended."""

    results: list[ItemResult[Any]] = field(default_factory=list)
    left: list[ItemResult[Any]] = field(default_factory=list)
    error: QuartileError | None = None


def row(number: int, success: Any = True, **changes: Any) -> dict[str, Any]:
    verdict = {"success": success, "message": "the row's words", "process": "INSERT"}
    return {**ITEMS[number], "id": f"id-{number}", "status": verdict, **changes}


def ended(*rows: Any, status: Any = "SUCCESS", **more: Any) -> bytes:
    return http(206, {"status": status, "data": list(rows), **more})


GOOD = ended(row(0), row(1))
GOOD_BODY = GOOD.partition(b"\r\n\r\n")[2]
TAKEN = http(200, {"batchId": ID})


def gzipped(content: bytes) -> bytes:
    packer = zlib.compressobj(wbits=31)
    return packer.compress(content) + packer.flush()


def drip(answer: bytes) -> Act:
    """One byte each 50 ms: each of them comes well before any time-out between two bytes."""

    async def act(writer: asyncio.StreamWriter) -> None:
        for byte in answer:
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0.05)

    return act


def then_closes(answer: bytes) -> Act:
    async def act(writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        await writer.drain()

    return act


async def resets(writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()


async def keeps_silent(writer: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


async def interim_answers_for_ever(writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(b"HTTP/1.1 103 Early Hints\r\n\r\n")
        await writer.drain()
        await asyncio.sleep(0.01)


def on_the_wire(good: bytes) -> list[Case]:
    """Answers that are none, whatever was asked. The upload ends, as in an outage: no request gets through."""
    body = good.partition(b"\r\n\r\n")[2]
    half = body[: len(body) // 2]
    return [
        Case("nothing at all, and the connection ends", then_closes(b""), TransportError),
        Case("the connection is reset", resets, TransportError),
        Case("silence", keeps_silent, TransportError, "time ran out"),
        Case("no HTTP", then_closes(b"220 ready\r\n\r\n"), TransportError),
        Case("a status line with nonsense", then_closes(b"HTTP/9.9 abc\r\n\r\n"), TransportError),
        Case("a slow drip", drip(good), TransportError, "time ran out"),
        Case("a slow drip within the body", drip(http(200, body, "X: y")), TransportError, "time ran out"),
        Case("interim answers for ever", interim_answers_for_ever, TransportError, "time ran out"),
        Case("an upgrade", http(101, b"", "Upgrade: websocket", "Connection: Upgrade"), TransportError),
        Case("an empty body", http(200), TransportError),
        Case("no content", http(204), TransportError),
        Case("reset content", http(205), TransportError),
        Case("truncated JSON", http(200, half), TransportError, "not JSON"),
        Case("JSON with something behind it", http(200, body + b"x"), TransportError, "not JSON"),
        Case("a byte order mark", http(200, b"\xef\xbb\xbf" + body), TransportError, "not JSON"),
        Case("UTF-16", http(200, body.decode().encode("utf-16")), TransportError, "not JSON"),
        Case("invalid UTF-8", http(200, body[:-1] + b', "x": "\xff\xfe"}'), TransportError, "not JSON"),
        Case("half a surrogate pair", http(200, body[:-1] + b', "x": "\\ud800"}'), TransportError, "not JSON"),
        Case("NaN", http(200, body[:-1] + b', "x": NaN}'), TransportError, "not JSON"),
        Case("Infinity", http(200, body[:-1] + b', "x": -Infinity}'), TransportError, "not JSON"),
        Case("single quotes", http(200, body.replace(b'"', b"'")), TransportError, "not JSON"),
        Case("an HTML page with 200", http(200, b"<html>Sign in</html>", "Content-Type: text/html"), TransportError),
        Case("deeply nested lists", http(200, b"[" * 100_000), TransportError, "not JSON"),
        Case("deeply nested objects", http(200, b'{"status":' * 100_000), TransportError, "not JSON"),
        Case("a list", http(200, b"[" + body + b"]"), TransportError, "not an object"),
        Case("null", http(200, b"null"), TransportError, "not an object"),
        Case("a string", http(200, json.dumps(body.decode())), TransportError, "not an object"),
        Case("a Content-Length too small", then_closes(http(200, body, length=len(body) - 5)), TransportError),
        Case("a Content-Length too large", http(200, body, length=len(body) + 5), TransportError, "time ran out"),
        Case("a body that ends early", then_closes(http(200, body, length=len(body) + 5)), TransportError),
        Case("a negative Content-Length", then_closes(http(200, body, length=-1)), TransportError),
        Case("two Content-Lengths", then_closes(http(200, body, "Content-Length: 3")), TransportError),
        Case("headers that are enormous", then_closes(http(200, body, "X: " + "x" * 1_000_000)), TransportError),
        Case("headers without end", then_closes(http(200, body, *["X: y"] * 200_000)), TransportError),
        Case("a header with a NUL", then_closes(http(200, body, "X: a\x00b")), TransportError),
        Case("gzip that is none", http(200, body, "Content-Encoding: gzip"), TransportError),
        Case("gzip cut off", http(200, gzipped(body)[:-12], "Content-Encoding: gzip"), TransportError),
        Case("chunks that break off", then_closes(chunked(b"5\r\n" + body[:5] + b"\r\n", b"ff\r\n{")), TransportError),
        Case("chunks with a size that is none", chunked(b"5\r\n" + body[:5] + b"\r\n", b"zz\r\n"), TransportError),
        Case("chunks without end", chunked(b"%x\r\n" % len(body) + body + b"\r\n"), TransportError, "time ran out"),
    ]


REFUSALS = [
    Case("401", http(401, {"message": "no"}), AuthenticationError),
    Case("429 with a pause for ever", http(429, b"", "Retry-After: 1e300"), RateLimitError),
    Case("429 with no pause, for ever", http(429, b"", "Retry-After: 0"), RateLimitError),
    Case("429 with a pause that is no number, for ever", http(429, b"", "Retry-After: nan"), RateLimitError),
    Case("429 with a negative pause, for ever", http(429, b"", "Retry-After: -5"), RateLimitError),
    Case("503 with a pause that is too long", http(503, b"", "Retry-After: 99999999"), ServerError),
    Case("500 with a date that is none", http(500, b"", "Retry-After: Mon, 99 Foo 99999 99:99:99"), TransportError),
    Case("500 with deeply nested JSON", http(500, b"[" * 100_000), TransportError),
    Case("500 with words that are objects", http(500, {"message": {"detail": [1]}, "detail": 7}), TransportError),
    Case("a status beyond all", http(999, GOOD_BODY), BOTH_UNKNOWN, "answered 999"),
]

SUBMITS = [
    *on_the_wire(TAKEN),
    *REFUSALS,
    *(
        Case(f"batchId is {batch_id!r:.40}", http(200, {"batchId": batch_id}), BOTH_UNKNOWN, "plain token")
        for batch_id in (
            *(7, 1.5, True, None, [], [ID], {}, {"id": ID}, ""),
            *("../../auth/v2/login", "%2e%2e", "%2e%2e%2fx", ".", "..", "...", "x" * 129, f"{ID}\n", f"{ID}\r\nX: y"),
            *(f"{ID}?a=b", f"{ID}#a", f"{ID}/x", f" {ID}", "é", "\u0661", "a\u0000", "//other.example/x", "\\..\\x"),
        )
    ),
    Case("no batchId", http(200, {"batchid": ID}), BOTH_UNKNOWN, "plain token"),
    Case("batchId of thousands of digits", http(200, b'{"batchId": ' + b"9" * 4_000 + b"}"), BOTH_UNKNOWN),
    Case("batchId of 100,000 digits", http(200, b'{"batchId": ' + b"9" * 100_000 + b"}"), TransportError),
    Case("two batchIds", http(200, b'{"batchId": "' + ID.encode() + b'", "batchId": "../x"}'), BOTH_UNKNOWN),
    Case("400", http(400, b"\xff\xfe"), BOTH_UNKNOWN),
    Case("404", http(404, {"detail": "Not Found"}), APIError, "batch_paths='table'"),
    *(Case(str(status), http(status, TAKEN), APIError, "Redirects are not followed") for status in (300, 304, 399)),
    *(
        Case(f"422 with {detail!r:.60}", http(422, {"detail": detail}), BOTH_REJECTED)
        for detail in (
            *(None, 7, "no", {}, [], [None], [[]], [{}], [{"loc": None}], [{"loc": "body"}], [{"loc": ["body"]}]),
            *([{"loc": ["body", place], "msg": {"a": [None]}}] for place in (0, 1, -1, 2, 10**30, "0", True, 0.0, [0])),
            [{"loc": ["body", 0, None, {"a": []}, [1]], "msg": 3}, {"loc": ["body", 0], "msg": None}],
        )
    ),
    Case(
        "422 that points with thousands of digits",
        http(422, b'{"detail": [{"loc": ["body", 0, ' + b"9" * 4_300 + b'], "msg": ' + b"9" * 4_300 + b"}]}"),
        BOTH_REJECTED,
    ),
    Case("422 that is not JSON", http(422, b"<html>"), BOTH_REJECTED),
    Case("413", http(413), BOTH_REJECTED),
]

POLLS = [
    *on_the_wire(GOOD),
    *REFUSALS,
    *(
        Case(f"status is {status!r:.30}", ended(row(0), row(1), status=status), BOTH_UNKNOWN, "had not ended")
        for status in (200, True, None, ["SUCCESS"], {"status": "SUCCESS"})
    ),
    Case("no status", http(200, {"data": [row(0), row(1)]}), BOTH_UNKNOWN, "had not ended"),
    Case("an unknown status", http(200, {"status": "DONE"}), BOTH_UNKNOWN, "had not ended"),
    *(
        Case(f"status {status!r} with rows", ended(row(0), row(1, False), status=status), BOTH_UNKNOWN, repr(status))
        for status in ("DONE", "success", "SUCCESS ", "", "SUCCESS\x00")
    ),
    Case("an unknown status and data that is no list", http(200, {"status": "DONE", "data": {}}), BOTH_UNKNOWN),
    Case("rows before the end", ended(row(0), row(1), status="RUNNING"), BOTH_UNKNOWN, "had not ended"),
    *(
        Case(f"data is {data!r:.30}", http(200, {"status": "SUCCESS", "data": data}), BOTH_UNKNOWN, "without a list")
        for data in (None, {}, {"0": row(0)}, "", "rows", 7, True)
    ),
    Case("no data", http(200, {"status": "SUCCESS"}), BOTH_UNKNOWN, "without a list"),
    Case("no rows", ended(), BOTH_UNKNOWN, "without a row"),
    Case("rows that are no objects", ended(1, None, [row(0)], "x"), BOTH_UNKNOWN, "no objects"),
    Case(
        "rows that are no objects beside one", ended(1, row(0), [row(1)], None), (SUCCEEDED, UNKNOWN), "without a row"
    ),
    Case("rows of other items", ended({**row(0), "asin": "B999"}, {"status": row(1)}), BOTH_UNKNOWN, "none is one of"),
    *(
        Case(f"about batch {other!r:.30}", ended(row(0), row(1), batchId=other), BOTH_UNKNOWN, "another batch")
        for other in ("another", f"{ID} ", ID.upper(), None, 7, [ID], {"id": ID}, "../x")
    ),
    Case("pending, about another batch", http(206, {"status": "PENDING", "batchId": "x"}), BOTH_UNKNOWN, "another"),
    *(
        Case(f"success is {success!r}", ended(row(0), row(1, success)), (SUCCEEDED, UNKNOWN), "cannot be read")
        for success in ("true", "yes", 1, 1.0, None, [], [True], {"success": True})
    ),
    *(
        Case(f"a row's status is {verdict!r:.30}", ended(row(0), row(1, status=verdict)), (SUCCEEDED, UNKNOWN))
        for verdict in (True, "SUCCESS", None, 1, [], [{"success": True}], {})
    ),
    Case("success beside the row's status", ended(row(0), row(1, status={}, success=True)), (SUCCEEDED, UNKNOWN)),
    Case("a batch that failed with rows that did not", ended(row(0), row(1), status="FAILED"), BOTH_UNKNOWN),
    *(
        Case(
            f"message, process and id are {odd!r}",
            ended(
                *(row(n, n == 0, id=odd, status={"success": n == 0, "message": odd, "process": odd}) for n in (0, 1))
            ),
            (SUCCEEDED, FAILED),
        )
        for odd in (None, 7, ["x"], {"message": "x"}, True)
    ),
    *(
        Case(f"a key that is {odd!r}", ended(row(0), row(1, asin=odd)), (SUCCEEDED, UNKNOWN), "without a row")
        for odd in (None, 7, True, [ITEMS[1]["asin"]], {"asin": ITEMS[1]["asin"]}, "", f" {ITEMS[1]['asin']}")
    ),
    Case("rows that contradict each other", ended(row(0), row(1), row(1, False)), (SUCCEEDED, UNKNOWN), "contradict"),
    Case("rows that repeat", ended(row(0), row(0), row(1, False), row(1, False)), (SUCCEEDED, FAILED)),
    Case("two statuses", http(200, GOOD_BODY[:-1] + b', "status": "PENDING"}'), BOTH_UNKNOWN, "had not ended"),
    Case("two lists of rows", http(200, GOOD_BODY[:-1] + b', "data": []}'), BOTH_UNKNOWN, "without a row"),
    Case(
        "two verdicts in a row, of which the last says no",
        http(200, GOOD_BODY.replace(b'"success": true', b'"success": true, "success": false')),
        (FAILED, FAILED),
        "the row's words",
    ),
    Case("a number beyond all", http(200, GOOD_BODY.replace(b"25.0", b"1e400")), BOTH_WELL),
    Case("a number of thousands of digits", http(200, GOOD_BODY.replace(b"25.0", b"9" * 4_300)), BOTH_WELL),
    Case("a number of 100,000 digits", http(200, GOOD_BODY.replace(b"25.0", b"9" * 100_000)), TransportError),
    Case("a key of thousands of digits", ended(row(0), row(1, asin=10**4_200)), (SUCCEEDED, UNKNOWN)),
    Case("404", http(404, {"detail": "Not Found"}), BOTH_UNKNOWN, "has not known it"),
    *(Case(str(status), http(status, GOOD_BODY), BOTH_UNKNOWN, "had not ended") for status in (300, 399)),
    Case("304", http(304), BOTH_UNKNOWN, "had not ended"),  # it has no body: one would be in the way of what comes next
    Case("an interim answer before a good one", b"HTTP/1.1 103 Early Hints\r\n\r\n" + GOOD, BOTH_WELL),
    Case("a good one that is compressed", http(200, gzipped(GOOD_BODY), "Content-Encoding: gzip"), BOTH_WELL),
]


async def ending_of(server: RawServer, **settings: Any) -> Ending:
    """Runs an upload of the two items, and checks what must hold whatever the server says."""
    ending = Ending()
    async with (
        asyncio.timeout(10.0),
        QuartileClient(subscription_key=KEY, auth=TOKEN, base_url=server.url, **{**SETTINGS, **settings}) as client,
        client.upload(MASTERLIST, ITEMS) as upload,
    ):
        try:
            async for result in upload:
                ending.results.append(result)
        except QuartileError as error:
            ending.error = error
            assert len(str(error)) < 2_000
        ending.left = upload.unaccounted
    everything = ending.results + ending.left
    assert sorted(result.index for result in everything) == [0, 1], "each item has one result"
    for result in ending.results:
        if result.ok:
            assert result.row is not None
            assert result.row["status"]["success"] is True
            assert result.row["asin"] == result.item["asin"]
    assert all(result.outcome is UNKNOWN for result in ending.left)
    assert {asked.path for asked in server.requests} <= {SUBMIT, BATCH}, "nothing that the server said became a URL"
    return ending


def check(case: Case, ending: Ending) -> None:
    if isinstance(case.ends, tuple):
        assert ending.error is None
        outcomes = tuple(result.outcome for result in sorted(ending.results, key=lambda result: result.index))
        assert outcomes == case.ends
        for result in ending.results:
            if not result.ok:
                assert case.said in result.message
                assert len(result.message) < 20_000
    else:
        assert isinstance(ending.error, case.ends)
        assert case.said in str(ending.error)


def by_name(cases: list[Case]) -> Any:
    return pytest.mark.parametrize("case", cases, ids=[case.name for case in cases])


@by_name(SUBMITS)
async def test_an_odd_answer_to_a_submit_is_no_success_and_no_hang(case: Case) -> None:
    async with RawServer(lambda asked: case.reply) as server:
        ending = await ending_of(server)

    check(case, ending)
    assert all(asked.method == "PATCH" for asked in server.requests)
    assert not any(result.ok for result in ending.results)


@by_name(on_the_wire(TAKEN))
async def test_items_of_a_submit_without_a_readable_answer_are_never_called_not_sent(case: Case) -> None:
    async with RawServer(lambda asked: case.reply) as server:
        ending = await ending_of(server, max_tries=1)

    assert not any(result.not_sent for result in ending.results + ending.left)


@by_name(POLLS)
async def test_an_odd_answer_about_a_batch_is_no_success_and_no_hang(case: Case) -> None:
    async with RawServer(lambda asked: TAKEN if asked.method == "PATCH" else case.reply) as server:
        ending = await ending_of(server)

    check(case, ending)
    assert len([asked for asked in server.requests if asked.method == "PATCH"]) == 1, "submitted once"
    assert all(result.batch_id == ID for result in ending.results + ending.left)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("method", ["PATCH", "GET"])
async def test_a_redirect_takes_the_credentials_nowhere(status: int, method: str) -> None:
    async with RawServer(lambda asked: http(200, {"batchId": ID, "status": "PENDING"})) as elsewhere:
        away = http(status, b"", f"Location: {elsewhere.url}/amazon/v2/batch/{ID}")
        async with RawServer(lambda asked: away if asked.method == method else TAKEN) as server:
            ending = await ending_of(server)

    assert elsewhere.requests == []
    if method == "PATCH":
        assert isinstance(ending.error, APIError)
        assert "Redirects are not followed" in str(ending.error)
        assert len(server.requests) == 1
    else:
        assert [result.outcome for result in ending.results] == [UNKNOWN, UNKNOWN]


async def test_cookies_are_not_sent_back() -> None:
    cookie = "Set-Cookie: session=abc; Path=/"
    replies = iter([http(206, {"status": "PENDING"}, cookie), http(206, {"status": "RUNNING"}, cookie), GOOD])
    async with RawServer(
        lambda asked: http(200, {"batchId": ID}, cookie) if asked.method == "PATCH" else next(replies)
    ) as server:
        ending = await ending_of(server)

    assert [result.ok for result in ending.results] == [True, True]
    assert len(server.requests) == 4
    assert not any("cookie" in asked.headers for asked in server.requests)


async def test_an_answer_that_nobody_asked_for_is_no_answer_to_the_next_question() -> None:
    """A second answer behind the first one, on a connection that is kept."""
    pending = http(206, {"status": "PENDING"})
    asked_twice = asyncio.Event()

    def answer(asked: Asked) -> Reply:
        if asked.method == "PATCH":
            return TAKEN
        if asked_twice.is_set():
            return pending
        asked_twice.set()
        return pending + GOOD

    async with RawServer(answer) as server:
        ending = await ending_of(server)

    assert [result.outcome for result in ending.results] == [UNKNOWN, UNKNOWN]


def bomb(megabytes: int) -> bytes:
    packer = zlib.compressobj(9, wbits=31)
    block = bytes(1024 * 1024)
    return b"".join(packer.compress(block) for _ in range(megabytes)) + packer.flush()


async def without_end(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 Said\r\nContent-Type: application/json\r\n\r\n")
    while True:
        writer.write(b" " * 65_536)
        await writer.drain()


async def chunks_without_end(writer: asyncio.StreamWriter) -> None:
    writer.write(chunked())
    while True:
        writer.write(b"10000\r\n" + b" " * 65_536 + b"\r\n")
        await writer.drain()


LARGE: dict[str, Callable[[], Reply]] = {
    "a body without end": lambda: without_end,
    "chunks without end": lambda: chunks_without_end,
    "a gzip bomb": lambda: http(200, bomb(300), "Content-Encoding: gzip"),
    "a gzip bomb in an error": lambda: http(422, bomb(300), "Content-Encoding: gzip"),
}


@pytest.mark.parametrize("method", ["PATCH", "GET"])
@pytest.mark.parametrize("large", LARGE)
async def test_an_answer_without_end_ends_as_an_error_in_bounded_memory(large: str, method: str) -> None:
    reply = LARGE[large]()
    async with (
        RawServer(lambda asked: reply) as server,
        QuartileClient(
            subscription_key=KEY, auth=TOKEN, base_url=server.url, max_tries=1, request_timeout=20.0
        ) as client,
    ):
        tracemalloc.start()
        try:
            with pytest.raises(ProtocolError, match="longer than") as caught:
                await (client.submit(MASTERLIST, ITEMS) if method == "PATCH" else client.get_batch(ID))
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert len(str(caught.value)) < 2_000
    assert peak < 4 * MOST_BODY
    assert caught.value.may_have_been_sent is (method == "PATCH")
