"""One account under a client: its own tokens and key order, on the client's connections, gate and slots."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterable, Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from ._again import Again, checked_retry
from ._api import Api, checked_batch_id
from ._batch import BatchCounts, BatchTools
from ._chunking import CHUNK_SIZE
from ._clock import LoopClock
from ._delivery import Delivery
from ._errors import ConfigurationError, ProtocolError
from ._journal import Journal, Subject
from ._json import encoded
from ._ordering import KeyOrder
from ._polling import Poller
from ._recording import Recorder
from ._resources import Resource
from ._results import BatchStatus, ItemResult
from ._supervisor import Supervisor, UploadTools
from ._upload import Upload
from ._validation import codec_for
from ._waiting import BatchWait, WaitLimits

T = TypeVar("T")


@dataclass(slots=True, frozen=True)
class Shared:
    """What the accounts of a client share.

    Attributes:
        linger: seconds after which a chunk leaves although it is not full.
        wait_limits: how long batches are waited for.
        check_open: raises ClientClosedError once the client is closed.
        spawn: starts an upload's task.
        pollers: by resource path; how long the server takes does not depend on the account.
        orders: by account label and resource path.
    """

    linger: float
    wait_limits: WaitLimits
    check_open: Callable[[], None]
    spawn: Callable[[Supervisor, Coroutine[Any, Any, None]], asyncio.Task[None]]
    pollers: dict[str, Poller] = field(default_factory=dict)
    orders: dict[tuple[str | None, str], KeyOrder] = field(default_factory=dict)


class Account:
    """Uploads for one account; made by `QuartileClient.for_account`, and open for as long as that client.

    A journal knows it by its label, or else by its `identity`: a digest of its credentials.
    """

    def __init__(self, label: str | None, api: Api, shared: Shared, identity: str) -> None:
        self._account = label
        self._identity = identity
        self._api = api
        self._shared = shared

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._account!r}>"

    def upload(
        self,
        resource: Resource[T],
        items: Iterable[Any] | AsyncIterable[Any],
        *,
        journal: str | os.PathLike[str] | Journal | None = None,
        retry: Callable[[ItemResult[T]], bool | float | None] | None = None,
        max_item_tries: int = 3,
    ) -> Upload[T]:
        """Opens an upload; see `Upload` for how to run it.

        Args:
            resource: where the items go, and what they look like.
            items: mappings or models, in a sync or async iterable, which is read only as far as there is room for
                results; or a table, whose rows they are: a DataFrame of pandas or polars, or anything with an Arrow
                stream. An item that is invalid gets a REJECTED result, and so does an exception in an item's place: a
                record that its source could not read.
            journal: a file (or a `Journal`) that remembers what became of each item. After a crash the same upload
                with the same items goes on where it ended; one that had ended is replayed, and nothing is sent.
            retry: a plain function, called with each FAILED result, which says whether the item is sent again: None or
                False (no), True (at once) or a number of seconds (after so long). Such items go into new batches, with
                new ones; only their last result is given, and its `tries` says how often they were sent. An item is not
                sent again after a newer write of its key. What the function raises ends the upload, as an error of the
                input does.
            max_item_tries: how often an item is sent at most, the first time included; then it is FAILED for good.

        Raises:
            ClientClosedError: the client is closed.
            ConfigurationError: `items` cannot be read item by item, or lack a column; `journal` is no path and no
                `Journal`; `retry` or `max_item_tries` cannot be used.
        """
        self._shared.check_open()
        function = checked_retry(retry, max_item_tries)
        order = self._order_of(resource)
        labels: dict[str, object] = {"account": self._account, "resource": resource.path}
        batch = BatchTools(
            api=self._api,
            resource=resource,
            wait=self._wait_for(resource),
            order=order,
            recorder=Recorder(_journal_of(journal), self._subject_of(resource)),
            counts=BatchCounts(),
            labels=labels,
        )
        slots = self._api.traffic.slots
        again = None if function is None else Again(function, max_item_tries, order)
        return Upload(items, UploadTools(batch, slots, self._shared.linger, self._shared.spawn, again))

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
        self._shared.check_open()
        return await self._api.submit(resource, _one_batch(resource, items), len(items), Delivery())

    async def get_batch(self, batch_id: str, resource: Resource[Any] | None = None) -> BatchStatus:
        """Asks for a batch once.

        Args:
            batch_id: the id that the submit gave.
            resource: where it was submitted; None: the masterlist.

        Raises:
            ConfigurationError: the id is not a plain token.
            QuartileError: there was no usable answer.
        """
        self._shared.check_open()
        return await self._api.get_batch(_known_id(batch_id), resource or _masterlist())

    async def wait(self, batch_id: str, resource: Resource[Any] | None = None) -> BatchStatus:
        """Asks for a batch until it has ended.

        Args:
            batch_id: the id that the submit gave.
            resource: where it was submitted; None: the masterlist.

        Raises:
            ConfigurationError: the id is not a plain token.
            TransportError: it had not ended after `batch_deadline`, or the server does not know it.
            QuartileError: there was no usable answer.
        """
        self._shared.check_open()
        return await self._wait_for(resource or _masterlist()).until_finished(_known_id(batch_id))

    def _subject_of(self, resource: Resource[Any]) -> Subject:
        return Subject(
            resource=f"{resource.path} ({', '.join(resource.key) or 'the whole object'})",
            server=self._api.server,
            account=self._account or self._identity,
        )

    def _wait_for(self, resource: Resource[Any]) -> BatchWait:
        poller = self._shared.pollers.setdefault(resource.path, Poller(LoopClock(), self._api.traffic.allowance))
        return BatchWait(self._api, resource, poller, self._shared.wait_limits)

    def _order_of(self, resource: Resource[Any]) -> KeyOrder:
        return self._shared.orders.setdefault((self._account, resource.path), KeyOrder())


def _masterlist() -> Resource[Any]:
    from ._masterlist import MASTERLIST  # made when it is needed

    return MASTERLIST


def _journal_of(journal: Any) -> Journal | None:
    if journal is None or isinstance(journal, Journal):
        return journal
    if isinstance(journal, str | os.PathLike) and os.fspath(journal):
        from ._journal_thread import FileJournal  # which needs SQLite

        return FileJournal(journal)
    raise ConfigurationError(
        f"journal={journal!r} is neither the path of a file nor a Journal, such as "
        "quartile_async.redis.RedisJournal(url, name)."
    )


def _known_id(batch_id: str) -> str:
    try:
        return checked_batch_id(batch_id)
    except ProtocolError as error:
        raise ConfigurationError(str(error)) from None


def _one_batch(resource: Resource[Any], items: Sequence[Any]) -> bytes:
    """The JSON of the items of one batch."""
    if not 1 <= len(items) <= CHUNK_SIZE:
        raise ConfigurationError(f"A batch has 1 to {CHUNK_SIZE} items, not {len(items)}. Use upload() for any number.")
    checked = codec_for(resource).check(items)
    if checked.problems:
        listed = "; ".join(f"item {position}: {problem}" for position, problem in sorted(checked.problems.items()))
        raise ConfigurationError(f"{len(checked.problems)} of {len(items)} items are invalid: {listed}")
    if len(set(checked.keys)) < len(items):
        raise ConfigurationError("Two of the items have the same natural key. Use upload(), which sends them in turn.")
    return encoded(checked.wires)
