"""One HTTP exchange, repeated where that may help; the only file that opens aiohttp."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Generic, TypeVar

import aiohttp
import anyio
from yarl import URL

from ._answers import EXCERPT, Answer, error_of, excerpt, is_about_the_key, pause_named, words_of
from ._auth import MOST_RENEWALS, Tokens
from ._errors import APIError, ClientClosedError, ConfigurationError, ProtocolError, QuartileError, TransportError
from ._pacing import Gate
from ._retrying import Attempt, RetryLimits, retried

R = TypeVar("R")

MOST_BODY = 32 * 1024 * 1024
"""The most bytes of an answer, decompressed: a hundred times what a batch of the longest items takes."""

LAST_MOMENT = 2.0
"""Seconds that a submit on the wire gets to reveal its batch's id when the upload is left."""

PAUSE_WITHOUT_A_NAME = 5.0
"""Seconds that the gate closes for after a 429 that names no time."""

logger = logging.getLogger("quartile_async")


@dataclass(slots=True)
class Delivery:
    """What is known of a submit while it is under way.

    Attributes:
        on_the_wire: its body has begun to go out, and no answer has come.
        in_doubt: an earlier try may have arrived.
        batch_id: the id of the batch, once an answer has told it.
    """

    on_the_wire: bool = False
    in_doubt: bool = False
    batch_id: str | None = None

    @property
    def may_have_arrived(self) -> bool:
        return self.on_the_wire or self.in_doubt

    def ended(self, error: QuartileError | None) -> None:
        """A try has ended."""
        self.on_the_wire = False
        self.in_doubt = self.in_doubt or (error is not None and error.may_have_been_sent)


class _Body(aiohttp.BytesPayload):
    """A body that tells when it begins to go out."""

    def __init__(self, value: bytes, delivery: Delivery) -> None:
        super().__init__(value, content_type="application/json")
        self._delivery = delivery

    async def write_with_length(self, writer: Any, content_length: int | None) -> None:
        self._delivery.on_the_wire = True
        await super().write_with_length(writer, content_length)


@dataclass(slots=True, frozen=True)
class _Request(Generic[R]):
    """One request, however often it is tried; one with a body submits something."""

    method: str
    path: str
    read: Callable[[Answer], R]
    body: bytes | None = None
    delivery: Delivery = field(default_factory=Delivery)

    @property
    def submits(self) -> bool:
        return self.body is not None


