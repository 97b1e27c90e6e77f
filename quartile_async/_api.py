"""The wire contract: paths, what is sent, and what the answers mean (contract, "Submit" and "Ask for a batch")."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

from pydantic_core import to_json

from ._answers import Answer, UnusableAnswerError, UnusableEndError, excerpt, object_of
from ._auth import Tokens
from ._clock import LoopClock
from ._delivery import Delivery
from ._errors import APIError, ConfigurationError, ProtocolError, QuartileError
from ._json import parsed
from ._resources import Resource
from ._results import BatchStatus
from ._tokens import StoredTokens, tokens_of
from ._traffic import Traffic
from ._transport import Transport

if TYPE_CHECKING:
    from ._hook import Hook

BatchPaths: TypeAlias = Literal["example", "table"]
"""The two spellings of the paths: the worked example's and the change table's."""

UNFINISHED = frozenset({"PENDING", "RUNNING"})
FINISHED = frozenset({"SUCCESS", "PARTIAL", "FAILED"})

_PLAIN_ID = re.compile(r"(?!\.+\Z)[A-Za-z0-9._~-]{1,128}")


@dataclass(slots=True, frozen=True)
class Paths:
    """Where requests go: `spelling` is one of `BatchPaths`, `prefix` is such as "/amazon/v2"."""

    spelling: BatchPaths
    prefix: str

    def submit(self, resource: Resource[Any]) -> str:
        return f"{self.prefix}/{resource.path}{'/batch' if self.spelling == 'table' else ''}"

    def batch(self, resource: Resource[Any], batch_id: str) -> str:
        middle = f"{resource.path}/batch" if self.spelling == "table" else "batch"
        return f"{self.prefix}/{middle}/{batch_id}"

    def other(self) -> Paths:
        return Paths("example" if self.spelling == "table" else "table", self.prefix)


def checked_paths(spelling: str, prefix: str) -> Paths:
    """Raises ConfigurationError where the spelling is unknown or the prefix is no plain path."""
    if spelling not in get_args(BatchPaths):
        raise ConfigurationError(f"batch_paths={spelling!r} is unknown. Give 'example' or 'table'.")
    return Paths(spelling, checked_prefix(prefix, "path_prefix"))  # type: ignore[arg-type]  # checked above


def checked_prefix(prefix: str, setting: str) -> str:
    """A path with a slash before it and none behind. Raises ConfigurationError where it is no plain path."""
    plain = prefix.strip("/")
    if plain and not re.fullmatch(r"[A-Za-z0-9_~-]+(/[A-Za-z0-9_~-]+)*", plain):
        raise ConfigurationError(f"{setting}={prefix!r} is not a plain path. Give one such as '/amazon/v2'.")
    return f"/{plain}" if plain else ""


class TooLargeError(ConfigurationError):
    """A batch has more bytes than may be sent in one; nothing was sent."""

    def __init__(self, items: int, size: int, most: int) -> None:
        super().__init__(f"{items} items make {size} bytes, and max_body_bytes is {most}. Nothing was sent.")


class Api:
    """The requests of one account: the two of the batch API, and whether its token is valid.

    Args:
        auth_prefix: the path before `validate`.
        most_bytes: of a body; None: any number.
        hook: is told of submits and polls.
    """

    def __init__(
        self,
        transport: Transport,
        paths: Paths,
        auth_prefix: str,
        tokens: Tokens,
        most_bytes: int | None,
        *,
        hook: Hook | None = None,
    ) -> None:
        self._transport = transport
        self._paths = paths
        self._auth_prefix = auth_prefix
        self._tokens = tokens
        self._most_bytes = most_bytes
        self.hook: Hook | None = hook
        self._now = LoopClock()

    @property
    def server(self) -> str:
        """Its address."""
        return self._transport.base_url

    @property
    def traffic(self) -> Traffic:
        """What the requests of all accounts share."""
        return self._transport.traffic

    async def submit(
        self, resource: Resource[Any], body: bytes, items: int, delivery: Delivery, *, patient: bool = False
    ) -> str:
        """Submits so many checked items as JSON; gives the batch's id, which is also on `delivery`.

        `patient`: waits in an outage.

        Raises:
            TooLargeError: there are more bytes than may be sent; nothing was sent.
            QuartileError: the failure of the last try, with `may_have_been_sent`. A 404 or 405 names the other
                spelling of the paths.
        """
        if self._most_bytes is not None and len(body) > self._most_bytes:
            raise TooLargeError(items, len(body), self._most_bytes)
        begun = self._now()

        def read(answer: Answer) -> str:
            delivery.batch_id = batch_id = batch_id_of(answer)
            delivery.taken_at = self._now()
            if self.hook is not None:  # here, since whoever waits for the answer may have been left meanwhile
                self.hook.submitted(batch_id, items, delivery.taken_at - begun, resource.path)
            return batch_id

        try:
            return await self._transport.submit(
                self._paths.submit(resource),
                body,
                read,
                tokens=self._tokens,
                patient=patient,
                may_send_again=resource.may_be_sent_again,
                delivery=delivery,
            )
        except APIError as error:
            if error.status in (HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED):
                error.args = (f"{error} {self._wrong_path(resource)}",)
            raise

    async def get_batch(
        self,
        batch_id: str,
        resource: Resource[Any],
        check: Callable[[BatchStatus], object] = lambda status: None,
        *,
        patient: bool = False,
    ) -> BatchStatus:
        """Asks for a batch.

        `check` raises ProtocolError for an answer that is not to be believed; it is then asked for a few more times.
        `patient`: waits in an outage.

        Raises:
            ProtocolError: the id is not a plain token, or the answer cannot be read.
            QuartileError: the failure of the last try.
        """

        def read(answer: Answer) -> BatchStatus:
            status = batch_status_of(answer, batch_id)
            check(status)
            if self.hook is not None:
                self.hook.polled(batch_id, status.status, resource.path, finished=status.finished)
            return status

        path = self._paths.batch(resource, checked_batch_id(batch_id))
        try:
            return await self._transport.ask("GET", path, read, tokens=self._tokens, patient=patient)
        except QuartileError:
            if self.hook is not None:
                self.hook.polled(batch_id, None, resource.path, finished=False)
            raise

    async def validate(self) -> None:
        """Asks whether the server takes the subscription key and the access token (contract, "Tokens").

        Raises:
            QuartileError: it does not, or could not be asked.
        """
        path = f"{self._auth_prefix}/validate"
        await self._transport.ask("POST", path, lambda answer: None, tokens=self._tokens, patient=False)

    def _wrong_path(self, resource: Resource[Any]) -> str:
        other = self._paths.other()
        return (
            "Check base_url and path_prefix. "
            f"The API's documentation spells the paths in two ways: batch_paths={self._paths.spelling!r} was used; "
            f"batch_paths={other.spelling!r} sends to {other.submit(resource)} instead."
        )


class TokenApi:
    """Login and refresh (contract, "Tokens").

    Args:
        prefix: the path before `login` and `refresh`.
        user: a digest of the user name, for the tokens that come back; empty where it is not known.
    """

    def __init__(self, transport: Transport, prefix: str, user: str, wall_clock: Callable[[], float]) -> None:
        self._transport = transport
        self._prefix = prefix
        self._user = user
        self._now = wall_clock

    @property
    def server(self) -> str:
        return self._transport.base_url

    async def login(self, username: str, password: str) -> StoredTokens:
        return await self._ask("login", {"username": username, "password": password}, (password,), Delivery())

    async def refresh(self, token: str, delivery: Delivery) -> StoredTokens:
        return await self._ask("refresh", {"token": token}, (token,), delivery)

    async def _ask(
        self, what: str, content: dict[str, str], secrets: tuple[str, ...], delivery: Delivery
    ) -> StoredTokens:
        sent_at = self._now()
        return await self._transport.ask_for_tokens(
            f"{self._prefix}/{what}",
            to_json(content),
            lambda answer: tokens_of(answer, sent_at=sent_at, server=self.server, user=self._user),
            secrets=secrets,
            delivery=delivery,
        )


def checked_batch_id(batch_id: object) -> str:
    """An id that cannot choose another URL.

    Raises:
        ProtocolError: it is not 1 to 128 letters, digits, '.', '_', '~', '-', or is only dots.
    """
    if not isinstance(batch_id, str) or not _PLAIN_ID.fullmatch(batch_id):
        raise ProtocolError(
            f"A batch's id is a plain token of letters, digits, '.', '_', '~', '-', and this is none: "
            f"{excerpt(repr(batch_id))}. No URL is made of it."
        )
    return batch_id


def batch_id_of(answer: Answer) -> str:
    """Reads the answer to a submit.

    Raises:
        ProtocolError: it has no usable `batchId`; the server may have taken the batch.
    """
    try:
        content = object_of(answer)
    except ProtocolError as error:
        raise ProtocolError(f"{error} {NOBODY_CAN_ASK}", may_have_been_sent=True) from None
    try:
        return checked_batch_id(content.get("batchId"))
    except ProtocolError as error:
        raise UnusableAnswerError(f"{error} {NOBODY_CAN_ASK}", may_have_been_sent=True) from None


NOBODY_CAN_ASK = "The server may have taken the batch: nobody can ask for its results."


def batch_status_of(answer: Answer, batch_id: str) -> BatchStatus:
    """Reads the answer about a batch. `status` decides, never the HTTP status.

    Raises:
        UnusableEndError: it is about another batch, or one that has ended without usable rows.
        ProtocolError: no status can be read.
    """
    content = object_of(answer)
    status, rows = content.get("status"), content.get("data")
    if content.get("batchId", batch_id) != batch_id:
        raise UnusableEndError(
            f"{answer.request} was answered about another batch, {excerpt(repr(content['batchId']))}. "
            f"What became of batch {batch_id} is not known."
        )
    if not isinstance(status, str):
        raise UnusableAnswerError(f"{answer.request} was answered without a status: {excerpt(answer.text)}")
    if status in UNFINISHED or (status not in FINISHED and rows is None):
        return BatchStatus(batch_id, status, [], finished=False)
    if not isinstance(rows, list):
        raise UnusableEndError(
            f"{answer.request} was answered that the batch has ended ({excerpt(status)}), without a list of rows in "
            f"data: {excerpt(answer.text)}"
        )
    objects = rows if {dict}.issuperset(map(type, rows)) else [row for row in rows if isinstance(row, dict)]
    if rows and not objects:
        raise UnusableEndError(f"{answer.request} was answered with rows that are no objects: {excerpt(answer.text)}")
    return BatchStatus(batch_id, status, objects, finished=True)


def refused_items(error: QuartileError, count: int) -> dict[int, str]:
    """The items that a 422 points at: position -> what is wrong. Empty where it points at none.

    `count`: how many items were sent; positions beyond are not believed.
    """
    if not isinstance(error, APIError) or error.status != HTTPStatus.UNPROCESSABLE_ENTITY:
        return {}
    try:
        return _pointed_at_by(parsed(error.body.encode())["detail"], count)
    except (ValueError, KeyError, TypeError, RecursionError):
        return {}


def _pointed_at_by(details: Any, count: int) -> dict[int, str]:
    refused: dict[int, list[str]] = {}
    for detail in details if isinstance(details, list) else ():
        position, text = _pointed_at(detail)
        if position is not None and 0 <= position < count:
            refused.setdefault(position, []).append(text)
    return {position: "; ".join(texts) for position, texts in refused.items()}


def _pointed_at(detail: Any) -> tuple[int | None, str]:
    """`{"loc": ["body", 17, "percACoS"], "msg": "..."}` -> (17, "percACoS: ...")."""
    if not isinstance(detail, dict) or not isinstance(loc := detail.get("loc"), list):
        return None, ""
    place = loc[1] if len(loc) > 1 and loc[0] == "body" else None
    field = ".".join(map(str, loc[2:]))
    text = excerpt(str(detail.get("msg") or "refused by the server"))
    return (place if type(place) is int else None), f"{field}: {text}" if field else text
