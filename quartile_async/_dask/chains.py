"""Which parts share keys, told by digests, and so have to be uploaded one after the other. No I/O."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from functools import partial
from hashlib import blake2b
from typing import TypeAlias

from .._keys import Key

DIGEST = 8
"""Bytes of a digest. Two keys of ten million have the same one in three cases of a million, and then two parts wait for
each other that need not: nothing worse."""

MOST_BUCKETS = 256
DIGESTS_OF_A_BUCKET = 250_000
"""How many are compared at once: a dictionary of them takes about 25 MB."""

Link: TypeAlias = tuple[int, int]
"""The numbers of two parts that share a key."""


def buckets_for(items: int) -> int:
    """Into how many buckets the digests of about so many items go: a power of two."""
    needed = -(-items // DIGESTS_OF_A_BUCKET)
    return min(MOST_BUCKETS, 1 << max(0, needed - 1).bit_length())


def digests(keys: Iterable[Key], account: str | None) -> Iterator[bytes]:
    """A digest for each key, the same in every process; no two accounts share keys."""
    whose = b"" if account is None else blake2b(account.encode("utf-8", "surrogatepass"), digest_size=16).digest()
    of = partial(blake2b, digest_size=DIGEST, person=whose)
    return (of(_bytes_of(key)).digest() for key in keys)


def _bytes_of(key: Hashable) -> bytes:
    # What is no string is a tuple of strings, truth values, None and such tuples, whose repr is the same everywhere.
    return (key if isinstance(key, str) else repr(key)).encode("utf-8", "surrogatepass")


def in_buckets(found: Iterable[bytes], count: int) -> list[bytearray]:
    """Digests by their leading bits, each behind the other; so many buckets."""
    buckets = [bytearray() for _ in range(count)]
    shift = 8 - (count - 1).bit_length()
    for digest in found:
        buckets[digest[0] >> shift] += digest
    return buckets


class Groups:
    """Parts that are linked, directly or by others.

    Attributes:
        links: those that were needed: fewer than there are parts.
    """

    def __init__(self) -> None:
        self._leader: dict[int, int] = {}
        self.links: list[Link] = []

    def leader(self, part: int) -> int:
        """The part that stands for all that are linked with this one."""
        while (above := self._leader.get(part, part)) != part:
            self._leader[part] = self._leader.get(above, above)
            part = above
        return part

    def link(self, one: int, other: int) -> None:
        """These two share a key."""
        first, second = self.leader(one), self.leader(other)
        if first != second:
            self._leader[max(first, second)] = min(first, second)
            self.links.append((one, other))


class Bucket:
    """Digests of one bucket, and which parts they link."""

    def __init__(self) -> None:
        self._part_of: dict[int, int] = {}
        self._groups = Groups()

    def add(self, part: int, content: bytes) -> None:
        """The digests of a part, or some of them."""
        part_of = self._part_of
        values = memoryview(content).cast("Q").tolist()
        for other in {part_of[value] for value in values if value in part_of}:
            self._groups.link(other, part)
        part_of.update(dict.fromkeys(values, part))

    @property
    def links(self) -> list[Link]:
        """The links between parts: fewer than there are parts."""
        return self._groups.links


def chains_of(parts: int, links: Iterable[Link]) -> tuple[tuple[int, ...], ...]:
    """All parts, each in one chain with those that it is linked with; in order, within a chain and of the chains."""
    groups = Groups()
    for one, other in links:
        groups.link(one, other)
    chains: dict[int, list[int]] = {}
    for part in range(parts):
        chains.setdefault(groups.leader(part), []).append(part)
    return tuple(map(tuple, chains.values()))