class Transport:
    """Sends requests with the client's credentials, through its gate, until they are answered or hopeless."""

    def __init__(
        self,
        *,
        base_url: str,
        subscription_key: str,
        tokens: Tokens,
        gate: Gate,
        limits: RetryLimits,
        timeout: float,
        user_agent: str,
    ) -> None:
        self._base = checked_base_url(base_url)
        self._secret_key = subscription_key
        self._tokens = tokens
        self._gate = gate
        self._limits = limits
        # Connecting gets less: with the default number of tries, a host that is not there is reported in 30 s.
        self._timeout = aiohttp.ClientTimeout(total=timeout, sock_connect=min(4.0, timeout))
        self._headers = {
            "Subscription-Key": subscription_key,
            "Content-Type": "application/json",
            "Accept": "application/json",
            "User-Agent": user_agent,
        }
        self._session: aiohttp.ClientSession | None = None
        self._closed = False
        self.got_through: bool = False
        """Whether any request was ever answered by more than a gateway's failure or a refusal to listen."""

    @property
    def base_url(self) -> str:
        return self._base

    async def get(self, path: str, read: Callable[[Answer], R]) -> R:
        """Asks, until there is an answer that `read` can read.

        `path` begins with a slash and is put behind the base URL as it is; `read` reads a 2xx answer, and raises
        ProtocolError where it cannot.

        Raises:
            QuartileError: the failure of the last try.
        """
        request = _Request("GET", path, read)
        return _value(await retried(lambda: self._attempt(request), limits=self._limits, may_send_again=True))

    async def submit(
        self, path: str, body: bytes, read: Callable[[Answer], R], *, may_send_again: bool, delivery: Delivery
    ) -> R:
        """Sends JSON with PATCH until it is taken; else like `get`.

        `may_send_again` tells whether a try that may have arrived may be repeated. `delivery` is kept up to date,
        also when this is cancelled: a submit that is on the wire then gets a moment to end, and `read` is called
        with its answer.

        Raises:
            QuartileError: the failure of the last try, with `may_have_been_sent` true when any try may have arrived.
        """
        request = _Request("PATCH", path, read, body, delivery)

        async def once() -> Attempt[R]:
            attempt = await self._attempt(request)
            delivery.ended(attempt.error)
            return attempt

        attempt = await retried(once, limits=self._limits, may_send_again=may_send_again)
        if attempt.error is not None:
            attempt.error.may_have_been_sent = delivery.in_doubt
        return _value(attempt)

    async def aclose(self) -> None:
        self._closed = True
        if self._session is not None:
            await self._session.close()

    async def _attempt(self, request: _Request[R]) -> Attempt[R]:
        """One try. Waiting at the gate and replacing a refused token are not counted as tries."""
        refusals = 0
        while True:
            await self._gate.passed()
            token = await self._tokens.get()
            try:
                answer = await self._exchange(request, token)
                request.delivery.on_the_wire = False
                if answer.status < HTTPStatus.MULTIPLE_CHOICES:
                    return Attempt(request.read(answer))
            except (TransportError, ProtocolError) as failure:
                return Attempt(error=self._without_secrets(failure))
            pause = pause_named(answer.headers, words_of(answer))
            if self._closes_the_gate(answer.status, pause):
                continue
            if refusals < MOST_RENEWALS and self._renews_the_token(answer, token):
                refusals += 1
                continue
            return Attempt(error=self._without_secrets(error_of(answer, submits=request.submits)), pause=pause)

    def _closes_the_gate(self, status: int, pause: float | None) -> bool:
        pause = PAUSE_WITHOUT_A_NAME if pause is None else pause
        if status != HTTPStatus.TOO_MANY_REQUESTS or pause > self._limits.longest_pause:
            return False
        logger.warning("The server asks for a pause of %.1f s.", pause, extra={"pause": pause})
        self._gate.close_for(pause)
        return True

    def _renews_the_token(self, answer: Answer, token: str) -> bool:
        if answer.status != HTTPStatus.UNAUTHORIZED or is_about_the_key(words_of(answer)):
            return False
        return self._tokens.refuse(token)

    async def _exchange(self, request: _Request[Any], token: str) -> Answer:
        exchange = self._send(request, token)
        return await (_finish_what_is_on_the_wire(exchange, request) if request.submits else exchange)

    async def _send(self, request: _Request[Any], token: str) -> Answer:
        url = self._base + request.path
        name = f"{request.method} {url}"
        session = self._open_session()
        try:
            async with session.request(
                request.method,
                URL(url, encoded=True),
                data=None if request.body is None else _Body(request.body, request.delivery),
                headers={"Authorization": f"Bearer {token}"},
                allow_redirects=False,
            ) as response:
                content = await _limited_body(response, name, submits=request.submits)
                answer = Answer(name, response.status, response.headers, content)
        except (aiohttp.ClientError, OSError, RuntimeError) as error:  # a TimeoutError is an OSError
            if self._closed:  # what is raised under a session that is being closed varies
                raise ClientClosedError("The client was closed during the request.") from error
            failure = _transport_error(name, error, submits=request.submits)
            if not isinstance(error, aiohttp.ClientResponseError):
                raise failure from error
        else:
            self._note(answer.status)
            return answer
        raise failure  # out here, not chained: a ClientResponseError carries the request's headers

    def _note(self, status: int) -> None:
        if status < HTTPStatus.INTERNAL_SERVER_ERROR and status != HTTPStatus.TOO_MANY_REQUESTS:
            self.got_through = True

    def _open_session(self) -> aiohttp.ClientSession:
        if self._closed:
            raise ClientClosedError("The client is closed. Open a new one.")
        if self._session is None:
            self._session = aiohttp.ClientSession(
                # The slots are the limit: a limit here would queue requests behind the gate that they passed.
                connector=aiohttp.TCPConnector(limit=0),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers=self._headers,
                timeout=self._timeout,
            )
        return self._session

    def _without_secrets(self, error: QuartileError) -> QuartileError:
        """Blanks the key and the token, should the server have quoted them."""
        secrets = [secret for secret in (self._secret_key, self._tokens.current) if secret]
        error.args = tuple(_blanked(part, secrets) for part in error.args)
        if isinstance(error, APIError):
            error.message, error.body = _blanked(error.message, secrets), _blanked(error.body, secrets)
        return error


