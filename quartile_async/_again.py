"""Failed items that are sent again: who decides it, how often, and what waits until its time has come."""

from __future__ import annotations

import asyncio
import functools
import inspect
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias, cast

from ._chunking import Chunk
from ._errors import ConfigurationError
from ._keys import Key
from ._ordering import KeyOrder
from ._results import ItemResult, Outcome

Retry: TypeAlias = Callable[[ItemResult[Any]], bool | float | None]

OVERTAKEN = "It is not sent again, since a newer write of its key has taken its place."


@dataclass(slots=True)
class Waiting:
    """A failed item that will be sent again.

    Attributes:
        failure: the result of its last try.
        key: its natural key.
        wire: what is sent for it.
        due: when, on the loop's clock.
        is_overtaken: a newer write of its key has come meanwhile.
        on_newer: what is called when one comes.
    """

    failure: ItemResult[Any]
    key: Key
    wire: Any
    due: float
    is_overtaken: bool = False
    on_newer: Callable[[], object] = field(default=lambda: None, repr=False)

    @property
    def last_words(self) -> ItemResult[Any]:
        """Its result, since a newer write of its key has come."""
        return replace(self.failure, message=f"{self.failure.message} {OVERTAKEN}".lstrip())


class Again:
    """The failed items of one upload that will be sent again.

    From its failure until it stands in the queue of its key again, an item listens for newer writes that take their
    place there, in any upload: it must not be sent after one. Of one key, at most one item is here, besides those that
    were overtaken while they stood in a chunk that is being filled: they have their results, and are left out of it.

    Attributes:
        on_due: called when the time of some has come.
        on_overtaken: called with an item when a newer write of its key has come.
        on_failure: called with what the function has raised.
    """

    def __init__(self, retry: Retry, most_tries: int, order: KeyOrder) -> None:
        self._retry = retry
        self._most_tries = most_tries
        self._order = order
        self._waiting: dict[Key, Waiting] = {}
        self._chunked: dict[int, Waiting] = {}
        """Index -> those whose time has come, and whose chunk does not stand in the queues of the keys yet."""
        self._timer: asyncio.TimerHandle | None = None
        self._is_asked = True
        self.on_due: Callable[[], object] = lambda: None
        self.on_overtaken: Callable[[Waiting], object] = lambda item: None
        self.on_failure: Callable[[Exception], object] = lambda error: None

    def __len__(self) -> int:
        """How many wait for their time."""
        return len(self._waiting)

    @property
    def has_chunked(self) -> bool:
        """Whether chunks that are being filled have some of these."""
        return bool(self._chunked)

    @property
    def failures(self) -> list[ItemResult[Any]]:
        """The last results of those that wait for their time."""
        return [item.failure for item in self._waiting.values()]

    def asked(self, results: Iterable[ItemResult[Any]]) -> dict[int, float]:
        """Position -> seconds after which it shall be sent again, for those that shall be."""
        wanted: dict[int, float] = {}
        for position, result in enumerate(results):
            if result.outcome is Outcome.FAILED and result.tries < self._most_tries and self._is_asked:
                try:
                    seconds = _seconds(self._retry(result), result)
                except Exception as error:  # noqa: BLE001  # it is the user's own, and reaches the consumer as it is
                    self._is_asked = False
                    self.on_failure(error)
                    return {}
                if seconds is not None:
                    wanted[position] = seconds
        return wanted

    def add(
        self, failures: Sequence[ItemResult[Any]], chunk: Chunk, positions: Sequence[int], seconds: Iterable[float]
    ) -> None:
        """These failed items of a chunk wait for their time."""
        now = asyncio.get_running_loop().time()
        wires = chunk.wires_at(positions)
        for failure, position, wire, after in zip(failures, positions, wires, seconds, strict=True):
            key = chunk.keys[position]
            item = self._waiting[key] = Waiting(failure, key, wire, now + after)
            item.on_newer = functools.partial(self._overtaken, item)
            self._order.watch(key, item.on_newer)
        self._set_timer(now)

    def take_due(self) -> list[Waiting]:
        """Those whose time has come, in input order; the caller puts them into chunks."""
        now = asyncio.get_running_loop().time()
        due = sorted((item for item in self._waiting.values() if item.due <= now), key=lambda item: item.failure.index)
        for item in due:
            self._chunked[item.failure.index] = self._waiting.pop(item.key)
        self._set_timer(now)
        return due

    def without_overtaken(self, chunk: Chunk) -> Chunk:
        """A chunk that does not stand in the queues of the keys yet, in input order, and without those overtaken."""
        found = self._found(chunk)
        if not found:
            return chunk
        overtaken = {position for position, item in found if item.is_overtaken}
        positions = [position for position in range(len(chunk)) if position not in overtaken]
        whole = chunk.select(sorted(positions, key=chunk.indexes.__getitem__))
        whole.failures = {item.failure.index: item.failure for _, item in found if not item.is_overtaken} or None
        return whole

    def complete(self, chunk: Chunk) -> Chunk:
        """The same of a chunk that is about to take its place there."""
        whole = self.without_overtaken(chunk)
        for _, item in self._found(chunk):
            del self._chunked[item.failure.index]
            self._order.unwatch(item.key, item.on_newer)
        return whole

    def close(self) -> None:
        """Nothing more will be sent: listens for nothing."""
        for item in (*self._waiting.values(), *self._chunked.values()):
            self._order.unwatch(item.key, item.on_newer)
        self._stop_timer()

    def _found(self, chunk: Chunk) -> list[tuple[int, Waiting]]:
        if not self._chunked:
            return []
        return [
            (position, self._chunked[index]) for position, index in enumerate(chunk.indexes) if index in self._chunked
        ]

    def _overtaken(self, item: Waiting) -> None:
        item.is_overtaken = True
        if self._waiting.get(item.key) is item:
            del self._waiting[item.key]
        self.on_overtaken(item)

    def _set_timer(self, now: float) -> None:
        self._stop_timer()
        if self._waiting:
            first = min(item.due for item in self._waiting.values())
            self._timer = asyncio.get_running_loop().call_later(max(0.0, first - now), self.on_due)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def checked_retry(retry: Any, most_tries: Any) -> Retry | None:
    """The function that decides, or None.

    Raises:
        ConfigurationError: it is no function, or an async one, or so many tries cannot be.
    """
    if isinstance(most_tries, bool) or not isinstance(most_tries, int) or most_tries < 1:
        raise ConfigurationError(f"max_item_tries={most_tries!r} cannot be used: give a whole number of at least 1.")
    if retry is None:
        return None
    if not callable(retry):
        raise ConfigurationError(f"retry is a {type(retry).__name__}. Give a function that takes a failed result.")
    if any(map(inspect.iscoroutinefunction, (retry, type(retry).__call__))):
        raise ConfigurationError("retry is an async function. Give a plain one, which says at once what shall be.")
    return cast("Retry", retry)


def _seconds(answer: object, result: ItemResult[Any]) -> float | None:
    """What the function has said: after how many seconds the item is sent again; None: not at all."""
    if answer is None or answer is False:
        return None
    if answer is True:
        return 0.0
    if isinstance(answer, int | float) and 0 <= answer < math.inf:
        return float(answer)
    raise ConfigurationError(
        f"retry has returned {answer!r} for the item with index {result.index}. It can return None or False (the item "
        "is not sent again), True (it is, at once), or a number of seconds, 0 or more (it is, after so long)."
    )
