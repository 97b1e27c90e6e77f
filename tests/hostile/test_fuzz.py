"""Whatever bytes come as an answer: parsers raise nothing but the library's errors, and never make a yes of it."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from quartile_async import MASTERLIST, BatchStatus, Outcome, ProtocolError
from quartile_async._answers import Answer, error_of, pause_named, spelled_pause, words_of
from quartile_async._api import batch_id_of, batch_status_of, refused_items
from quartile_async._chunking import Chunk
from quartile_async._errors import APIError
from quartile_async._matching import match
from quartile_async._resources import Resource
from quartile_async._tokens import Freshness, freshness_of, tokens_of
from quartile_async._traffic import requests_left
from quartile_async._validation import codec_for

ID = "5349b4ddd2781d08c09890f3"
ITEMS = [{"asin": f"B00000000{number}", "countryCode": "US", "percACoS": 25.0} for number in range(3)]
WHOLE_OBJECTS = Resource[Any]("unmanaged/asins")
PLAIN = re.compile(r"[A-Za-z0-9._~-]{1,128}")

NUMBERS = [0, 1, -1, 7, 10**18, 10**400, -(10**4_299), 0.0, -0.0, 1e308, 5e-324]
numbers = st.sampled_from(NUMBERS) | st.integers() | st.floats()
words = st.text(max_size=8) | st.sampled_from(
    [
        *("batchId", "status", "data", "detail", "message", "loc", "msg", "body", "success", "process", "id", "asin"),
        *("authorization", "refresh", "token", "expiresIn", "expires_in", "expiresAt", "countryCode", "percACoS"),
        *(
            "SUCCESS",
            "PARTIAL",
            "FAILED",
            "PENDING",
            "true",
            "US",
            ID,
            "B000000000",
            "../x",
            "\ud800",
            "\x00",
            "İ",
            "ß",
        ),
        *("2022-06-10T17:08:48", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59"),
    ]
)
scalars = st.none() | st.booleans() | numbers | words
json_values = st.recursive(
    scalars,
    lambda values: st.lists(values, max_size=4) | st.dictionaries(words, values, max_size=4),
    max_leaves=12,
)


def as_json(content: Any) -> bytes:
    return json.dumps(content).encode()


def places(content: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where in a JSON value its parts are."""
    found = [path]
    if isinstance(content, dict | list):
        for name, part in content.items() if isinstance(content, dict) else enumerate(content):
            found += places(part, (*path, name))
    return found


def put(content: Any, path: tuple[Any, ...], value: Any) -> Any:
    """The same value with another part at that place."""
    if not path:
        return value
    copied = dict(content) if isinstance(content, dict) else list(content)
    copied[path[0]] = put(content[path[0]], path[1:], value)
    return copied


@st.composite
def nearly(draw: st.DrawFn, valid: Any) -> bytes:
    """A valid answer with a few parts replaced, or with a few of its bytes."""
    content = valid
    for _ in range(draw(st.integers(0, 3))):
        path = draw(st.sampled_from(places(content)))
        content = put(content, path, draw(json_values))
    body = bytearray(as_json(content))
    for _ in range(draw(st.sampled_from([0, 0, 0, 1, 3]))):
        at = draw(st.integers(0, max(0, len(body) - 1)))
        body[at : at + draw(st.integers(0, 3))] = draw(st.binary(max_size=3))
    return bytes(body)


def answers_like(*valid: Any) -> st.SearchStrategy[bytes]:
    return st.binary(max_size=80) | json_values.map(as_json) | st.one_of([nearly(each) for each in valid])


headers = st.dictionaries(
    st.sampled_from(["Retry-After", "RateLimit-Remaining", "RateLimit-Reset", "x-request-id"]),
    st.text(max_size=40)
    | numbers.map(str)
    | st.sampled_from(
        ["inf", "nan", "1e999", "-1", "Wed, 21 Oct 2015 07:28:00 GMT", "Mon, 1 Jan 1 0:0:0 +9999", ", ,"]
    ),
    max_size=4,
)


def row(item: dict[str, Any], success: Any = True) -> dict[str, Any]:
    return {**item, "id": "497f6eca", "status": {"success": success, "message": "m", "process": "INSERT"}}


