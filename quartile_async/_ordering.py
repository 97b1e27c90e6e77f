"""Two writes to one key are never both under way, and happen in the order in which they were asked for."""

from __future__ import annotations

import functools
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence

from ._keys import Key

MOST_GIVEN_UP = 10_000
"""The most keys of batches that were given up to remember. The oldest are forgotten first."""


class Ticket:
    """A place in the queues of a chunk's keys.

    Attributes:
        ready: whether all earlier writes to these keys have ended.
    """

    __slots__ = ("_followers", "_keys", "_on_ready", "_waits_for")

    def __init__(self, keys: Sequence[Key], on_ready: Callable[[], object]) -> None:
        self._keys = keys
        self._on_ready = on_ready
        self._followers: list[Ticket] = []
        self._waits_for = 0

    @property
    def ready(self) -> bool:
        return self._waits_for == 0


class KeyOrder:
    """The queue of each key, for one resource of one account, over all uploads of a client.

    A chunk takes a place in the queues of all its keys at once, so that two chunks cannot wait for each other.
    Memory is bounded by the chunks that have a ticket.
    """

    def __init__(self) -> None:
        self._last: dict[Key, Ticket] = {}
        self._given_up: OrderedDict[Key, str | None] = OrderedDict()
        self._watched: dict[Key, Callable[[], object]] = {}

    def enter(self, keys: Sequence[Key], on_ready: Callable[[], object]) -> Ticket:
        """Queues a chunk behind all earlier writes to its keys; `on_ready` is called once they have ended."""
        ticket = Ticket(keys, on_ready)
        if self._watched and not self._watched.keys().isdisjoint(keys):
            for key in [key for key in keys if key in self._watched]:
                self._watched.pop(key)()
        if not self._last.keys().isdisjoint(keys):
            for before in dict.fromkeys(self._last[key] for key in keys if key in self._last):
                before._followers.append(ticket)
                ticket._waits_for += 1
        self._last.update(dict.fromkeys(keys, ticket))
        return ticket

    def leave(self, ticket: Ticket) -> None:
        """The chunk has ended, or will never be sent: the next writes to its keys may go."""
        if not ticket.ready:
            # It will not be sent, but what came before it is still under way: it leaves when that has ended.
            ticket._on_ready = functools.partial(self.leave, ticket)
            return
        last = self._last
        for key in ticket._keys:
            if last[key] is ticket:
                del last[key]
        for follower in ticket._followers:
            follower._waits_for -= 1
            if follower.ready:
                follower._on_ready()

    def has_newer(self, key: Key, ticket: Ticket) -> bool:
        """Whether a newer write to one of the ticket's keys stands behind it."""
        return self._last[key] is not ticket

    def watch(self, key: Key, on_newer: Callable[[], object]) -> None:
        """Calls the function, once, when the next write to this key takes its place in the queue."""
        self._watched[key] = on_newer

    def unwatch(self, key: Key, on_newer: Callable[[], object]) -> None:
        """Does not call this function, the very object, any more. A watch of somebody else stays."""
        if self._watched.get(key) is on_newer:
            del self._watched[key]

    def give_up(self, keys: Iterable[Key], batch_id: str | None) -> None:
        """Remembers keys whose write was given up while the server may still carry it out."""
        for key in keys:
            self._given_up[key] = batch_id
            self._given_up.move_to_end(key)
        while len(self._given_up) > MOST_GIVEN_UP:
            self._given_up.popitem(last=False)

    def older_writes(self, keys: Iterable[Key]) -> dict[Key, str]:
        """For each key of which an older write was given up, and may still land, a sentence about it."""
        if not self._given_up:
            return {}
        return {key: _may_still_land(self._given_up[key]) for key in keys if key in self._given_up}


def _may_still_land(batch_id: str | None) -> str:
    batch = f"batch {batch_id}" if batch_id else "a batch whose id was never learned"
    return f"An older write of this key ({batch}) was given up and may still land after this one."
