"""What callers of an application are told of an error: what they can do, and nothing of the vendor's. No I/O."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus

from .._errors import (
    AlreadyStartedError,
    APIError,
    ClientClosedError,
    ConfigurationError,
    JournalError,
    ProtocolError,
    QuartileError,
    QuotaExceededError,
    RateLimitError,
    ServerError,
    TransportError,
)
from .lines import Line

SOON = 5.0
"""Seconds after which to try again, where nobody knows better."""


@dataclass(slots=True, frozen=True)
class Problem:
    """What is said of an error.

    Attributes:
        status: of an answer that has not begun.
        detail: words for people; the log has the error itself.
        retry_after: seconds after which to try again; None: not by itself.
    """

    status: HTTPStatus
    detail: str
    retry_after: float | None = None

    @property
    def headers(self) -> dict[str, str]:
        """Of such an answer."""
        return {} if self.retry_after is None else {"Retry-After": f"{max(1, round(self.retry_after))}"}


SHUTTING_DOWN = Problem(HTTPStatus.SERVICE_UNAVAILABLE, "The application is shutting down.", SOON)


def problem_of(error: Exception) -> Problem | None:
    """What callers are told of it; None: it is the application's own fault, and no answer of ours."""
    if isinstance(error, ClientClosedError):
        return SHUTTING_DOWN
    for kinds, status, detail, seconds in _PROBLEMS:
        if isinstance(error, kinds):
            return None if status is None else Problem(status, detail, getattr(error, "retry_after", None) or seconds)
    return None


_BUSY, _BAD = HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.BAD_GATEWAY

_PROBLEMS: Sequence[tuple[type[Exception] | tuple[type[Exception], ...], HTTPStatus | None, str, float | None]] = (
    ((RateLimitError, QuotaExceededError), _BUSY, "The vendor's API takes no more requests for now.", SOON),
    (TransportError, _BUSY, "The vendor's API cannot be reached.", SOON),
    (ServerError, _BAD, "The vendor's API fails.", None),
    (APIError, _BAD, "The vendor's API has refused the request.", None),
    (ProtocolError, _BAD, "The vendor's API has given an answer that cannot be read.", None),
    ((ConfigurationError, JournalError, AlreadyStartedError), None, "", None),
    (QuartileError, _BAD, "The upload was stopped by an error.", None),
)
"""What is said of each kind of error, the first that fits; with no status it is the application's own fault."""


def error_line(error: Exception, unaccounted: int) -> Line:
    """The last line of a stream that an error has ended."""
    problem = problem_of(error)
    return {
        "type": "error",
        "error": type(error).__name__ if problem is not None else "InternalError",
        "message": problem.detail if problem is not None else "The application has failed.",
        "retry_after": problem.retry_after if problem is not None else None,
        "unaccounted": unaccounted,
    }
