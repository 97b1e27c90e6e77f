"""The wire contract: paths, what is sent, and what the answers mean (contract, "Submit" and "Ask for a batch")."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Literal, TypeAlias, get_args

from pydantic_core import from_json

from ._answers import Answer, excerpt
from ._errors import APIError, ConfigurationError, ProtocolError, QuartileError
from ._resources import Resource
from ._results import BatchStatus
from ._transport import Delivery, Transport
from ._validation import codec_for

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
    plain = prefix.strip("/")
    if plain and not re.fullmatch(r"[A-Za-z0-9_~-]+(/[A-Za-z0-9_~-]+)*", plain):
        raise ConfigurationError(f"path_prefix={prefix!r} is not a plain path. Give one such as '/amazon/v2'.")
    return Paths(spelling, f"/{plain}" if plain else "")  # type: ignore[arg-type]  # checked above


class UnusableEndError(ProtocolError):
    """A batch has ended, or an answer about another one came: asking on for ever would not help."""


class Api:
    """The two requests of the batch API."""

    def __init__(self, transport: Transport, paths: Paths) -> None:
        self._transport = transport
        self._paths = paths

    @property
    def got_through(self) -> bool:
        """Whether any request of this client was ever answered by the API itself."""
        return self._transport.got_through

    async def submit(self, resource: Resource[Any], wires: Sequence[Any], delivery: Delivery) -> str:
        """Submits checked items; gives the batch's id, which is also on `delivery` should this be cancelled.

        Raises:
            QuartileError: the failure of the last try, with `may_have_been_sent`. A 404 or 405 names the other
                spelling of the paths.
        """
        path = self._paths.submit(resource)
        try:
            return await self._transport.submit(
                path,
                codec_for(resource).body(wires),
                lambda answer: _revealed(delivery, batch_id_of(answer)),
                may_send_again=resource.may_be_sent_again,
                delivery=delivery,
            )
        except APIError as error:
            if error.status in (HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED):
                error.args = (f"{error} {self._wrong_path(resource)}",)
            raise

    async def get_batch(
        self, batch_id: str, resource: Resource[Any], check: Callable[[BatchStatus], object] = lambda status: None
    ) -> BatchStatus:
        """Asks for a batch.

        `check` raises ProtocolError for an answer that is not to be believed; it is then asked for a few more times.

        Raises:
            ProtocolError: the id is not a plain token, or the answer cannot be read.
            QuartileError: the failure of the last try.
        """

        def read(answer: Answer) -> BatchStatus:
            status = batch_status_of(answer, batch_id)
            check(status)
            return status

        return await self._transport.get(self._paths.batch(resource, checked_batch_id(batch_id)), read)

    def _wrong_path(self, resource: Resource[Any]) -> str:
        other = self._paths.other()
        return (
            f"The API's documentation spells the paths in two ways: batch_paths={self._paths.spelling!r} was used; "
            f"batch_paths={other.spelling!r} sends to {other.submit(resource)} instead."
        )


def _revealed(delivery: Delivery, batch_id: str) -> str:
    delivery.batch_id = batch_id
    return batch_id


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
        return checked_batch_id(_object_of(answer).get("batchId"))
    except ProtocolError as error:
        raise ProtocolError(
            f"{error} The server may have taken the batch: nobody can ask for its results.", may_have_been_sent=True
        ) from None


def batch_status_of(answer: Answer, batch_id: str) -> BatchStatus:
    """Reads the answer about a batch. `status` decides, never the HTTP status.

    Raises:
        UnusableEndError: it is about another batch, or one that has ended without usable rows.
        ProtocolError: no status can be read.
    """
    content = _object_of(answer)
    status, rows = content.get("status"), content.get("data")
    if content.get("batchId", batch_id) != batch_id:
        raise UnusableEndError(
            f"{answer.request} was answered about another batch, {excerpt(repr(content['batchId']))}. "
            f"What became of batch {batch_id} is not known."
        )
    if not isinstance(status, str):
        raise ProtocolError(f"{answer.request} was answered without a status: {excerpt(answer.text)}")
    if status in UNFINISHED or (status not in FINISHED and rows is None):
        return BatchStatus(batch_id, status, [], finished=False)
    if not isinstance(rows, list):
        raise UnusableEndError(
            f"{answer.request} was answered that the batch has ended ({excerpt(status)}), without a list of rows in "
            f"data: {excerpt(answer.text)}"
        )
    objects = [row for row in rows if isinstance(row, dict)]
    if rows and not objects:
        raise UnusableEndError(f"{answer.request} was answered with rows that are no objects: {excerpt(answer.text)}")
    return BatchStatus(batch_id, status, objects, finished=True)


def _object_of(answer: Answer) -> dict[str, Any]:
    try:
        content = from_json(answer.body, allow_inf_nan=False, cache_strings="keys")
    except ValueError as error:
        raise ProtocolError(
            f"{answer.request} was answered {answer.status} with what is not JSON ({error}): {excerpt(answer.text)}"
        ) from None
    if not isinstance(content, dict):
        raise ProtocolError(
            f"{answer.request} was answered {answer.status} with JSON that is not an object: {excerpt(answer.text)}"
        )
    return content


def refused_items(error: QuartileError, count: int) -> dict[int, str]:
    """The items that a 422 points at: position -> what is wrong. Empty where it points at none.

    `count`: how many items were sent; positions beyond are not believed.
    """
    if not isinstance(error, APIError) or error.status != HTTPStatus.UNPROCESSABLE_ENTITY:
        return {}
    try:
        details = from_json(error.body, allow_inf_nan=False)["detail"]
    except (ValueError, KeyError, TypeError):
        return {}
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