TAKEN = {"batchId": ID}
ENDED = {"status": "PARTIAL", "batchId": ID, "data": [row(ITEMS[0]), row(ITEMS[1], False), row(ITEMS[2])]}
PENDING = {"status": "PENDING", "detail": "processing"}
REFUSED = {"detail": [{"loc": ["body", 1, "percACoS"], "msg": "too small", "type": "greater_than_equal"}]}
LIMITED = {"statusCode": 429, "message": "Rate limit is exceeded. Try again in 12 seconds."}
QUOTA = {"statusCode": 403, "message": "Out of call volume quota. Quota will be replenished in 02:12:03."}
TOKENS = {
    "authorization": {"token": "a.b.c", "type": "Bearer", "expiresIn": 43200, "expiresAt": "2022-06-10T17:08:48"},
    "refresh": {"token": "d.e.f", "expiresIn": 1209600, "expiresAt": "2022-06-10T17:08:48", "note": "x"},
}


def answer(body: bytes, status: int = 200, headers: dict[str, str] | None = None) -> Answer:
    return Answer("GET https://api.quartile.com/amazon/v2/batch/x", status, headers or {}, body)


@given(answers_like(TAKEN), st.sampled_from([200, 201, 204, 206]))
def test_a_batch_id_that_comes_out_is_a_plain_token_that_stood_in_the_answer(body: bytes, status: int) -> None:
    try:
        batch_id = batch_id_of(answer(body, status))
    except ProtocolError as error:
        assert error.may_have_been_sent
        assert len(str(error)) < 2_000
        return
    assert PLAIN.fullmatch(batch_id)
    assert batch_id.strip(".")
    assert json.loads(body)["batchId"] == batch_id


def chunk_for(resource: Resource[Any]) -> Chunk:
    checked = codec_for(resource).check(ITEMS)
    return Chunk(list(range(len(ITEMS))), list(ITEMS), checked.wires, checked.keys)


def check_results(status: BatchStatus, resource: Resource[Any]) -> None:
    """Each item has one result; a success stands in a row of the answer that carries the item's key."""
    matched = match(chunk_for(resource), status, resource, resent=False)
    assert [(result.index, result.item) for result in matched.results] == list(enumerate(ITEMS))
    assert matched.foreign_rows >= 0
    for result in matched.results:
        assert isinstance(result.message, str)
        if result.outcome is not Outcome.SUCCEEDED:
            continue
        assert status.status in ("SUCCESS", "PARTIAL")
        assert result.row is not None
        assert any(result.row is row for row in status.rows), "the row is the server's own"
        assert result.row["status"]["success"] is True
        for name in resource.key or tuple(ITEMS[0]):
            assert str(result.row[name]).casefold().removesuffix(".0") == (
                str(result.item[name]).casefold().removesuffix(".0")
            )


@pytest.mark.parametrize("resource", [MASTERLIST, WHOLE_OBJECTS], ids=["a named key", "whole objects"])
@given(body=answers_like(ENDED, PENDING), http_status=st.sampled_from([200, 206]))
@example(body=as_json(ENDED), http_status=200)
@example(body=as_json({**ENDED, "data": [{**row(ITEMS[0]), "asin": 10**4_299}]}), http_status=200)
@example(body=b'{"status": "SUCCESS", "data": [{"asin": 1e400, "countryCode": -1e400}]}', http_status=200)
def test_no_answer_about_a_batch_becomes_a_success_that_the_items_own_row_does_not_say(
    resource: Resource[Any], body: bytes, http_status: int
) -> None:
    try:
        status = batch_status_of(answer(body, http_status), ID)
    except ProtocolError as error:
        assert len(str(error)) < 2_000
        return
    assert status.batch_id == ID
    assert json.loads(body).get("batchId", ID) == ID
    if status.finished:
        check_results(status, resource)
    else:
        assert status.rows == []
        assert status.status not in ("SUCCESS", "PARTIAL", "FAILED")


@given(
    st.lists(json_values | st.sampled_from([row(each) for each in ITEMS]), max_size=5),
    st.sampled_from(["SUCCESS", "PARTIAL", "FAILED", "DONE", "success"]) | st.text(max_size=5),
)
def test_rows_of_any_form_never_become_a_success_by_themselves(rows: list[Any], status: str) -> None:
    objects = [each for each in rows if isinstance(each, dict)]
    for resource in (MASTERLIST, WHOLE_OBJECTS):
        check_results(BatchStatus(ID, status, objects, finished=True), resource)


@given(answers_like(REFUSED, LIMITED), st.integers(1, 100))
@example(b'{"detail": [{"loc": ["body", 0, ' + b"9" * 4_300 + b'], "msg": ' + b"9" * 4_300 + b"}]}", 3)
def test_a_422_of_any_form_points_only_at_items_that_were_sent(body: bytes, count: int) -> None:
    error = error_of(answer(body, 422), submits=True)

    for position, why in refused_items(error, count).items():
        assert type(position) is int
        assert 0 <= position < count
        assert isinstance(why, str)
        assert why


