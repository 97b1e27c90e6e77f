from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quartile_async import (
    APIError,
    AuthenticationError,
    PermissionDeniedError,
    ProtocolError,
    QuotaExceededError,
    RateLimitError,
    ServerError,
)
from quartile_async._answers import Answer, LongPauseError, error_of, pause_named, spelled_pause, words_of
from quartile_async._api import UnusableEndError, batch_id_of, batch_status_of, refused_items

NOW = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)
ID = "5349b4ddd2781d08c09890f3"


def answer(status: int, body: Any = b"", headers: dict[str, str] | None = None) -> Answer:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Answer("PATCH https://api.quartile.com/amazon/v2/process/masterlist", status, headers or {}, content)


@pytest.mark.parametrize(
    ("retry_after", "words", "seconds"),
    [
        ("12", "", 12.0),
        ("0", "", 0.0),
        ("1.5", "", 1.5),
        (" 7 ", "", 7.0),
        ("-5", "", 0.0),
        ("inf", "", None),
        ("nan", "", None),
        ("1e999", "", None),
        ("31536000", "", 31_536_000.0),
        ("Mon, 23 Nov 2026 12:00:30 GMT", "", 30.0),
        ("Mon, 23 Nov 2026 11:00:00 GMT", "", 0.0),
        ("soon", "", None),
        ("", "", None),
        ("soon", "Rate limit is exceeded. Try again in 12 seconds.", 12.0),
        ("", "Rate limit is exceeded. Try again in 1 second.", 1.0),
        ("3", "Rate limit is exceeded. Try again in 12 seconds.", 3.0),
        ("", "Out of call volume quota. Quota will be replenished in 02:12:03.", 7923.0),
        ("", "Out of call volume quota. Quota will be replenished in 3.00:00:01.", 259_201.0),
        ("", "in a moment", None),
    ],
)
def test_a_pause_is_read_from_the_header_or_the_gateways_words(
    retry_after: str, words: str, seconds: float | None
) -> None:
    headers = {"Retry-After": retry_after} if retry_after else {}

    assert pause_named(headers, words, now=NOW) == seconds


@given(st.text(), st.text())
def test_no_pause_is_ever_negative_or_endless(header: str, words: str) -> None:
    pause = pause_named({"Retry-After": header}, words, now=NOW)

    assert pause is None or 0.0 <= pause < float("inf")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"message": "Access denied", "statusCode": 401}, "Access denied"),
        ({"detail": "Not Found"}, "Not Found"),
        ({"detail": {"message": "deeper"}}, "deeper"),
        ({"detail": [{"loc": ["body", 1], "msg": "x"}]}, '{"detail": [{"loc": ["body", 1], "msg": "x"}]}'),
        (b"<html>\n <h1>502 Bad Gateway</h1>\n</html>", "<html> <h1>502 Bad Gateway</h1> </html>"),
        (b"", ""),
        (b"\xff\xfe", "\ufffd\ufffd"),
    ],
)
def test_the_servers_words_are_found_in_each_form_of_error(body: Any, words: str) -> None:
    assert words_of(answer(400, body)) == words


@pytest.mark.parametrize(
    ("status", "body", "kind", "in_doubt"),
    [
        (302, b"", APIError, False),
        (400, {"detail": "no"}, APIError, False),
        (401, {"message": "The access token has expired."}, AuthenticationError, False),
        (401, {"message": "Access denied due to invalid subscription key."}, AuthenticationError, False),
        (403, {"message": "Forbidden"}, PermissionDeniedError, False),
        (403, {"message": "Out of call volume quota."}, QuotaExceededError, False),
        (404, {"detail": "Not Found"}, APIError, False),
        (408, b"", APIError, True),
        (413, b"", APIError, False),
        (422, {"detail": []}, APIError, False),
        (425, b"", APIError, False),
        (429, {"message": "Rate limit is exceeded. Try again in 12 seconds."}, RateLimitError, False),
        (500, b"", ServerError, True),
        (502, b"<html>", ServerError, True),
        (503, b"", ServerError, True),
        (504, b"", ServerError, True),
        (599, b"", ServerError, True),
    ],
)
def test_each_status_has_its_error_and_says_whether_a_submit_may_have_arrived(
    status: int, body: Any, kind: type[APIError], in_doubt: bool
) -> None:
    error = error_of(answer(status, body, {"x-request-id": "r-1"}), submits=True)

    assert type(error) is kind
    assert (error.status, error.request_id, error.may_have_been_sent) == (status, "r-1", in_doubt)
    assert not error_of(answer(status, body), submits=False).may_have_been_sent


