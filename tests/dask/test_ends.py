"""Which ends of tasks are ends of their parts, and which are run again."""

from __future__ import annotations

import pytest

from quartile_async._dask.ends import IN_VAIN, Patience, Reach, TaskEnd, as_told, end_of, reach_of, why_again
from quartile_async._dask.results import PartEnd, PartsFailedError, PartState

FINISHED, STOPPED, FAILED = (
    PartEnd(0, PartState.FINISHED, read=100),
    PartEnd(0, PartState.STOPPED, read=50, unsent=50),
    PartEnd(0, PartState.FAILED, read=50, error="AuthenticationError: no"),
)
NOT_BEGUN = PartEnd(1, PartState.NOT_BEGUN)
KILLED = TaskEnd(0, error="KilledWorker: ...", workers_died=True)
GONE = TaskEnd(0, error="Dask has cancelled it")


@pytest.mark.parametrize(
    ("task", "known", "stopped", "again"),
    [
        (TaskEnd(0, FINISHED), 100, False, ""),
        (TaskEnd(0, FINISHED), 99, False, "Redis has lost results"),
        (TaskEnd(0, FINISHED), 99, True, "Redis has lost results"),
        (TaskEnd(0, STOPPED), 0, True, ""),
        (TaskEnd(0, STOPPED), 0, False, "its worker took this caller"),
        (TaskEnd(1, NOT_BEGUN), 0, True, ""),
        (TaskEnd(1, NOT_BEGUN), 0, False, "its worker took this caller"),
        (TaskEnd(0, FAILED), 0, False, ""),
        (KILLED, 0, False, "the workers that had it have died"),
        (KILLED, 0, True, ""),
        (GONE, 0, False, ""),
    ],
)
def test_a_part_is_run_again_where_more_can_be_learned(task: TaskEnd, known: int, stopped: bool, again: str) -> None:
    why = why_again(task, known, stopped=stopped)

    assert why.startswith(again)
    assert bool(why) is bool(again)


@pytest.mark.parametrize(
    ("task", "why", "stopped", "state"),
    [
        (TaskEnd(0, FINISHED), "", False, PartState.FINISHED),
        (TaskEnd(0, FAILED), "", False, PartState.FAILED),
        (TaskEnd(0, FINISHED), "results were lost", False, PartState.FAILED),
        (KILLED, "", True, PartState.STOPPED),
        (KILLED, "they died", False, PartState.FAILED),
        (GONE, "", False, PartState.FAILED),
        (TaskEnd(0, STOPPED), "it stood still", False, PartState.FAILED),
    ],
)
def test_each_part_has_an_end_that_says_why(task: TaskEnd, why: str, stopped: bool, state: PartState) -> None:
    end = end_of(task, why, stopped=stopped)

    assert (end.part, end.state) == (0, state)
    assert bool(end.error) is (state is PartState.FAILED)


TOLD = {"read": 70, "batches_submitted": 6}


@pytest.mark.parametrize(
    ("end", "told", "known", "expected"),
    [
        (NOT_BEGUN, None, 0, NOT_BEGUN),
        (NOT_BEGUN, {}, 0, PartEnd(1, PartState.STOPPED)),
        (NOT_BEGUN, TOLD, 50, PartEnd(1, PartState.STOPPED, read=70, batches=6, in_doubt=20)),
        (PartEnd(1, PartState.STOPPED), TOLD, 80, PartEnd(1, PartState.STOPPED, read=70, batches=6)),
        (
            PartEnd(1, PartState.FAILED, error="KilledWorker"),
            TOLD,
            0,
            PartEnd(1, PartState.FAILED, read=70, batches=6, in_doubt=70, error="KilledWorker"),
        ),
        (FINISHED, TOLD, 0, FINISHED),
        (STOPPED, TOLD, 0, STOPPED),
    ],
)
def test_a_part_whose_worker_has_died_is_told_by_what_it_had_told_before(
    end: PartEnd, told: dict[str, int] | None, known: int, expected: PartEnd
) -> None:
    assert as_told(end, told, known) == expected


def test_a_part_whose_workers_die_again_and_again_says_where_to_look() -> None:
    end = end_of(KILLED, "the workers that had it have died", stopped=False)

    assert end.error.startswith("It was run again 3 times, and came no further: the workers that had it have died. ")
    assert end.error.endswith("their logs say why they died.")


def test_an_error_says_of_the_other_parts_what_is_so() -> None:
    alone, all_but_one, some = (
        PartsFailedError([FAILED], 1, 0),
        PartsFailedError([FAILED], 3, 2),
        PartsFailedError([FAILED, FAILED], 9, 4),
    )

    assert "Part 0 of 1 ended by an error: AuthenticationError: no. `ends` says" in str(alone)
    assert "AuthenticationError: no. The others have their results. `ends` says" in str(all_but_one)
    assert "So did 1 more. 4 have their results, 3 were not finished. `ends` says" in str(some)


def test_a_part_that_comes_no_further_is_given_up_and_one_that_does_is_not() -> None:
    patience = Patience()

    assert all(patience.allows(0, known) for known in range(10 * IN_VAIN))
    assert [patience.allows(1, 5) for _ in range(IN_VAIN + 1)] == [True] * IN_VAIN + [False]
    assert patience.allows(1, 6)


@pytest.mark.parametrize(
    ("error", "has_accounts", "reach"),
    [
        ("QuotaExceededError: used up", True, Reach.ALL),
        ("AuthenticationError: refused", False, Reach.ALL),
        ("AuthenticationError: refused", True, Reach.OF_ITS_ACCOUNT),
        ("PermissionDeniedError: may not", False, Reach.ALL),
        ("PermissionDeniedError: may not", True, Reach.OF_ITS_ACCOUNT),
        ("FileNotFoundError: gone", False, Reach.NONE),
        ("", False, Reach.NONE),
    ],
)
def test_an_error_ends_the_parts_that_would_not_survive_it(error: str, has_accounts: bool, reach: Reach) -> None:
    assert reach_of(error, has_accounts=has_accounts) is reach
