"""Items into chunks: at most 100, no key twice, as full as the input allows. Knows nothing of time or network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic_core import from_json

from ._json import encoded
from ._keys import Key
from ._results import ItemResult

CHUNK_SIZE = 100
"""The most items that a batch may have (contract, "Submit a batch")."""

MOST_OPEN = 8
"""The most chunks being filled at once. More than one are, only while keys repeat."""


class Chunk:
    """Items that go out together, as columns of equal length.

    Attributes:
        indexes: the items' positions in the input.
        items: the items as they were passed in.
        wires: what is sent for each item; empty once they are encoded.
        keys: the natural key of each item.
        in_doubt: an earlier try of these, in a larger chunk or in an earlier run, may have been taken by the server.
        number: the batch's in the journal; None where it does not stand there.
        batch_id: the server's, of a batch that was taken in an earlier run, or is written down.
        known: the results that an earlier run gave up with.
        failures: index -> the last result, of those that have failed and are sent again; None: there are none.
    """

    __slots__ = ("_body", "batch_id", "failures", "in_doubt", "indexes", "items", "keys", "known", "number", "wires")

    def __init__(self, indexes: list[int], items: list[Any], wires: list[Any], keys: list[Key]) -> None:
        self.indexes: list[int] = indexes
        self.items: list[Any] = items
        self.wires: list[Any] = wires
        self._body: bytes | None = None
        self.keys: list[Key] = keys
        self.in_doubt: bool = False
        self.number: int | None = None
        self.batch_id: str | None = None
        self.known: list[ItemResult[Any]] | None = None
        self.failures: dict[int, ItemResult[Any]] | None = None

    def __len__(self) -> int:
        return len(self.indexes)

    def select(self, positions: Sequence[int]) -> Chunk:
        """A new chunk, not yet sent, of the items at these positions."""
        part = self.without_wires(positions)
        part.wires = self.wires_at(positions)
        if self._body is not None:
            part.encode()
        return part

    def without_wires(self, positions: Sequence[int]) -> Chunk:
        """The same of items that need no more sending."""
        part = Chunk(_at(positions, self.indexes), _at(positions, self.items), [], _at(positions, self.keys))
        part.failures = self.failures
        return part

    def wires_at(self, positions: Sequence[int]) -> list[Any]:
        """What is sent for the items at these positions."""
        # Reading it from the JSON is exact, also for the longest integers.
        return _at(positions, self.wires if self._body is None else from_json(self._body))

    def encode(self) -> bytes:
        """The JSON to send, made once: it takes a tenth of the memory of what it is made of."""
        if self._body is None:
            self._body, self.wires = encoded(self.wires), []
        return self._body

    def extend(self, indexes: Sequence[int], items: Sequence[Any], wires: Sequence[Any], keys: Sequence[Key]) -> None:
        self.indexes += indexes
        self.items += items
        self.wires += wires
        self.keys += keys


def _at(positions: Sequence[int], column: list[Any]) -> list[Any]:
    return [column[position] for position in positions]


class _OpenChunk(Chunk):
    __slots__ = ("key_set",)

    def __init__(self) -> None:
        super().__init__([], [], [], [])
        self.key_set: set[Key] = set()


class Chunker:
    """Fills chunks, in input order.

    An item goes into the oldest open chunk that does not have its key. A key's items therefore stand in ever
    later chunks, in input order, and each open chunk has only keys that the ones before it have as well: the
    oldest is always the fullest.
    """

    def __init__(self) -> None:
        self._open: list[_OpenChunk] = []

    @property
    def held(self) -> list[Chunk]:
        """The chunks being filled, oldest first."""
        return list(self._open)

    @property
    def held_items(self) -> int:
        return sum(map(len, self._open))

    @property
    def missing(self) -> int:
        """How many items with new keys would complete a chunk."""
        return CHUNK_SIZE - (len(self._open[0]) if self._open else 0)

    def feed(
        self, indexes: Sequence[int], items: Sequence[Any], wires: Sequence[Any], keys: Sequence[Key]
    ) -> list[Chunk]:
        """Takes items; gives the chunks that are complete now, in the order in which they must go out."""
        if not keys:
            return []
        if (key_set := self._fitting_the_oldest(keys)) is not None:
            if len(keys) == CHUNK_SIZE:  # then nothing is open
                return [Chunk(list(indexes), list(items), list(wires), list(keys))]
            oldest = self._open[0] if self._open else self._opened()
            oldest.extend(indexes, items, wires, keys)
            oldest.key_set |= key_set
            return self._completed()
        complete: list[Chunk] = []
        for index, item, wire, key in zip(indexes, items, wires, keys, strict=True):
            chunk = self._place_for(key, complete)
            chunk.extend((index,), (item,), (wire,), (key,))
            chunk.key_set.add(key)
            complete += self._completed()
        return complete

    def flush(self) -> list[Chunk]:
        """Gives all chunks as they are, in the order in which they must go out."""
        chunks, self._open = self._open, []
        return list(chunks)

    def _fitting_the_oldest(self, keys: Sequence[Key]) -> set[Key] | None:
        """These keys, if all go into the oldest chunk: the usual case, decided without a loop in Python."""
        key_set = set(keys)
        if len(keys) > self.missing or len(key_set) < len(keys):
            return None
        return key_set if not self._open or self._open[0].key_set.isdisjoint(key_set) else None

    def _place_for(self, key: Key, complete: list[Chunk]) -> _OpenChunk:
        for chunk in self._open:
            if key not in chunk.key_set:
                return chunk
        if len(self._open) == MOST_OPEN:
            complete.append(self._open.pop(0))
        return self._opened()

    def _opened(self) -> _OpenChunk:
        self._open.append(_OpenChunk())
        return self._open[-1]

    def _completed(self) -> list[Chunk]:
        # Only the oldest can be full: it has all the keys of the others.
        return [self._open.pop(0)] if self._open and len(self._open[0]) >= CHUNK_SIZE else []
