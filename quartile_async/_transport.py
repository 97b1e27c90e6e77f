"""Requests with credentials, through what the client's requests share, repeated where that may help."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from os.path import commonprefix
from typing import Any, Generic, TypeVar

from . import _tracing
from ._answers import Answer, UnusableAnswerError, error_of, is_about_the_key, words_of
from ._auth import MOST_RENEWALS, Tokens
from ._clock import LoopClock
from ._delivery import Delivery
from ._errors import APIError, ProtocolError, QuartileError, TransportError
from ._http import Http, TimedOutError
from ._outage import OutageError
from ._pacing import PAUSE_WITHOUT_A_NAME
from ._retrying import Attempt, RetryLimits, is_worth_another_try, retried
from ._traffic import Signal, Traffic, signal_of

R = TypeVar("R")

logger = logging.getLogger("quartile_async")


LARGE = 4096
"""Bytes; an answer with less is read at once."""

TELLING = 8
"""So many characters of a secret are as secret as the whole."""

A_FEW = 3
"""Failures in a row from which they are an outage, even where none of them could be tried again."""


@dataclass(slots=True, eq=False)
class Request(Generic[R]):
    """One request, however often it is tried; one with a body submits something.

    Attributes:
        path: begins with a slash; put behind the base URL as it is.
        read: reads a 2xx answer, and raises ProtocolError where it cannot.
        tokens: of the account.
        patient: whether it waits in an outage; else its own retries are all.
        may_send_again: whether a try that may have arrived may be repeated.
        delivery: kept up to date.
        sends: how often it went out with a tracer looking on.
    """

    method: str
    path: str
    read: Callable[[Answer], R]
    tokens: Tokens
    patient: bool
    body: bytes | None = None
    may_send_again: bool = True
    delivery: Delivery = field(default_factory=Delivery)
    sends: int = 0

    @property
    def submits(self) -> bool:
        return self.body is not None

    @property
    def route(self) -> str:
        """The path without a batch's id: each GET asks for a batch, whose id comes last."""
        return f"{self.path.rpartition('/')[0]}/{{batch_id}}" if self.method == "GET" else self.path

    @property
    def rank(self) -> int:
        """Which is the better probe in an outage: the lower one does less harm when its answer is lost."""
        return 0 if not self.submits else 1 if self.may_send_again else 2


