"""Redis, looked at before anything is sent: that it is there, keeps what it is told, and what it knows already."""

from __future__ import annotations

from dataclasses import dataclass

from .. import ConfigurationError
from .._dask.channel import Channel
from .._dask.kept import kept_plan
from .._dask.plan import Plan
from .._shared.connection import Link, RefusedError, UnreachableError
from .._shared.journal import RedisJournal
from ._job import Spread

PATIENCE = 5.0
"""Seconds for which it is tried to reach it: an address may be wrong."""


@dataclass(slots=True, frozen=True)
class Seen:
    """What was seen there.

    Attributes:
        plan: of an upload of this name; None: there is none.
        may_be_lost: what a crash may lose of a journal, in words; empty: nothing.
    """

    plan: Plan | None
    may_be_lost: str


async def looked_at(spread: Spread) -> Seen:
    """What there is for an upload of this name.

    Raises:
        ConfigurationError: it cannot be reached, or refuses.
        JournalError: it would lose a journal, or what it keeps cannot be read.
    """
    journal = RedisJournal(spread.redis, spread.journal)
    link = Link(spread.redis)
    try:
        await link.repeat(lambda: link.command("PING"), patience=PATIENCE)
        may_be_lost = await journal.check_redis()
        return Seen(await kept_plan(Channel(link, spread.journal)), may_be_lost)
    except (UnreachableError, RefusedError) as error:
        raise ConfigurationError(
            f"Redis at {link.name} cannot be used: {error}. Check its address and password, and that it runs."
        ) from None
    finally:
        await link.aclose()