def checked_base_url(base_url: str) -> str:
    """The base URL without a slash at its end.

    Raises:
        ConfigurationError: it is no http(s) URL, has parts that a base URL cannot have, or would carry the
            credentials unencrypted to another machine.
    """
    try:
        url = URL(base_url)
        host = url.host or ""
    except (ValueError, TypeError):
        url, host = URL(), ""
    if url.scheme not in ("http", "https") or not host:
        raise ConfigurationError(f"base_url={base_url!r} is not a URL. Give one such as 'https://api.quartile.com'.")
    if url.user is not None or url.password is not None or url.query_string or url.fragment:
        raise ConfigurationError("base_url may not have a user, a password, a query or a fragment.")
    if url.scheme == "http" and not _is_loopback(host):
        raise ConfigurationError(
            f"base_url={base_url!r} would send the credentials unencrypted. Use https://; http:// is for this "
            "machine only."
        )
    return str(url).rstrip("/")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


async def _finish_what_is_on_the_wire(exchange: Coroutine[Any, Any, Answer], request: _Request[Any]) -> Answer:
    """Awaits a submit. Cancelled, it gives one that is on the wire a moment: the answer has the batch's id."""
    task = asyncio.get_running_loop().create_task(exchange, name="quartile_async submit")
    try:
        await asyncio.wait([task])
    except asyncio.CancelledError:
        with anyio.CancelScope(shield=True):
            # aiohttp writes the body in a task of its own: one that is about to start does so within a turn.
            await asyncio.sleep(0)
            if request.delivery.on_the_wire:
                await asyncio.wait([task], timeout=LAST_MOMENT)
            task.cancel()
            await asyncio.wait([task])
        if not task.cancelled():
            _learn_from_the_end(task, request)
        raise
    return task.result()


def _learn_from_the_end(task: asyncio.Task[Answer], request: _Request[Any]) -> None:
    """What an exchange that ended after its request was cancelled says about its delivery."""
    error: BaseException | None = task.exception()
    if error is None:
        answer = task.result()
        try:
            if answer.status >= HTTPStatus.MULTIPLE_CHOICES:
                raise error_of(answer, submits=request.submits)
            request.read(answer)
        except QuartileError as failure:
            error = failure
    request.delivery.ended(error if isinstance(error, QuartileError) else None)


def _value(attempt: Attempt[R]) -> R:
    if attempt.error is not None:
        raise attempt.error
    return attempt.value  # type: ignore[return-value]  # an attempt without an error has a value


async def _limited_body(response: aiohttp.ClientResponse, name: str, *, submits: bool) -> bytes:
    content = bytearray()
    while part := await response.content.readany():
        content += part
        if len(content) > MOST_BODY:
            response.close()
            raise ProtocolError(
                f"The answer to {name} is longer than {MOST_BODY} bytes, and was not read on: "
                f"{excerpt(repr(bytes(content[:EXCERPT])))}",
                may_have_been_sent=submits,
            )
    return bytes(content)


def _transport_error(name: str, error: Exception, *, submits: bool) -> TransportError:
    refused = isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError)
    in_doubt = submits and not refused
    outcome = "The server may have taken the batch all the same. " if in_doubt else ""
    what = "the time ran out" if isinstance(error, TimeoutError) else excerpt(str(error)) or "the connection was lost"
    return TransportError(
        f"{name} got no answer ({type(error).__name__}): {what}. {outcome}Check base_url and the network.",
        may_have_been_sent=in_doubt,
    )


def _blanked(text: Any, secrets: list[str]) -> Any:
    if isinstance(text, str):
        for secret in secrets:
            text = text.replace(secret, "***")
    return text
