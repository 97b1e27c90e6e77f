"""What Redis keeps of an upload once its run is over: the plan of its parts, and whether all of them have finished."""

from __future__ import annotations

from .._shared.connection import Link
from .._shared.journal import RedisJournal
from .channel import Channel
from .job import journal_of_part
from .plan import Plan


async def kept_plan(channel: Channel) -> Plan | None:
    """The plan of the upload of this name; None where there is none.

    Raises:
        JournalError: it cannot be read, or Redis cannot be used.
    """
    kept = await channel.plan()
    return None if kept is None else Plan.from_json(kept)


async def finished_at(url: str, name: str) -> float | None:
    """When the last part of an upload had finished, as Unix time: each of its items had its final result.

    It is None where a part has not finished, or nothing is kept under this name; 0.0 where the input had no items.

    Raises:
        JournalError: what is kept cannot be read, or Redis cannot be used.
    """
    link = Link(url)
    try:
        plan = await kept_plan(Channel(link, name))
    finally:
        await link.aclose()
    if plan is None:
        return None
    last = 0.0
    for part in plan.parts:
        contents = await RedisJournal(url, journal_of_part(name, part.number)).contents()
        if contents is None or contents.finished_at is None:
            return None
        last = max(last, contents.finished_at)
    return last
