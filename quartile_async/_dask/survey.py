"""Which keys stand in more than one part. It runs on workers; the keys' digests travel through Redis.

Each part's digests are kept in buckets by their leading bits: those of one bucket are compared for all parts at once,
in memory that does not grow with the input.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from .._errors import JournalError
from .._frames import TableItems
from .._resources import Resource
from .._shared.connection import Link, RefusedError, UnreachableError
from .._validation import codec_for
from ..files import ItemFile
from .chains import Bucket, digests, in_buckets
from .chains import Link as PartLink
from .parts import Items, Part, items_of

T = TypeVar("T")

BLOCK = 1_000
"""Items that are checked in one go."""

PIECE = 1 << 17
"""The most bytes that one value in Redis has."""

AT_ONCE = 64
"""Values that are asked for at once, and names that are deleted."""

KEPT = 3_600.0
"""Seconds after which Redis forgets the digests, where nobody deletes them."""

PATIENCE = 30.0
"""Seconds for which Redis may be away."""


@dataclass(slots=True, frozen=True)
class Survey:
    """What the tasks of a survey have in common.

    Attributes:
        name: of what is kept in Redis; no other survey has it.
        buckets: how many there are.
        resource: what the items are.
        address: gives the URL of Redis, on the worker.
    """

    name: str
    buckets: int
    resource: Resource[Any]
    address: Callable[[], str]

    def key(self, part: int, bucket: int, piece: int) -> str:
        """The name under which a piece of a part's bucket is kept."""
        return f"{self.name}:{part}:{bucket}:{piece}"


# ----------------------------------------------------------------------------------------------------------------
# One part


def surveyed(survey: Survey, part: Part, data: Any = None) -> None:
    """Keeps the digests of a part's keys in Redis. Items that are invalid have no key.

    Whoever does it once more, as after the death of a worker, writes the same.

    Raises:
        JournalError: the file has changed, or Redis is away.
        ConfigurationError, OSError: the items cannot be read.
    """
    codec = codec_for(survey.resource)
    blocks = _blocks_of(items_of(part, data, survey.resource))
    keys = itertools.chain.from_iterable(codec.check(block).keys for block in blocks)
    asyncio.run(_keep(survey, part.number, in_buckets(digests(keys, part.account), survey.buckets)))


def _blocks_of(items: Items) -> Iterator[list[Any]]:
    if isinstance(items, TableItems):
        yield from items.blocks()
        return
    records = items.records() if isinstance(items, ItemFile) else iter(items)
    while block := list(itertools.islice(records, BLOCK)):
        yield block


async def _keep(survey: Survey, part: int, buckets: Sequence[bytearray]) -> None:
    link = Link(survey.address())
    try:
        for bucket, content in enumerate(buckets):
            # An empty piece tells that there are no more, where a missing one would tell that Redis has lost it.
            for piece, start in enumerate(range(0, len(content) + 1, PIECE)):
                value = bytes(content[start : start + PIECE])
                await _done(link, "SET", survey.key(part, bucket, piece), value, "PX", round(KEPT * 1000))
    finally:
        await link.aclose()


# ----------------------------------------------------------------------------------------------------------------
# One bucket of all parts


@dataclass(slots=True, frozen=True)
class Linked:
    """What the digests of a bucket tell.

    Attributes:
        links: parts that share keys: fewer links than there are parts.
        pieces: the most that any part has of this bucket.
    """

    links: tuple[PartLink, ...]
    pieces: int


def linked(survey: Survey, bucket: int, parts: Sequence[int]) -> Linked:
    """Compares a bucket of these parts.

    Raises:
        JournalError: Redis is away, or has lost digests.
    """
    return asyncio.run(_linked(survey, bucket, parts))


async def _linked(survey: Survey, bucket: int, parts: Sequence[int]) -> Linked:
    link, found, pieces = Link(survey.address()), Bucket(), 0
    try:
        for some in _groups_of(parts):
            pieces = max(pieces, await _add(link, survey, bucket, some, found))
    finally:
        await link.aclose()
    return Linked(tuple(found.links), pieces)


async def _add(link: Link, survey: Survey, bucket: int, parts: list[int], found: Bucket) -> int:
    """Adds the bucket's digests of some parts; gives how many pieces the one with the most has."""
    for piece in itertools.count():
        values = await _done(link, "MGET", *(survey.key(part, bucket, piece) for part in parts))
        if None in values:
            raise _lost(link)
        for part, value in zip(parts, values, strict=True):
            found.add(part, value)
        # Only a full piece has another one behind it.
        parts = [part for part, value in zip(parts, values, strict=True) if len(value) == PIECE]
        if not parts:
            return piece + 1
    raise AssertionError


def forgotten(survey: Survey, parts: Sequence[int], pieces: int) -> None:
    """Deletes what is kept, up to so many pieces of a bucket; where Redis is away, it does so by itself in the end."""
    asyncio.run(_forgotten(survey, parts, pieces))


async def _forgotten(survey: Survey, parts: Sequence[int], pieces: int) -> None:
    link = Link(survey.address())
    places = itertools.product(parts, range(survey.buckets), range(pieces))
    try:
        with suppress(UnreachableError, RefusedError):
            for some in _groups_of([survey.key(*place) for place in places]):
                await link.command("UNLINK", *some)
    finally:
        await link.aclose()


def _groups_of(things: Sequence[T]) -> Iterator[list[T]]:
    for first in range(0, len(things), AT_ONCE):
        yield list(things[first : first + AT_ONCE])


# ----------------------------------------------------------------------------------------------------------------
# Redis


async def _done(link: Link, *words: Any) -> Any:
    """Has Redis do something that may be done twice.

    Raises:
        JournalError: it has been away for too long, or refuses.
    """
    try:
        return await link.repeat(lambda: link.command(*words), patience=PATIENCE)
    except (RefusedError, UnreachableError) as error:
        raise _not_done(link, error) from error


def _not_done(link: Link, error: Exception) -> JournalError:
    return JournalError(
        f"Which keys stand in several parts could not be told, because Redis at {link.name} did not keep their "
        f"digests (8 bytes for each item, for as long as it takes): {error}. Nothing has been sent. See to it that "
        "each worker can reach it, and that it has room; then run the same again."
    )


def _lost(link: Link) -> JournalError:
    return JournalError(
        f"Redis at {link.name} has lost digests of keys that it was to keep for an hour: it was restarted, or makes "
        "room by itself (maxmemory-policy). Nothing has been sent. Give it the policy noeviction and enough memory "
        "(8 bytes for each item), and run the same again."
    )
