"""What a client tells of its work: `QuartileClient(on_event=function)` calls the function with each event.

The function is a plain one, called on the event loop between two steps of the work: it has to be quick, and what it
raises is logged and changes nothing. Events are plain data, frozen, and hold no secret.

Fields are keyword-only, and later versions may add more of them, and more events.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

__all__ = [
    "BatchFinished",
    "BatchPolled",
    "BatchSubmitted",
    "Event",
    "OutageBegan",
    "OutageEnded",
    "RequestRetried",
    "Throttled",
    "TokenRefreshed",
]


@dataclass(slots=True, frozen=True, kw_only=True)
class BatchSubmitted:
    """The server has taken a batch. In an upload, exactly one `BatchFinished` with this id follows.

    Attributes:
        batch_id: the server's id.
        items: how many it has.
        seconds: from the beginning of the submit to its id; retries, closed gates and outages included.
        resource: the resource's path.
        account: the account's label; None: it has none.
    """

    batch_id: str
    items: int
    seconds: float
    resource: str
    account: str | None


@dataclass(slots=True, frozen=True, kw_only=True)
class BatchPolled:
    """The server was asked for a batch, retries included.

    Attributes:
        batch_id: the server's id.
        status: the server's own word; None: there was no usable answer, such as while a batch is not visible yet.
        finished: whether it has ended.
        resource: the resource's path.
        account: the account's label; None: it has none.
    """

    batch_id: str
    status: str | None
    finished: bool
    resource: str
    account: str | None


@dataclass(slots=True, frozen=True, kw_only=True)
class BatchFinished:
    """An upload is through with a batch: its end was seen, it was given up, or the upload was left before its end.

    It comes before the results do. `items` is the sum of `succeeded`, `failed` and `unknown`.

    Attributes:
        batch_id: the server's id.
        status: the server's word for its end; None: no end was seen, or none that could be used. The batch may still
            be carried out.
        items: how many it has.
        seconds: from its `BatchSubmitted` to now; None: an earlier run submitted it.
        succeeded: how many of its items did.
        failed: how many the server has processed and says no to.
        unknown: how many of which it is not known.
        resource: the resource's path.
        account: the account's label; None: it has none.
    """

    batch_id: str
    status: str | None
    items: int
    seconds: float | None
    succeeded: int
    failed: int
    unknown: int
    resource: str
    account: str | None


@dataclass(slots=True, frozen=True, kw_only=True)
class Throttled:
    """An answer has closed the gate for every request of the client, or keeps it closed.

    There is one for each such answer: requests that were on the wire together are refused together.

    Attributes:
        seconds: from now until the gate opens, unless it is put off again.
        reason: "429": a request was refused; "RateLimit-Remaining": it was answered, and was the last for now.
    """

    seconds: float
    reason: Literal["429", "RateLimit-Remaining"]


@dataclass(slots=True, frozen=True, kw_only=True)
class OutageBegan:
    """No request gets through any more: everything waits, and one probe at a time goes out.

    Exactly one `OutageEnded` follows. A server that was never reached is an error at once, and no outage.

    Attributes:
        reason: the failure that made it known.
        limit: seconds for which the client waits at most (`outage_limit`).
    """

    reason: str
    limit: float


@dataclass(slots=True, frozen=True, kw_only=True)
class OutageEnded:
    """Nothing waits for the end of the outage any more.

    Attributes:
        seconds: how long nothing got through.
        recovered: whether requests get through again; else the limit was reached, or the client was closed.
    """

    seconds: float
    recovered: bool


@dataclass(slots=True, frozen=True, kw_only=True)
class TokenRefreshed:
    """A new access token is in use, the first one included.

    Attributes:
        account: the account's label; None: it has none.
        how: "login", "refresh", "stored" (taken from the token store, where an earlier run or another process has
            put it) or "provided" (by the function given as `auth`).
    """

    account: str | None
    how: Literal["login", "refresh", "stored", "provided"]


@dataclass(slots=True, frozen=True, kw_only=True)
class RequestRetried:
    """A try of a request has failed, and there will be another one.

    Waiting at a closed gate or for the end of an outage is no retry.

    Attributes:
        method: of HTTP.
        path: behind the base URL, with `{batch_id}` in place of an id.
        reason: why the last try failed.
        wait: seconds until the next try, unless a closed gate puts it off.
        tries: how many there were so far.
        account: the account's label; None: it has none.
    """

    method: str
    path: str
    reason: str
    wait: float
    tries: int
    account: str | None


Event: TypeAlias = (
    BatchSubmitted
    | BatchPolled
    | BatchFinished
    | Throttled
    | OutageBegan
    | OutageEnded
    | TokenRefreshed
    | RequestRetried
)
"""Any of them."""
