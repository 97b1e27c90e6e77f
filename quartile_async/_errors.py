"""What can go wrong, as exceptions.

QuartileError
├── ConfigurationError      a setting or an argument cannot be used; nothing was sent
├── ClientClosedError       the client was closed while, or before, it was used
├── TransportError          no answer: refused, lost, timed out
├── ProtocolError           an answer that cannot be read
├── JournalError            the journal of an upload cannot be used
├── SharedQuotaError        the quota that processes share cannot be asked
└── APIError                the server answered no
    ├── AuthenticationError     the subscription key or the access token was refused (401)
    ├── PermissionDeniedError   the key or user may not do this (403)
    ├── QuotaExceededError      the quota of calls is used up (403)
    ├── RateLimitError          too many requests, and the pause asked for is too long (429)
    └── ServerError             the server or its gateway failed (5xx)

Every message says what happened, to which batch, what may be true on the server now, and what to do next.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._results import ItemResult


class QuartileError(Exception):
    """The base of all errors of this library."""

    may_have_been_sent: bool
    """After a failed `submit`: whether the server may have taken the batch all the same."""

    unaccounted: list[ItemResult[Any]]
    """When an upload ended by this error: an UNKNOWN result for each item that was read and got no result."""

    results: list[ItemResult[Any]]
    """When `Upload.collect` ended by this error: the results delivered before it, in input order."""

    def __init__(self, message: str, *, may_have_been_sent: bool = False) -> None:
        super().__init__(message)
        self.may_have_been_sent = may_have_been_sent
        self.unaccounted = []
        self.results = []


class ConfigurationError(QuartileError, ValueError):
    """A setting or an argument cannot be used. Nothing was sent."""


class ClientClosedError(QuartileError, RuntimeError):
    """The client was closed while, or before, it was used."""


class AlreadyStartedError(QuartileError, RuntimeError):
    """An upload is started once. Open another one with `client.upload(...)`."""


class TransportError(QuartileError):
    """No answer came: the connection was refused or lost, or the time ran out."""


class ProtocolError(QuartileError):
    """An answer came that cannot be read; the message has an excerpt of it."""


class JournalError(QuartileError):
    """The journal of an upload cannot be used."""


class SharedQuotaError(QuartileError):
    """The quota that processes share cannot be asked, so that nothing more may be sent."""


class APIError(QuartileError):
    """The server answered, and the answer is no.

    Attributes:
        status: the HTTP status, None where no single answer led to the error.
        message: what the server said, in its own words.
        body: the answer's body, decoded, cut after 262,144 characters; secrets are blanked.
        request_id: the gateway's id of the request, for a question to the vendor, where it gave one.
        retry_after: seconds until the server takes requests again, where it named a time.
    """

    def __init__(
        self,
        text: str,
        *,
        status: int | None = None,
        message: str = "",
        body: str = "",
        request_id: str | None = None,
        retry_after: float | None = None,
        may_have_been_sent: bool = False,
    ) -> None:
        super().__init__(text, may_have_been_sent=may_have_been_sent)
        self.status = status
        self.message: str = message or text
        self.body = body
        self.request_id = request_id
        self.retry_after = retry_after


class AuthenticationError(APIError):
    """The subscription key or the access token was refused (401)."""


class PermissionDeniedError(APIError):
    """The subscription key or the user may not do this (403)."""


class QuotaExceededError(APIError):
    """The quota of calls is used up (403); the message and `retry_after` name the time when it is replenished."""


class RateLimitError(APIError):
    """Too many requests (429), and the server asks for a longer pause than the client may take.

    The message and `retry_after` name the time.
    """


class ServerError(APIError):
    """The server or its gateway failed (5xx), also after retries."""


def clause_of(error: BaseException) -> str:
    """An error's text as a clause of a longer one, which puts its own full stop behind it."""
    words = str(error).strip()
    return words if words.endswith("...") else words.removesuffix(".").rstrip()