class Transport:
    """Sends requests until they are answered or hopeless; for all accounts of a client."""

    def __init__(self, http: Http, *, subscription_key: str, traffic: Traffic, limits: RetryLimits) -> None:
        self._http = http
        self._secret_key = subscription_key
        self._traffic = traffic
        self._limits = limits
        self._now = LoopClock()

    @property
    def base_url(self) -> str:
        return self._http.base_url

    @property
    def traffic(self) -> Traffic:
        return self._traffic

    async def ask(self, method: str, path: str, read: Callable[[Answer], R], *, tokens: Tokens, patient: bool) -> R:
        """Asks, until there is an answer that `read` can read; see `Request`.

        Raises:
            OutageError: nothing gets through, for a patient request.
            QuartileError: the failure of the last try.
        """
        return await self._performed(Request(method, path, read, tokens, patient))

    async def submit(
        self,
        path: str,
        body: bytes,
        read: Callable[[Answer], R],
        *,
        tokens: Tokens,
        patient: bool,
        may_send_again: bool,
        delivery: Delivery,
    ) -> R:
        """Sends JSON with PATCH until it is taken; else like `ask`.

        `delivery` is kept up to date, also when this is cancelled: a submit that is on the wire then gets a moment to
        end, and `read` is called with its answer.

        Raises:
            OutageError: nothing gets through, for a patient request.
            JournalError: what is to be had whenever it goes out is another's.
            QuartileError: the failure of the last try, with `may_have_been_sent` true when any try may have arrived.
        """
        try:
            return await self._performed(Request("PATCH", path, read, tokens, patient, body, may_send_again, delivery))
        except QuartileError as error:
            error.may_have_been_sent = delivery.in_doubt
            raise

    async def ask_for_tokens(
        self, path: str, body: bytes, read: Callable[[Answer], R], *, secrets: tuple[str, ...], delivery: Delivery
    ) -> R:
        """Sends JSON with POST, once, without an access token: whoever needs one tries again.

        Raises:
            QuartileError: with `may_have_been_sent` where no usable answer came.
        """
        gate = self._traffic.gate
        resends = 0
        while True:
            if not gate.is_open:
                with _tracing.waiting("throttled"):
                    await gate.passed()
            if self._traffic.share is not None:
                await self._traffic.admitted()
            sent_at = self._now()
            exchange = self._http.exchange("POST", path, headers={}, body=body, goes_out=delivery.goes_out)
            try:
                answer = await self._followed(exchange, "POST", path, path, resends)
                value = read(answer) if answer.status < HTTPStatus.MULTIPLE_CHOICES else None
            except QuartileError as failure:
                self._note_failure(failure, sent_at)
                failure.may_have_been_sent = failure.may_have_been_sent or isinstance(failure, ProtocolError)
                raise self._without_secrets(failure, secrets) from None
            if value is not None:
                self._note_answer(answer, sent_at)
                return value
            if (refusal := self._refusal(answer, sent_at, submits=True)) is not None:
                raise self._without_secrets(refusal, secrets)
            delivery.ended(None)
            resends += 1

    async def _performed(self, request: Request[R]) -> R:
        try:
            begun = self._now()
            first = await self._attempt(request)
            if first.error is None:  # the usual case, spared what a series of tries costs
                return first.value  # type: ignore[return-value]  # an attempt without an error has a value
            while True:
                attempt, failing_since = await self._series(request, first, begun)
                if attempt.error is None:
                    return attempt.value  # type: ignore[return-value]  # an attempt without an error has a value
                self._check_for_an_outage(request, attempt.error, failing_since)
                self._traffic.outage.done(request)
                begun = self._now()
                first = await self._attempt(request)
        finally:
            self._traffic.outage.done(request)

    async def _series(self, request: Request[R], first: Attempt[R], begun: float) -> tuple[Attempt[R], float]:
        """The last try of a series, and when the first one failed."""
        failing_since = self._now()
        hook = request.tokens.hook
        attempt = await retried(
            lambda: self._attempt(request),
            first,
            begun=begun,
            limits=self._limits,
            budget=self._traffic.budget,
            may_send_again=request.may_send_again,
            is_hopeless=lambda: request.patient and self._traffic.outage.is_on,
            on_retry=None if hook is None else lambda *why: hook.retried(request.method, request.route, *why),
        )
        return attempt, failing_since

    def _check_for_an_outage(self, request: Request[Any], error: QuartileError, failing_since: float) -> None:
        """Raises the error that ends a request which failed; returns where it is to be tried again, in its turn."""
        outage = self._traffic.outage
        if not request.patient or not is_worth_another_try(error, may_send_again=True):
            raise error
        is_lost = not is_worth_another_try(error, may_send_again=request.may_send_again)
        if isinstance(error, UnusableAnswerError) or (is_lost and outage.failures < A_FEW):
            raise error
        if not outage.ever_through:
            raise OutageError(f"Nothing has got through yet. {error}") from error
        if not outage.explains(failing_since):
            raise error
        outage.begin(str(error), since=failing_since)
        if is_lost:
            raise error

    async def _attempt(self, request: Request[R]) -> Attempt[R]:
        """One try. Waiting for its turn, at the gate and for a new token are not counted as tries."""
        refused: set[str] = set()
        held = 0.0
        while True:
            arrived = self._now()
            try:
                token = await self._admitted(request)
            except OutageError:
                raise
            except (TransportError, ProtocolError, APIError) as error:  # no token is to be had
                return Attempt(error=self._without_secrets(error, request.tokens.secrets), held=held)
            sent_at = self._now()
            held += sent_at - arrived
            attempt = await self._tried(request, token, refused, sent_at)
            request.delivery.check_not_left()  # what the answer says has been learned
            if attempt is not None:
                attempt.held = held
                return attempt

    async def _tried(self, request: Request[R], token: str, refused: set[str], sent_at: float) -> Attempt[R] | None:
        """What came of sending a request once; None where it is to be sent again at once, in its turn.

        `refused`: the tokens that were refused for it so far; kept up to date.
        """
        try:
            answer = await self._exchanged(request, token)
            if answer.status < HTTPStatus.MULTIPLE_CHOICES:
                value = _read(request, answer)
                request.delivery.ended(None)
                self._note_answer(answer, sent_at)
                return Attempt(value)
        except (TransportError, ProtocolError) as failure:
            if request.delivery.was_held_back:  # aiohttp says it in words of its own
                request.delivery.was_held_back = False
                return None
            self._note_failure(failure, sent_at)
            request.delivery.ended(failure)
            return Attempt(error=self._without_secrets(failure, (token, *request.tokens.secrets)))
        if self._gets_another_token(request, answer, token, refused):
            request.delivery.ended(None)
            self._note_answer(answer, sent_at)
            return None
        refusal = self._refusal(answer, sent_at, submits=request.submits)
        request.delivery.ended(refusal)
        if refusal is None:
            return None
        error = self._without_secrets(refusal, (token, *request.tokens.secrets))
        return Attempt(error=error, pause=refusal.retry_after)

    def _gets_another_token(self, request: Request[Any], answer: Answer, token: str, refused: set[str]) -> bool:
        """Whether an answer is about the token, and there may be a newer one than those that were refused so far."""
        if answer.status != HTTPStatus.UNAUTHORIZED or is_about_the_key(words_of(answer)):
            return False
        if token in refused or len(refused) >= MOST_RENEWALS:
            return False
        refused.add(token)
        return request.tokens.refuse(token)

    async def _admitted(self, request: Request[Any]) -> str:
        """Waits until a request may go out; gives the token to send it with."""
        traffic = self._traffic
        admitted_until = -math.inf
        while True:
            if request.patient and not traffic.outage.lets_through(request):
                with _tracing.waiting("outage"):
                    await traffic.outage.turn(request, rank=request.rank)
            if not traffic.gate.is_open:
                with _tracing.waiting("throttled"):
                    await traffic.gate.passed()
            token = await request.tokens.get()
            # The token may have taken its time.
            if traffic.gate.is_open and (not request.patient or traffic.outage.lets_through(request)):
                hold = request.delivery.hold
                if traffic.share is not None and self._now() > admitted_until:
                    admitted_until = await traffic.admission(traffic.share)
                elif hold is None or hold.is_held():
                    return token
                else:
                    await hold.check_held()

    def _refusal(self, answer: Answer, sent_at: float, *, submits: bool) -> APIError | None:
        """What an answer other than 2xx comes to; None where it closed the gate, and the request has to wait there."""
        signal = signal_of(answer.status)
        error = error_of(answer, submits=submits, longest_pause=self._limits.longest_pause)
        if signal is not Signal.LIMITED:
            self._traffic.note(signal, sent_at=sent_at, headers=answer.headers)
            return error
        pause = error.retry_after
        if pause is not None and pause > self._limits.longest_pause:
            return error
        seconds = PAUSE_WITHOUT_A_NAME if pause is None else pause
        logger.warning("The server has had too many requests: a pause of %g s.", seconds, extra={"pause": seconds})
        if self._traffic.note_limited(pause, sent_at=sent_at):
            error.args = (f"Nothing but refusals for a long time (outage_limit). {error}",)
            return error
        return None

    def _note_answer(self, answer: Answer, sent_at: float) -> None:
        self._traffic.note(Signal.THROUGH, sent_at=sent_at, headers=answer.headers)

    def _note_failure(self, error: QuartileError, sent_at: float) -> None:
        signal = Signal.FAILED
        if isinstance(error, UnusableAnswerError):
            signal = Signal.THROUGH
        elif isinstance(error, TimedOutError):
            signal = Signal.CONGESTED
        self._traffic.note(signal, sent_at=sent_at)

    async def _exchanged(self, request: Request[Any], token: str) -> Answer:
        request.delivery.check_not_left()
        exchange = self._http.exchange(
            request.method,
            request.path,
            headers={"Authorization": f"Bearer {token}"},
            body=request.body,
            goes_out=request.delivery.goes_out,
        )
        if _tracing.active is None:
            answer = await exchange
        else:
            request.sends += 1
            answer = await self._followed(exchange, request.method, request.path, request.route, request.sends - 1)
        body = answer.body
        if len(body) >= LARGE and not request.submits:
            await self._traffic.turns.next()
        for secret in {self._secret_key, token, *request.tokens.secrets}:
            if len(secret) >= TELLING:  # a shorter one might be a word of the answer
                body = body.replace(secret.encode(), b"***")
        return answer if body is answer.body else replace(answer, body=body)

    async def _followed(
        self, exchange: Coroutine[Any, Any, Answer], method: str, path: str, route: str, resends: int
    ) -> Answer:
        """An exchange, followed by a tracer where there is one."""
        if (tracer := _tracing.active) is None:
            return await exchange
        trace = tracer.request(method, self._http.base_url, path, route, resends, watched=self._http.watched)
        try:
            answer = await exchange
        except BaseException as error:
            trace.failed(error)
            raise
        trace.answered(answer.status)
        return answer

    def _without_secrets(self, error: QuartileError, secrets: tuple[str, ...]) -> QuartileError:
        """Blanks the key and the token, should the server have quoted them."""
        everything = [secret for secret in (self._secret_key, *secrets) if secret]
        error.args = tuple(_blanked(part, everything) for part in error.args)
        if error.__suppress_context__:  # raised `from None`: the one before it has the same words, not blanked
            error.__context__ = None
        if isinstance(error, APIError):
            error.message, error.body = _blanked(error.message, everything), _blanked(error.body, everything)
            error.request_id = _blanked(error.request_id, everything)
        return error


def _read(request: Request[R], answer: Answer) -> R:
    """What a 2xx answer says. Raises ProtocolError where it cannot be read."""
    try:
        return request.read(answer)
    except RecursionError:
        raise ProtocolError(
            f"{answer.request} was answered {answer.status} with JSON that is nested too deeply.",
            may_have_been_sent=request.submits,
        ) from None


def _blanked(text: Any, secrets: list[str]) -> Any:
    """The text without the secrets, and without their beginnings: an excerpt may have ended within one."""
    if isinstance(text, str):
        for secret in secrets:
            begin, end = secret[:TELLING], secret[TELLING:]
            before, *parts = text.split(begin)
            text = before + "".join(f"***{part[len(commonprefix([part, end])) :]}" for part in parts)  # noqa: RUF071  # any strings
    return text
