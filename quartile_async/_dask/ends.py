"""What follows from the end of a task: whether its part is run again, or what became of it. No I/O."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from .results import PartEnd, PartState

IN_VAIN = 3
"""How often a part may be run again without a new result: its items may be what kills its workers."""

HOPELESS = ("QuotaExceededError", "SharedQuotaError")
OF_AN_ACCOUNT = ("AuthenticationError", "PermissionDeniedError")
"""Errors after which other parts would fare no better; the latter, where they have the same account."""


@dataclass(slots=True, frozen=True)
class TaskEnd:
    """How the task of a part ended.

    Attributes:
        part: its number.
        end: what became of the part; None where the task itself did not come to its end.
        error: why not.
        workers_died: whether that is because the workers died that had it.
    """

    part: int
    end: PartEnd | None = None
    error: str = ""
    workers_died: bool = False


def why_again(task: TaskEnd, known: int, *, stopped: bool) -> str:
    """Why a part is to be run again; empty where it is not.

    Args:
        task: how its task ended.
        known: how many of its results are known.
        stopped: whether the run was stopped.
    """
    state = None if task.end is None else task.end.state
    if task.end is not None and state is PartState.FINISHED and known < task.end.read:
        return "Redis has lost results, as by a restart without its last second"
    if stopped:
        return ""
    if task.workers_died:
        return "the workers that had it have died"
    if state in (PartState.NOT_BEGUN, PartState.STOPPED):
        return "its worker took this caller, which had given no sign of life, for dead"
    return ""


def end_of(task: TaskEnd, why: str, *, stopped: bool) -> PartEnd:
    """What became of a part, which is not run again; `why`: it would be, but was too often."""
    if task.end is not None and not why:
        return task.end
    if stopped and task.workers_died:
        return PartEnd(task.part, PartState.STOPPED)
    end = task.end or PartEnd(task.part, PartState.NOT_BEGUN)
    error = f"It was run again {IN_VAIN} times, and came no further: {why}.{_hint(task)}" if why else task.error
    return replace(end, state=PartState.FAILED, error=end.error or error)


def _hint(task: TaskEnd) -> str:
    return " It may need more memory than a worker has: their logs say why they died." if task.workers_died else ""


def as_told(end: PartEnd, told: Mapping[str, Any] | None, known: int) -> PartEnd:
    """The end of a part whose worker has said nothing of it in the end, by what was told of it before.

    One that died, or was not waited for, may have batches in flight; another one that had the part after it, and was
    stopped before it began, does not know of them.

    Args:
        end: what is known of its end.
        told: what was told of it; None: it was not begun.
        known: how many of its items have a result.
    """
    if end.read or told is None:
        return end
    read = told.get("read", 0)
    return replace(
        end,
        state=PartState.STOPPED if end.state is PartState.NOT_BEGUN else end.state,
        read=read,
        batches=told.get("batches_submitted", 0),
        in_doubt=max(0, read - known),
    )


class Reach(enum.Enum):
    """Which other parts would fare no better after the error of one."""

    NONE = enum.auto()
    OF_ITS_ACCOUNT = enum.auto()
    ALL = enum.auto()


def reach_of(error: str, *, has_accounts: bool) -> Reach:
    """How far an error reaches, told with the name of its class before it."""
    name = error.partition(":")[0]
    if name in HOPELESS:
        return Reach.ALL
    if name in OF_AN_ACCOUNT:
        return Reach.OF_ITS_ACCOUNT if has_accounts else Reach.ALL
    return Reach.NONE


class Patience:
    """Counts how often each part is run again without a new result."""

    def __init__(self) -> None:
        self._in_vain: dict[int, tuple[int, int]] = {}

    def allows(self, part: int, known: int) -> bool:
        """Whether to run it again; `known`: its results so far."""
        count, before = self._in_vain.get(part, (0, -1))
        count = count + 1 if known == before else 1
        self._in_vain[part] = (count, known)
        return count <= IN_VAIN