@pytest.mark.parametrize(
    ("seconds", "spelled"),
    [
        (0.2, "a pause of 0:00:01, until 2026-11-23 12:00:01 UTC"),
        (12.0, "a pause of 0:00:12, until 2026-11-23 12:00:12 UTC"),
        (7_933.0, "a pause of 2:12:13, until 2026-11-23 14:12:13 UTC"),
        (31_536_000.0, "a pause of 365 days, 0:00:00, until 2027-11-23 12:00:00 UTC"),
        (1e300, "a pause of 1e+300 s"),
        (3e11, "a pause of 3e+11 s"),
    ],
)
def test_a_pause_is_spelled_with_its_end_however_absurd_it_is(seconds: float, spelled: str) -> None:
    assert spelled_pause(seconds, now=NOW) == spelled


@pytest.mark.parametrize(
    ("status", "retry_after", "kind"),
    [
        (503, "299", ServerError),
        (503, "301", LongPauseError),
        (500, "31536000", LongPauseError),
        (503, "1e300", LongPauseError),
        (503, "-1", ServerError),
        (503, "inf", ServerError),
        (503, "nan", ServerError),
        (503, "soon", ServerError),
        (400, "301", APIError),
        (429, "301", RateLimitError),
    ],
)
def test_a_pause_beyond_the_limit_is_an_error_of_its_own_that_names_it(
    status: int, retry_after: str, kind: type[APIError]
) -> None:
    error = error_of(answer(status, headers={"Retry-After": retry_after}), submits=True, longest_pause=300.0)

    assert type(error) is kind
    assert ("UTC" in str(error) or "1e+300" in str(error)) is (kind in (LongPauseError, RateLimitError))


def test_an_exhausted_quota_names_the_time() -> None:
    body = {"statusCode": 403, "message": "Out of call volume quota. Quota will be replenished in 02:12:03."}

    error = error_of(answer(403, body), submits=True)

    assert isinstance(error, QuotaExceededError)
    assert error.retry_after == 7923.0
    assert "02:12:03" in str(error)


PLAIN_IDS = [ID, "a", "A.b_c~d-9", "x" * 128, "..a"]
ODD_IDS = ["", ".", "..", "...", "x" * 129, "a/b", "../x", "a?b", "a#b", "a b", "a\n", "é", "%2e", None, 7, ["a"], {}]


@pytest.mark.parametrize("batch_id", PLAIN_IDS)
def test_a_plain_token_is_a_batch_id(batch_id: str) -> None:
    assert batch_id_of(answer(200, {"batchId": batch_id})) == batch_id


@pytest.mark.parametrize("batch_id", ODD_IDS)
def test_an_id_that_could_choose_another_url_is_refused_and_the_submit_is_in_doubt(batch_id: Any) -> None:
    with pytest.raises(ProtocolError) as caught:
        batch_id_of(answer(200, {"batchId": batch_id}))

    assert caught.value.may_have_been_sent


UNREADABLE = [
    b"",
    b"null",
    b"[]",
    b'"SUCCESS"',
    b'{"batchId": "5349b4ddd2781d08c09890f3"',
    b'{"batchId": "5349b4ddd2781d08c09890f3"} trailing',
    b"{'batchId': '5349b4ddd2781d08c09890f3'}",
    b'{"batchId": NaN}',
    b"<html><h1>Sign in</h1></html>",
    b"\xff",
    b"[" * 100_000,
]


@pytest.mark.parametrize("body", UNREADABLE)
def test_what_is_not_a_json_object_is_a_protocol_error_with_an_excerpt(body: bytes) -> None:
    for read in (batch_id_of, lambda each: batch_status_of(each, ID)):
        with pytest.raises(ProtocolError) as caught:
            read(answer(200, body))
        assert len(str(caught.value)) < 1_000
        assert not isinstance(caught.value, UnusableEndError)


def test_the_vendors_own_example_is_not_json_and_is_not_repaired() -> None:
    example = b"""{"batchId": "5349b4ddd2781d08c09890f3", "status": "SUCCESS",
        "data": [{"asin": "ASINXYZXPTO1", "percACoS": 2.7 "status": {"success": true}}]}"""

    with pytest.raises(ProtocolError, match="not JSON"):
        batch_status_of(answer(200, example), ID)


