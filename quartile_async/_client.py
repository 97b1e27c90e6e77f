"""The session manager: owns the HTTP session, the slots and the credentials, and opens uploads."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterable, Coroutine, Iterable, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

import anyio

from . import __version__
from ._api import Api, BatchPaths, checked_batch_id, checked_paths
from ._auth import TokenProvider, Tokens, checked_secret
from ._batch import BatchCounts, BatchTools
from ._chunking import CHUNK_SIZE
from ._errors import ClientClosedError, ConfigurationError, ProtocolError
from ._ordering import KeyOrder
from ._pacing import Gate, Slots
from ._polling import ProcessingTimes
from ._resources import MASTERLIST, Resource
from ._results import BatchStatus
from ._retrying import RetryLimits
from ._supervisor import Supervisor, UploadTools
from ._transport import Delivery, Transport
from ._upload import Upload
from ._validation import codec_for
from ._waiting import BatchWait, WaitLimits

T = TypeVar("T")

BASE_URL = "https://api.quartile.com"
ENVIRONMENT = {
    "subscription_key": "QUARTILE_SUBSCRIPTION_KEY",
    "auth": "QUARTILE_ACCESS_TOKEN",
    "base_url": "QUARTILE_BASE_URL",
}


class QuartileClient:
    """A client of Quartile's batch API, for one subscription key.

    Use it with `async with`, or call `aclose` in the end. It opens no connection before the first request, and
    may be entered in one task and left in another.

    Args:
        subscription_key: sent as `Subscription-Key`.
        auth: an access token, or an async function that returns one; it is called again when the server refuses
            the last one, once for all requests that wait.
        base_url: `https://`, or `http://` for this machine only.
        batch_paths: which of the documentation's two spellings of the paths is used: "example"
            (PATCH …/process/masterlist, GET …/batch/{id}) or "table" (PATCH …/process/masterlist/batch,
            GET …/process/masterlist/batch/{id}).
        path_prefix: what stands between the base URL and the resource.
        max_in_flight: how many batches may be submitted or polled at once, over all uploads of this client.
        account: a label for whose data this is; log records carry it.
        linger: seconds after which a chunk leaves although a slow async input has not filled it.
        batch_deadline: seconds after which a batch that has not ended is given up (its items are UNKNOWN).
        not_visible_grace: seconds for which a 404 about a batch means that it is not visible yet.
        request_timeout: seconds for one exchange, from connecting to the last byte.
        max_tries: how often a request is tried, the first time included.
        max_retry_time: seconds after which no further try of a request starts.
        max_pause: seconds; a longer pause that the server asks for stops the upload with an error.

    Raises:
        ConfigurationError: a setting cannot be used.
    """

    def __init__(
        self,
        *,
        subscription_key: str,
        auth: str | TokenProvider,
        base_url: str = BASE_URL,
        batch_paths: BatchPaths = "example",
        path_prefix: str = "/amazon/v2",
        max_in_flight: int = 16,
        account: str | None = None,
        linger: float = 0.2,
        batch_deadline: float = 3600.0,
        not_visible_grace: float = 10.0,
        request_timeout: float = 30.0,
        max_tries: int = 5,
        max_retry_time: float = 60.0,
        max_pause: float = 300.0,
    ) -> None:
        _check_at_least(1, max_in_flight=max_in_flight, max_tries=max_tries)
        _check_at_least(0.0, linger=linger, not_visible_grace=not_visible_grace, max_pause=max_pause)
        _check_at_least(
            0.001, batch_deadline=batch_deadline, request_timeout=request_timeout, max_retry_time=max_retry_time
        )
        self._account = account
        self._linger = linger
        self._wait_limits = WaitLimits(deadline=batch_deadline, grace=not_visible_grace)
        self._slots = Slots(max_in_flight)
        self._tokens = Tokens(auth)
        self._transport = Transport(
            base_url=base_url,
            subscription_key=checked_secret(subscription_key, "subscription key"),
            tokens=self._tokens,
            gate=Gate(),
            limits=RetryLimits(tries=max_tries, seconds=max_retry_time, longest_pause=max_pause),
            timeout=request_timeout,
            user_agent=f"quartile-async/{__version__}",
        )
        self._api = Api(self._transport, checked_paths(batch_paths, path_prefix))
        self._orders: dict[str, KeyOrder] = {}
        self._times: dict[str, ProcessingTimes] = {}
        self._uploads: dict[asyncio.Task[None], Supervisor] = {}
        self._closed = False

    @classmethod
    def from_env(cls, **options: Any) -> Self:
        """A client with what the environment says: QUARTILE_SUBSCRIPTION_KEY, QUARTILE_ACCESS_TOKEN and, where it
        is set, QUARTILE_BASE_URL. Options that are given win.

        Raises:
            ConfigurationError: a variable is missing, or a setting cannot be used.
        """
        found = {option: os.environ[name] for option, name in ENVIRONMENT.items() if os.environ.get(name)}
        settings = {**found, **options}
        if missing := [ENVIRONMENT[option] for option in ("subscription_key", "auth") if option not in settings]:
            raise ConfigurationError(f"Set {' and '.join(missing)} in the environment.")
        return cls(**settings)

    def __repr__(self) -> str:
        state = "closed" if self._closed else f"{self._slots.in_use} of {self._slots.limit} in flight"
        account = f" for {self._account!r}" if self._account else ""
        return f"<QuartileClient{account} at {self._transport.base_url}, {state}>"

    async def __aenter__(self) -> Self:
        self._check_open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Ends the uploads that still run (their consumers get `ClientClosedError`) and closes the connections."""
        self._closed = True
        for supervisor in self._uploads.values():
            supervisor.fail(ClientClosedError("The client was closed while this upload was running."))
        with anyio.CancelScope(shield=True):
            if self._uploads:
                await asyncio.wait(list(self._uploads))
            await self._tokens.aclose()
            await self._transport.aclose()

    def upload(self, resource: Resource[T], items: Iterable[Any] | AsyncIterable[Any]) -> Upload[T]:
        """Opens an upload; see `Upload` for how to run it.

        Args:
            resource: where the items go, and what they look like.
            items: mappings or models, in a sync or async iterable, which is read only as far as there is room for
                results. An item that is invalid gets a REJECTED result, and so does an exception in an item's
                place: a record that its source could not read.

        Raises:
            ClientClosedError: the client is closed.
            ConfigurationError: `items` cannot be read item by item.
        """
        self._check_open()
        labels: dict[str, object] = {"account": self._account, "resource": resource.path}
        batch = BatchTools(
            self._api, resource, self._wait_for(resource), self._order_of(resource), BatchCounts(), labels
        )
        return Upload(items, UploadTools(batch, self._slots, self._linger, self._spawn))

    async def submit(self, resource: Resource[T], items: Sequence[Any]) -> str:
        """Submits one batch; takes no slot, and knows nothing of the uploads' key order.

        Args:
            resource: where the items go.
            items: 1 to 100 mappings or models with different natural keys.

        Returns:
            The batch's id.

        Raises:
            ConfigurationError: the items cannot be one batch; nothing was sent.
            QuartileError: the submit failed; `may_have_been_sent` tells whether the server may have it all the same.
        """
        self._check_open()
        return await self._api.submit(resource, _one_batch(resource, items), Delivery())

    async def get_batch(self, batch_id: str, resource: Resource[Any] = MASTERLIST) -> BatchStatus:
        """Asks for a batch once.

        Raises:
            ConfigurationError: the id is not a plain token.
            QuartileError: there was no usable answer.
        """
        self._check_open()
        return await self._api.get_batch(_known_id(batch_id), resource)

    async def wait(self, batch_id: str, resource: Resource[Any] = MASTERLIST) -> BatchStatus:
        """Asks for a batch until it has ended.

        Raises:
            ConfigurationError: the id is not a plain token.
            TransportError: it had not ended after `batch_deadline`, or the server does not know it.
            QuartileError: there was no usable answer.
        """
        self._check_open()
        return await self._wait_for(resource).until_finished(_known_id(batch_id))

    def _check_open(self) -> None:
        if self._closed:
            raise ClientClosedError("The client is closed. Open a new one.")

    def _wait_for(self, resource: Resource[Any]) -> BatchWait:
        times = self._times.setdefault(resource.path, ProcessingTimes())
        return BatchWait(self._api, resource, times, self._wait_limits)

    def _order_of(self, resource: Resource[Any]) -> KeyOrder:
        return self._orders.setdefault(resource.path, KeyOrder())

    def _spawn(self, supervisor: Supervisor, run: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        if self._closed:
            run.close()
            self._check_open()
        task = asyncio.get_running_loop().create_task(run, name="quartile_async upload")
        self._uploads[task] = supervisor
        task.add_done_callback(self._uploads.pop)
        return task


def _check_at_least(least: float, **settings: object) -> None:
    for name, value in settings.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value < float("inf"):
            raise ConfigurationError(f"{name}={value!r} cannot be used: give a number of at least {least:g}.")


def _known_id(batch_id: str) -> str:
    try:
        return checked_batch_id(batch_id)
    except ProtocolError as error:
        raise ConfigurationError(str(error)) from None


def _one_batch(resource: Resource[Any], items: Sequence[Any]) -> list[Any]:
    """What is sent for the items of one batch."""
    if not 1 <= len(items) <= CHUNK_SIZE:
        raise ConfigurationError(f"A batch has 1 to {CHUNK_SIZE} items, not {len(items)}. Use upload() for any number.")
    checked = codec_for(resource).check(items)
    if checked.problems:
        listed = "; ".join(f"item {position}: {problem}" for position, problem in sorted(checked.problems.items()))
        raise ConfigurationError(f"{len(checked.problems)} of {len(items)} items are invalid: {listed}")
    if len(set(checked.keys)) < len(items):
        raise ConfigurationError("Two of the items have the same natural key. Use upload(), which sends them in turn.")
    return checked.wires
