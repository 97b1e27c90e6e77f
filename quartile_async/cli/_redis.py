"""Redis, looked at before anything is sent: that it is there, keeps what it is told, and what it knows already."""

from __future__ import annotations

from .. import ConfigurationError
from .._dask.channel import CallerEnd
from .._shared.connection import Link, RefusedError, UnreachableError
from .._shared.journal import RedisJournal
from ._job import Spread

PATIENCE = 5.0
"""Seconds for which it is tried to reach it: an address may be wrong."""


async def looked_at(spread: Spread) -> bool:
    """Whether Redis knows an upload of this name.

    Raises:
        ConfigurationError: it cannot be reached, or refuses.
        JournalError: it would lose a journal.
    """
    journal = RedisJournal(spread.redis, spread.journal)
    link = Link(spread.redis)
    try:
        await link.repeat(lambda: link.command("PING"), patience=PATIENCE)
        await journal.check_redis()
        return await CallerEnd(link, spread.journal, "", 0.0).plan() is not None
    except (UnreachableError, RefusedError) as error:
        raise ConfigurationError(
            f"Redis at {link.name} cannot be used: {error}. Check its address and password, and that it runs."
        ) from None
    finally:
        await link.aclose()
