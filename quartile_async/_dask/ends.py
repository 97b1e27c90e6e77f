"""What follows from the end of a task: whether its parts are run again, or what became of them. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from .results import PartEnd, PartState

IN_VAIN = 3
"""How often a chain may be run again without a new result: its items may be what kills its workers."""

HOPELESS = ("QuotaExceededError", "SharedQuotaError")
OF_AN_ACCOUNT = ("AuthenticationError", "PermissionDeniedError")
"""Errors after which other parts would fare no better; the latter, where they have the same account."""


@dataclass(slots=True, frozen=True)
class ChainEnd:
    """How the task of a chain ended.

    Attributes:
        chain: the numbers of its parts.
        ends: what became of them; none where the task itself did not come to its end.
        error: why not.
        workers_died: whether that is because the workers died that had it.
    """

    chain: tuple[int, ...]
    ends: Sequence[PartEnd] = ()
    error: str = ""
    workers_died: bool = False


def why_again(end: ChainEnd, known: Callable[[int], int], *, stopped: bool) -> str:
    """Why a chain is to be run again; empty where it is not.

    Args:
        end: of its task.
        known: gives how many results of a part are known.
        stopped: whether the run was stopped.
    """
    if any(each.state is PartState.FINISHED and known(each.part) < each.read for each in end.ends):
        return "Redis has lost results, as by a restart without its last second"
    if stopped:
        return ""
    if end.workers_died:
        return "the workers that had it have died"
    # Where a part has failed, those behind it are not begun; where it is the first one, its worker was told to leave.
    if end.ends and (
        end.ends[0].state is PartState.NOT_BEGUN or any(each.state is PartState.STOPPED for each in end.ends)
    ):
        return "its worker took this caller, which had given no sign of life, for dead"
    return ""


def ends_of(end: ChainEnd, why: str, *, stopped: bool) -> list[PartEnd]:
    """What became of a chain's parts, which is not run again; `why`: it would be, but was too often."""
    if end.ends and not why:
        return list(end.ends)
    if stopped and end.workers_died:
        return [PartEnd(part, PartState.STOPPED) for part in end.chain]
    told = {each.part: each for each in end.ends}
    error = f"It was run again {IN_VAIN} times, and came no further: {why}.{_hint(end)}" if why else end.error
    return [
        each
        if (each := told.get(part, PartEnd(part, PartState.NOT_BEGUN))).state is PartState.FINISHED and not why
        else replace(each, state=PartState.FAILED, error=each.error or error)
        for part in end.chain
    ]


def _hint(end: ChainEnd) -> str:
    return " It may need more memory than a worker has: their logs say why they died." if end.workers_died else ""


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


def ends_all(error: str, *, has_accounts: bool) -> bool:
    """Whether after an error, told with the name of its class before it, other parts would fare no better."""
    name = error.partition(":")[0]
    return name in HOPELESS or (name in OF_AN_ACCOUNT and not has_accounts)


class Patience:
    """Counts how often each chain is run again without a new result."""

    def __init__(self) -> None:
        self._in_vain: dict[tuple[int, ...], tuple[int, int]] = {}

    def allows(self, chain: tuple[int, ...], known: int) -> bool:
        """Whether to run it again; `known`: its results so far."""
        count, before = self._in_vain.get(chain, (0, -1))
        count = count + 1 if known == before else 1
        self._in_vain[chain] = (count, known)
        return count <= IN_VAIN
