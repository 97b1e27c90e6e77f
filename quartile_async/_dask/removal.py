"""Removes what Redis keeps of an upload: it would stay for ever."""

from __future__ import annotations

import uuid

from .._errors import JournalError
from .._shared.connection import Link
from .._shared.journal import RedisJournal
from .channel import CallerEnd, Word
from .job import journal_of_part
from .kept import kept_plan

LEASE = 15.0
"""Seconds that this has before another caller may think it dead; it says so again before each journal."""


async def removed(url: str, name: str) -> None:
    """Removes the journals of all parts, and then the plan, so that what was interrupted can be run again.

    Raises:
        JournalError: the upload is under way, or Redis cannot be used.
    """
    link = Link(url)
    try:
        channel = CallerEnd(link, name, uuid.uuid4().hex, LEASE)
        if await channel.begin() > 0.0:
            raise JournalError(f"The upload {name!r} is under way. Stop it, or wait for its end; nothing was removed.")
        try:
            await _all_removed(channel, url, name)
        finally:
            await channel.keep(Word.OVER)
    finally:
        await link.aclose()


async def _all_removed(channel: CallerEnd, url: str, name: str) -> None:
    if (plan := await kept_plan(channel)) is None:
        return
    for part in plan.parts:
        await channel.keep(Word.LEAVE)
        await RedisJournal(url, journal_of_part(name, part.number)).remove()
    await channel.forget_plan()