@given(answers_like(REFUSED, LIMITED, QUOTA), st.integers(300, 999), headers)
def test_a_no_of_any_form_becomes_an_error_with_bounded_words(
    body: bytes, status: int, headers: dict[str, str]
) -> None:
    said = answer(body, status, headers)

    for submits in (True, False):
        error = error_of(said, submits=submits, longest_pause=300.0)
        assert isinstance(error, APIError)
        assert error.status == status
        assert len(str(error)) < 2_000
        assert "\n" not in error.message
        assert error.retry_after is None or 0.0 <= error.retry_after < math.inf
        assert submits or not error.may_have_been_sent
    assert len(words_of(said)) <= 201


dates = st.builds(
    "{}, {} {} {} {}:{}:{} {}".format,
    st.sampled_from(["Mon", "", "x", ","]),
    *[st.integers(-1, 99_999)],
    st.sampled_from(["Jan", "Foo", "", "12"]),
    *[st.integers(-1, 10**12)] * 4,
    st.sampled_from(["GMT", "+9999", "-2399", "+999999999999", "", "x"]),
)


@given(
    st.text(max_size=40) | dates | numbers.map(str),
    st.text(max_size=40) | st.builds("in {}.{}:{}:{}".format, *[st.integers(0, 10**9)] * 4),
)
@example("9" * 5_000, "in 999999999.9 seconds")
@example("Mon, 1 Jan 10000 00:00:00 GMT", "")
@example("Mon, 31 Dec 9999 23:59:59 -2359", "")
@example("Mon, 1 Jan 0001 00:00:00 +2359", "")
def test_a_pause_is_none_or_a_number_of_seconds_that_can_be_spelled(header: str, words: str) -> None:
    pause = pause_named({"Retry-After": header}, words)

    assert pause is None or 0.0 <= pause < math.inf
    if pause is not None:
        assert spelled_pause(pause)


@given(headers)
def test_a_hint_at_the_requests_that_are_left_is_none_or_makes_sense(headers: dict[str, str]) -> None:
    left = requests_left(headers)

    assert left is None or (left[0] >= 0 and 0 <= left[1] < math.inf)


@given(answers_like(TOKENS), st.floats(0, 4e9))
@example(as_json(put(TOKENS, ("authorization", "expiresIn"), 10**400)), 1.7e9)
@example(as_json(put(TOKENS, ("authorization", "expiresIn"), -(10**400))), 1.7e9)
@example(as_json(put(TOKENS, ("authorization",), {"token": "a", "expiresAt": "0001-01-01T00:00:00+23:59"})), 1.7e9)
@example(as_json(put(TOKENS, ("authorization",), {"token": "a", "expiresAt": "9999-12-31T23:59:59-23:59"})), 1.7e9)
def test_tokens_that_come_out_can_stand_in_a_header_and_an_odd_answer_is_not_shown(body: bytes, sent_at: float) -> None:
    try:
        tokens = tokens_of(answer(body, 201), sent_at=sent_at, server="https://api.quartile.com", user="")
    except ProtocolError as error:
        assert "a.b.c" not in str(error)
        assert "d.e.f" not in str(error)
        return
    for token in (tokens.access_token, tokens.refresh_token):
        assert token is None or (token.isascii() and token.isprintable() and " " not in token and token)
    assert tokens.lifetime is None or 0 < tokens.lifetime < math.inf
    assert isinstance(freshness_of(tokens, sent_at), Freshness)


READERS: list[Callable[[Answer], object]] = [
    batch_id_of,
    lambda each: batch_status_of(each, ID),
    lambda each: tokens_of(each, sent_at=0.0, server="", user=""),
    words_of,
    lambda each: refused_items(error_of(each, submits=True), 3),
]


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"message":' * 150 + b"1" + b"}" * 150,
        b'{"detail": [{"loc": ["body", 0, ' + b"[" * 150 + b"]" * 150 + b"]}]}",
        b"9" * 100_000,
        b'{"batchId": ' + b"9" * 100_000 + b"}",
        b'{"batchId": "' + b"\\u0000" * 100_000 + b'"}',
        b'{"status": "' + b"x" * 1_000_000 + b'", "data": 1}',
        b'"' + b" " * 1_000_000,
        b"\xef\xbb\xbf{}",
        b"\xff" * 100_000,
    ],
    ids=lambda body: repr(body[:16]),
)
def test_what_is_deep_or_long_is_read_or_refused_with_a_short_text(body: bytes) -> None:
    for status in (200, 422):
        for read in READERS:
            try:
                read(answer(body, status))
            except ProtocolError as error:
                assert len(str(error)) < 2_000
