"""An earlier upload of the same name, in Redis: it is gone on with, or makes way for the one that is asked for now."""

from __future__ import annotations

import enum
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import anyio
import anyio.to_thread

from .. import ConfigurationError, JournalError, QuartileError, Resource
from .._dask.inputs import input_of
from .._dask.kept import finished_at
from .._dask.parts import OtherInputError
from .._dask.plan import Plan
from .._dask.planning import check_still_fits
from ._job import Spread
from ._words import moment

LEAVING = 5.0
"""Seconds for which the end of a look is waited for, when nobody wants it any more."""

WAYS_OUT = (
    "On the command line: --journal NAME begins another upload; --restart removes what stands under this name, and "
    "sends all of it anew."
)


@dataclass(slots=True, frozen=True)
class Former:
    """An upload that Redis knows by the name.

    Attributes:
        part_items: the most items of its parts.
        changed: in what its input was another one; None: in nothing, or nobody wants to know.
        finished_at: of another input: Unix time at which all of it had its final results, 0.0 where it had no items;
            None: it had not.
    """

    part_items: int
    changed: OtherInputError | None = None
    finished_at: float | None = None


class Way(enum.Enum):
    """What becomes of it."""

    BEGIN = enum.auto()
    """There is none."""
    GO_ON = enum.auto()
    REPLACE = enum.auto()
    """It is removed, and all is uploaded."""


def way_on(former: Former | None, spread: Spread) -> Way:
    """What to do with the upload that is known by the name.

    Raises:
        JournalError: its input was another one, and it has not finished.
    """
    if former is None:
        return Way.BEGIN
    if spread.restart:
        return Way.REPLACE
    if former.changed is None:
        return Way.GO_ON
    if former.finished_at is None:
        raise JournalError(
            f"{former.changed} The former upload had not finished. Nothing was sent. {WAYS_OUT}"
        ) from former.changed
    return Way.REPLACE


def told_of(former: Former | None, way: Way, spread: Spread) -> Iterator[str]:
    """What people should know of it before anything is sent, a line each."""
    if former is None or spread.restart:
        return
    if way is Way.REPLACE:
        at = former.finished_at
        what = f"was uploaded completely on {moment(at)}" if at else "had no items"
        yield (
            f"What stands under the name {spread.journal} {what}; the input has changed since: what stands there is "
            "removed, and all of it is uploaded."
        )
        return
    yield f"An upload of the name {spread.journal} was begun before: it is gone on with."
    if spread.part_items not in (None, former.part_items):
        yield (
            f"It was divided into parts of at most {former.part_items:,} items when it was begun; --part-items counts "
            "for new uploads."
        )


async def former_of(
    plan: Plan | None, spread: Spread, given: Any, resource: Resource[Any], client: Any
) -> Former | None:
    """The upload that is known by the name, beside what is to be uploaded now.

    Args:
        plan: its plan, where there is one.
        spread: what is asked for.
        given: the files, as `quartile_async.dask.upload` takes them.
        resource: what their items are.
        client: a `distributed.Client` that is not asynchronous.

    Raises:
        ConfigurationError: the workers cannot look at the files.
        JournalError: one of the files is not there, or Redis cannot be used.
    """
    if plan is None:
        return None
    if spread.restart or (changed := await _difference(plan, given, resource, client)) is None:
        return Former(plan.part_items)
    return Former(plan.part_items, changed, await finished_at(spread.redis, spread.journal))


class _NobodyWaitsError(Exception):
    """What is looked at is not wanted any more."""


async def _difference(plan: Plan, given: Any, resource: Resource[Any], client: Any) -> OtherInputError | None:
    """In what the files are others than those that were divided, as the workers see them; None: in nothing."""
    unwanted, ended = threading.Event(), threading.Event()

    def check() -> None:
        if unwanted.is_set():
            raise _NobodyWaitsError

    def look() -> None:
        try:
            check_still_fits(plan, input_of(given), resource, client, check=check)
        finally:
            ended.set()

    try:
        await anyio.to_thread.run_sync(look)
    except OtherInputError as error:
        return error
    except JournalError as error:
        raise JournalError(f"{error} {WAYS_OUT}") from error
    except QuartileError as error:
        raise ConfigurationError(str(error)) from error
    finally:
        # Ctrl-C while no worker is there: the client is closed behind this, and may not be in use then.
        unwanted.set()
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(partial(ended.wait, LEAVING))
    return None
