"""Errors in the words of others."""

from __future__ import annotations

import pytest
from redis.exceptions import AuthenticationError

from quartile_async._errors import clause_of
from quartile_async._shared.connection import told


@pytest.mark.parametrize(
    ("text", "clause"),
    [
        ("no", "no"),
        ("See https://there/killed.html.", "See https://there/killed.html"),
        ("It is disabled. ", "It is disabled"),
        ("It is disabled .", "It is disabled"),
        ("one of tcp://a, tcp://b, ...", "one of tcp://a, tcp://b, ..."),
        ("", ""),
    ],
)
def test_the_full_stop_of_an_error_that_is_a_part_of_another_is_put_by_that_one(text: str, clause: str) -> None:
    assert clause_of(ValueError(text)) == clause


def test_what_redis_says_is_told_without_its_full_stop() -> None:
    error = AuthenticationError("invalid username-password pair or user is disabled.")

    assert told(error) == "AuthenticationError: invalid username-password pair or user is disabled"
    assert told(TimeoutError()) == "TimeoutError: no answer in time"