ROW = {"asin": "ASINXYZXPTO1", "status": {"success": True}}


@pytest.mark.parametrize("http_status", [200, 206])
@pytest.mark.parametrize(
    ("content", "finished"),
    [
        ({"status": "PENDING", "detail": "processing"}, False),
        ({"status": "RUNNING"}, False),
        ({"status": "PENDING", "data": [ROW]}, False),
        ({"status": "PARTIAL", "data": [ROW]}, True),
        ({"status": "FAILED", "data": [ROW]}, True),
        ({"status": "SUCCESS", "data": [ROW]}, True),
        ({"status": "SUCCESS", "data": []}, True),
        ({"status": "ARCHIVED"}, False),
        ({"status": "ARCHIVED", "data": None}, False),
        ({"status": "ARCHIVED", "data": [ROW]}, True),
        ({"status": "success", "data": [ROW]}, True),
        ({"status": "SUCCESS", "data": [ROW], "batchId": ID}, True),
    ],
)
def test_the_status_decides_never_the_http_status(http_status: int, content: dict[str, Any], finished: bool) -> None:
    status = batch_status_of(answer(http_status, content), ID)

    assert (status.batch_id, status.status, status.finished) == (ID, content["status"], finished)
    assert status.rows == (content["data"] if finished else [])


@pytest.mark.parametrize(
    "content",
    [
        {"status": "SUCCESS"},
        {"status": "SUCCESS", "data": None},
        {"status": "PARTIAL", "data": {}},
        {"status": "FAILED", "data": "none"},
        {"status": "SUCCESS", "data": ["row", 3]},
        {"status": "SUCCESS", "data": [ROW], "batchId": "another"},
        {"status": "SUCCESS", "data": [ROW], "batchId": None},
        {"status": "PENDING", "batchId": "another"},
    ],
)
def test_an_end_that_cannot_be_used_and_another_batchs_answer_are_not_trusted(content: dict[str, Any]) -> None:
    with pytest.raises(UnusableEndError):
        batch_status_of(answer(200, content), ID)


@pytest.mark.parametrize("status", [None, 3, True, [], {}])
def test_a_status_that_is_no_word_is_a_protocol_error(status: Any) -> None:
    with pytest.raises(ProtocolError):
        batch_status_of(answer(200, {"status": status, "data": [ROW]}), ID)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda values: st.lists(values, max_size=3) | st.dictionaries(st.text(max_size=5), values, max_size=3),
    max_leaves=8,
)


@given(
    st.binary(max_size=60)
    | st.dictionaries(st.sampled_from(["batchId", "status", "data", "detail"]), json_values).map(
        lambda content: json.dumps(content).encode()
    )
)
def test_no_answer_whatever_makes_the_parser_fail_otherwise_than_by_a_protocol_error(body: bytes) -> None:
    for read in (batch_id_of, lambda each: batch_status_of(each, ID)):
        try:
            read(answer(200, body))
        except ProtocolError as error:
            assert str(error)


def pointing(*details: Any) -> APIError:
    return error_of(answer(422, {"detail": list(details)}), submits=True)


def test_a_422_points_at_items_by_position() -> None:
    error = pointing(
        {"loc": ["body", 17, "percACoS"], "msg": "too small", "type": "greater_than_equal"},
        {"loc": ["body", 17, "asin"], "msg": "too short", "type": "string_too_short"},
        {"loc": ["body", 3], "msg": "no such product", "type": "value_error"},
    )

    assert refused_items(error, 20) == {17: "percACoS: too small; asin: too short", 3: "no such product"}


@pytest.mark.parametrize(
    "detail",
    [
        {"loc": ["body"], "msg": "too many"},
        {"loc": ["body", "0"], "msg": "x"},
        {"loc": ["body", True], "msg": "x"},
        {"loc": ["body", -1], "msg": "x"},
        {"loc": ["body", 20], "msg": "x"},
        {"loc": ["header", 1], "msg": "x"},
        {"loc": "body", "msg": "x"},
        {"msg": "x"},
        "x",
        None,
    ],
)
def test_a_422_that_points_nowhere_is_believed_to_point_nowhere(detail: Any) -> None:
    assert refused_items(pointing(detail), 20) == {}


def test_a_422_without_a_list_of_details_points_nowhere() -> None:
    for body in (b"", b"no json", {"detail": "no"}, {"detail": {"loc": ["body", 1]}}, ["detail"]):
        assert refused_items(error_of(answer(422, body), submits=True), 20) == {}
