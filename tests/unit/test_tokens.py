"""When a token is due, and what is read from the answer to a login or a refresh."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quartile_async import ProtocolError
from quartile_async._answers import Answer
from quartile_async._tokens import Freshness, StoredTokens, digest_of, freshness_of, tokens_of

NOW = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC).timestamp()
FRESH, ADVISORY, MANDATORY, EXPIRED = Freshness.FRESH, Freshness.ADVISORY, Freshness.MANDATORY, Freshness.EXPIRED


@pytest.mark.parametrize(
    ("lifetime", "left", "expected"),
    [
        # Twelve hours: the windows are five minutes and half a minute.
        (43_200.0, 43_200.0, FRESH),
        (43_200.0, 300.1, FRESH),
        (43_200.0, 300.0, ADVISORY),
        (43_200.0, 30.1, ADVISORY),
        (43_200.0, 30.0, MANDATORY),
        (43_200.0, 0.1, MANDATORY),
        (43_200.0, 0.0, EXPIRED),
        (43_200.0, -1e9, EXPIRED),
        # Ten minutes: the advisory one is a quarter of that.
        (600.0, 150.1, FRESH),
        (600.0, 150.0, ADVISORY),
        (600.0, 30.0, MANDATORY),
        # A minute: the mandatory one is a tenth of that.
        (60.0, 15.1, FRESH),
        (60.0, 15.0, ADVISORY),
        (60.0, 6.1, ADVISORY),
        (60.0, 6.0, MANDATORY),
        # A few seconds: still fresh for three quarters of them.
        (2.0, 2.0, FRESH),
        (2.0, 0.51, FRESH),
        (2.0, 0.5, ADVISORY),
        (2.0, 0.2, MANDATORY),
        (2.0, 0.0, EXPIRED),
        (0.001, 0.001, FRESH),
        # Only the end is known, as a store of another make may have it: the windows are not capped.
        (None, 301.0, FRESH),
        (None, 300.0, ADVISORY),
        (None, 30.0, MANDATORY),
        (None, 0.0, EXPIRED),
    ],
)
def test_a_token_is_due_some_time_before_its_end(lifetime: float | None, left: float, expected: Freshness) -> None:
    # At the time 0, because no subtraction then rounds what is left.
    assert freshness_of(StoredTokens("token", expires_at=left, lifetime=lifetime), 0.0) is expected


@pytest.mark.parametrize("now", [0.0, NOW, 1e12])
def test_a_token_whose_end_nobody_has_told_is_fresh_until_it_is_refused(now: float) -> None:
    assert freshness_of(StoredTokens("token"), now) is FRESH
    assert freshness_of(StoredTokens("token", lifetime=5.0), now) is FRESH


@given(lifetime=st.floats(0.01, 1e7), share=st.floats(0.0, 1.0))
def test_a_new_token_is_fresh_for_three_quarters_of_any_lifetime(lifetime: float, share: float) -> None:
    tokens = StoredTokens("token", expires_at=lifetime, lifetime=lifetime)
    now = share * lifetime
    if share < 0.74:
        assert freshness_of(tokens, now) is FRESH
    order = [FRESH, ADVISORY, MANDATORY, EXPIRED]
    later = freshness_of(tokens, now + lifetime / 100)
    assert order.index(later) >= order.index(freshness_of(tokens, now)), "no token gets younger"


def answered(content: Any) -> Answer:
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    return Answer("POST https://api.quartile.com/auth/v2/login", 201, {}, body)


def read(content: Any) -> StoredTokens:
    return tokens_of(answered(content), sent_at=NOW, server="https://api.quartile.com", user="abc")


def both(**access: Any) -> dict[str, Any]:
    return {"authorization": {"token": "acc3ss", "type": "Bearer", **access}, "refresh": {"token": "r3fresh"}}


def test_the_documentations_answer_is_read() -> None:
    content = {
        "authorization": {
            "token": "acc3ss",
            "type": "Bearer",
            "expiresIn": 43200,
            "expiresAt": "2022-06-10T17:08:48",
            "notBefore": "2022-06-10T05:08:48",
            "note": "can and will change",
        },
        "refresh": {"token": "r3fresh", "expiresIn": 1209600, "expiresAt": "2022-06-24T05:08:48", "note": ""},
    }
    assert read(content) == StoredTokens(
        "acc3ss",
        expires_at=NOW + 43_200.0,
        lifetime=43_200.0,
        refresh_token="r3fresh",
        server="https://api.quartile.com",
        user="abc",
    )


@pytest.mark.parametrize(
    ("access", "lifetime"),
    [
        ({"expiresIn": 43200}, 43_200.0),
        ({"expires_in": 43200}, 43_200.0),
        ({"expiresIn": 10, "expires_in": 20}, 10.0),
        ({"expiresIn": None, "expires_in": 20}, 20.0),
        ({"expiresIn": 1.5}, 1.5),
        ({"expiresIn": 2}, 2.0),
        # The seconds win over the date: they do not depend on two clocks that agree.
        ({"expiresIn": 60, "expiresAt": "2026-11-23T18:00:00"}, 60.0),
        # Only the date: without a zone it is UTC.
        ({"expiresAt": "2026-11-23T18:00:00"}, 6 * 3600.0),
        ({"expires_at": "2026-11-23T18:00:00"}, 6 * 3600.0),
        ({"expiresAt": "2026-11-23T18:00:00Z"}, 6 * 3600.0),
        ({"expiresAt": "2026-11-23T18:00:00+01:00"}, 5 * 3600.0),
        ({"expiresAt": "2026-11-23T12:00:00.250"}, 0.25),
        ({"expiresIn": "43200", "expiresAt": "2026-11-23T18:00:00"}, 6 * 3600.0),
        ({"expiresIn": True, "expiresAt": "2026-11-23T18:00:00"}, 6 * 3600.0),
        # What makes no sense is not believed: the token is used until it is refused.
        ({}, None),
        ({"expiresIn": 0}, None),
        ({"expiresIn": -5}, None),
        ({"expiresIn": []}, None),
        ({"expiresIn": {}}, None),
        ({"expiresIn": "soon"}, None),
        ({"expiresIn": 10**400}, None),
        ({"expiresIn": 1e300}, None),
        ({"expiresAt": "2020-01-01T00:00:00"}, None),
        ({"expiresAt": "0001-01-01T00:00:00+14:00"}, None),
        ({"expiresAt": "tomorrow"}, None),
        ({"expiresAt": 1_669_204_800}, None),
        ({"expiresAt": None}, None),
        ({"expiresAt": ["2026-11-23T18:00:00"]}, None),
    ],
)
def test_a_lifetime_is_read_in_all_its_spellings_and_only_where_it_makes_sense(
    access: dict[str, Any], lifetime: float | None
) -> None:
    tokens = read(both(**access))
    assert tokens.lifetime == lifetime
    assert tokens.expires_at == (None if lifetime is None else NOW + lifetime)
    assert freshness_of(tokens, NOW) is FRESH, "whatever was announced, it is tried once"


@pytest.mark.parametrize("raw", [b"1e999", b"NaN", b"Infinity"])
def test_a_lifetime_that_is_no_number_is_never_one(raw: bytes) -> None:
    content = b'{"authorization": {"token": "acc3ss", "expiresIn": %b}}' % raw
    try:
        tokens = read(content)
    except ProtocolError as error:
        assert "acc3ss" not in str(error)
    else:
        assert tokens.lifetime is None


NUMBERS = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
ANYTHING = st.recursive(st.none() | st.booleans() | NUMBERS | st.text(), st.lists, max_leaves=3)


@given(ANYTHING | st.datetimes().map(str))
def test_no_lifetime_of_any_type_makes_the_reading_fail(value: Any) -> None:
    for name in ("expiresIn", "expires_in", "expiresAt", "expires_at"):
        lifetime = read(both(**{name: value})).lifetime
        assert lifetime is None or 0 < lifetime < math.inf


@pytest.mark.parametrize("content", [{"authorization": {"token": "acc3ss"}}, both() | {"refresh": None}])
def test_an_answer_without_a_refresh_token_is_usable(content: dict[str, Any]) -> None:
    tokens = read(content)
    assert (tokens.access_token, tokens.refresh_token) == ("acc3ss", None)


GOOD = {"token": "acc3ss-t0ken"}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<html>acc3ss-t0ken</html>",
        b'{"authorization": {"token": "acc3ss-t0ken"',
        b"[" * 100_000,
        b"null",
        b'"acc3ss-t0ken"',
        ["acc3ss-t0ken"],
        {},
        {"authorization": None},
        {"authorization": "acc3ss-t0ken"},
        {"authorization": ["acc3ss-t0ken"]},
        {"authorization": {}},
        {"authorization": {"token": None}},
        {"authorization": {"token": ""}},
        {"authorization": {"token": 5}},
        {"authorization": {"token": ["acc3ss-t0ken"]}},
        {"authorization": {"token": {"token": "acc3ss-t0ken"}}},
        {"token": "acc3ss-t0ken"},
        {"refresh": GOOD},
        # A refresh token that cannot be used is as much a broken answer: the old one is spent.
        {"authorization": GOOD, "refresh": {}},
        {"authorization": GOOD, "refresh": "acc3ss-t0ken"},
        {"authorization": GOOD, "refresh": {"token": 7}},
        {"authorization": GOOD, "refresh": {"token": ""}},
        # Tokens that would write headers of their own.
        {"authorization": {"token": "acc3ss-t0ken\r\nX-Injected: 1"}},
        {"authorization": {"token": "acc3ss-t0ken\n"}},
        {"authorization": {"token": "acc3ss t0ken"}},
        {"authorization": {"token": "acc3ss-t0ken\x00"}},
        {"authorization": {"token": "acc3ss-t0kén"}},
        {"authorization": GOOD, "refresh": {"token": "acc3ss-t0ken\n"}},
    ],
)
def test_an_answer_without_usable_tokens_is_an_error_that_quotes_nothing_of_it(content: Any) -> None:
    with pytest.raises(ProtocolError) as caught:
        read(content)

    error: BaseException | None = caught.value
    assert "/auth/v2/login" in str(error)
    assert "acc3ss" not in str(error)
    assert "acc3ss" not in repr(error)
    assert error.__cause__ is None or "acc3ss" not in str(error.__cause__)


def test_tokens_show_no_secret() -> None:
    tokens = read(both(expiresIn=60))
    assert "acc3ss" not in repr(tokens)
    assert "r3fresh" not in repr(tokens)


def test_a_user_is_named_by_a_digest_alone() -> None:
    assert digest_of("seller@example.com") == digest_of("seller@example.com")
    assert digest_of("seller@example.com") != digest_of("other@example.com")
    assert "seller" not in digest_of("seller@example.com")
    assert digest_of("sélér\n")
