"""Room for results: an upload reads no further than there is room for what it has read. No I/O."""

from __future__ import annotations

import asyncio

from ._chunking import CHUNK_SIZE


class Parcel:
    """Results that the consumer will be handed; it holds room from the moment its items were read.

    Attributes:
        left: how many of its results the consumer has not had yet.
        replayed: whether they were known from an earlier run.
    """

    __slots__ = ("left", "replayed")

    def __init__(self, left: int, *, replayed: bool = False) -> None:
        self.left = left
        self.replayed = replayed


class Room:
    """Counts parcels, each as a full chunk, however small it is.

    Attributes:
        size: in items.
    """

    def __init__(self, chunks: int) -> None:
        self.size: int = chunks * CHUNK_SIZE
        self._parcels = 0
        self._replayed = 0
        self._made = asyncio.Event()

    @property
    def held(self) -> int:
        """Items that are held, by all parcels."""
        return self._parcels * CHUNK_SIZE

    @property
    def held_by_replayed(self) -> int:
        """The same, by those that were known from an earlier run."""
        return self._replayed * CHUNK_SIZE

    def take(self, parcels: int = 1, *, replayed: bool = False) -> None:
        """So many parcels hold room from now on."""
        self._parcels += parcels
        if replayed:
            self._replayed += parcels

    def give_back(self, *, replayed: bool = False) -> None:
        """A parcel holds none any more."""
        self._parcels -= 1
        self._replayed -= replayed
        self._made.set()

    def look_again(self) -> None:
        """Whoever waits should look again: something else than a parcel holds less."""
        self._made.set()

    async def change(self) -> None:
        """Waits until there may be more room than now."""
        self._made.clear()
        await self._made.wait()
