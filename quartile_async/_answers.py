"""Answers that say no, as errors; and what they leave open about the request. No I/O."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any

from ._errors import (
    APIError,
    AuthenticationError,
    PermissionDeniedError,
    ProtocolError,
    QuotaExceededError,
    RateLimitError,
    ServerError,
)
from ._json import parsed

EXCERPT = 200
MOST_BODY = 256 * 1024
"""Characters of a body that an error keeps: enough for a 422 that points at each of 100 items."""

_IN_SECONDS = re.compile(r"\bin (\d{1,9}(?:\.\d+)?) ?s(?:ec|\b)", re.IGNORECASE)
_IN_HOURS = re.compile(r"\bin (?:(\d{1,6})\.)?(\d{1,6}):(\d\d):(\d\d)\b")
_REQUEST_IDS = ("x-request-id", "apim-request-id", "x-ms-request-id", "request-id")


@dataclass(slots=True, frozen=True)
class Answer:
    """One HTTP answer.

    Attributes:
        request: the method and URL that it answers, for messages.
        status: the HTTP status.
        headers: with names in any case.
        body: decompressed.
    """

    request: str
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode("utf-8", "replace")


class UnusableAnswerError(ProtocolError):
    """The API itself has answered, with what cannot be used."""


class UnusableEndError(UnusableAnswerError):
    """A batch has ended, or an answer about another one came: asking on for ever would not help."""


def excerpt(text: str, length: int = EXCERPT) -> str:
    """The beginning of a text, on one line."""
    line = " ".join(text[: length * 4].split())
    return line if len(line) <= length else f"{line[:length]}…"


def object_of(answer: Answer, *, quote: bool = True) -> dict[str, Any]:
    """The JSON object in a 2xx answer; strict, nothing is repaired.

    Raises:
        ProtocolError: there is none; with an excerpt unless the answer may hold secrets.
    """
    try:
        content = parsed(answer.body)
    except ValueError as error:
        what, content = f"what is not JSON ({error})", None
    else:
        what = "JSON that is not an object"
    if not isinstance(content, dict):
        end = f": {excerpt(answer.text)}" if quote else "."
        raise ProtocolError(f"{answer.request} was answered {answer.status} with {what}{end}")
    return content


def words_of(answer: Answer) -> str:
    """What the server says in one of its forms of error (contract, "Other errors"), or an excerpt of the body."""
    if len(answer.body) > MOST_BODY:
        return excerpt(answer.text)
    try:
        return excerpt(_words(parsed(answer.body)) or answer.text)
    except (ValueError, RecursionError):
        return excerpt(answer.text)


def _words(content: Any) -> str | None:
    if isinstance(content, str):
        return content
    if isinstance(content, dict):
        return _words(content.get("message")) or _words(content.get("detail"))
    return None


def pause_named(headers: Mapping[str, str], words: str, *, now: datetime | None = None) -> float | None:
    """The pause, in seconds, that an answer asks for; None where it names none that makes sense.

    `Retry-After` in seconds or as a date; else the number in the gateway's words, because operators can rename
    the header (contract, "Base"). A time in the past is 0.
    """
    named = _retry_after(headers.get("Retry-After", "").strip(), now or datetime.now(UTC))
    return named if named is not None else _pause_in_words(words)


def _retry_after(value: str, now: datetime) -> float | None:
    try:
        seconds = float(value)
    except ValueError:
        return _until(value, now)
    return max(0.0, seconds) if math.isfinite(seconds) else None


def _until(value: str, now: datetime) -> float | None:
    try:
        date = parsedate_to_datetime(value)
    except (ValueError, TypeError, OverflowError):
        return None
    if date.tzinfo is None:
        date = date.replace(tzinfo=UTC)
    return max(0.0, (date - now).total_seconds())


def _pause_in_words(words: str) -> float | None:
    if found := _IN_SECONDS.search(words):
        return float(found[1])
    if found := _IN_HOURS.search(words):
        days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
        return float(((days * 24 + hours) * 60 + minutes) * 60 + seconds)
    return None


def spelled_pause(seconds: float, *, now: datetime | None = None) -> str:
    """A pause for people: how long, and until when."""
    try:
        pause = timedelta(seconds=math.ceil(seconds))
        until = (now or datetime.now(UTC)) + pause
    except OverflowError:
        return f"a pause of {seconds:g} s"
    return f"a pause of {pause}, until {until:%Y-%m-%d %H:%M:%S} UTC"


def is_about_the_key(words: str) -> bool:
    """Whether a 401 speaks of the subscription key, which no new access token mends."""
    return "subscription key" in words.casefold()


class LongPauseError(ServerError):
    """The server fails, and asks for a longer pause than the client may take."""


def error_of(answer: Answer, *, submits: bool, longest_pause: float = math.inf) -> APIError:
    """The error that an answer other than 2xx amounts to.

    `submits`: whether the request was to make the server take something. Then 408 and 5xx leave it open whether
    it did; every other status says that it did not. `longest_pause`: seconds that the client may wait.
    """
    status, words = answer.status, words_of(answer)
    kind, advice = _kind_and_advice(status, words)
    pause = pause_named(answer.headers, words)
    if kind is ServerError and pause is not None and pause > longest_pause:
        kind, advice = LongPauseError, AFTER_THE_PAUSE
    if issubclass(kind, QuotaExceededError | RateLimitError | LongPauseError) and pause is not None:
        advice = f"The server names {spelled_pause(pause)}. {advice}"
    in_doubt = submits and (status == HTTPStatus.REQUEST_TIMEOUT or status >= HTTPStatus.INTERNAL_SERVER_ERROR)
    outcome = "The server may have taken it all the same. " if in_doubt else ""
    return kind(
        f"{answer.request} was answered {_phrase(status)}: {words.rstrip('.') or 'no words'}. {outcome}{advice}",
        status=status,
        message=words,
        body=answer.text[:MOST_BODY],
        request_id=next((answer.headers[name] for name in _REQUEST_IDS if name in answer.headers), None),
        retry_after=pause,
        may_have_been_sent=in_doubt,
    )


AFTER_THE_PAUSE = "Send what is unaccounted for after that time, or allow a longer pause (max_pause)."

_KINDS: dict[int, tuple[type[APIError], str]] = {
    HTTPStatus.UNAUTHORIZED: (AuthenticationError, "The access token was refused: get a new one."),
    HTTPStatus.FORBIDDEN: (PermissionDeniedError, "Ask the vendor what this key and user may do."),
    HTTPStatus.TOO_MANY_REQUESTS: (RateLimitError, AFTER_THE_PAUSE),
}


def _kind_and_advice(status: int, words: str) -> tuple[type[APIError], str]:
    if status == HTTPStatus.UNAUTHORIZED and is_about_the_key(words):
        return AuthenticationError, "Check the subscription key."
    if status == HTTPStatus.FORBIDDEN and "quota" in words.casefold():
        return QuotaExceededError, "Nothing is accepted until then; send what is unaccounted for afterwards."
    if status in _KINDS:
        return _KINDS[status]
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return ServerError, "Try again later."
    if status < HTTPStatus.BAD_REQUEST:
        return APIError, "Redirects are not followed: check base_url and any proxy in between."
    return APIError, "The request was refused as it is."


def _phrase(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)
