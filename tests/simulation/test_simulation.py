"""Hundreds of worlds; `python -m tests.simulation` lives through any number of them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from quartile_async import Outcome
from quartile_async._again import OVERTAKEN
from quartile_async._batch import BatchRun
from quartile_async._ordering import KeyOrder

from .checks import check
from .run import digest, simulated

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_every_promise_holds_in_hundreds_of_worlds() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.simulation", "--seeds", "300"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "300 seeds, 0 failed" in done.stdout


@pytest.mark.parametrize("seed", range(40))
def test_a_seed_replays_exactly(seed: int) -> None:
    assert digest(simulated(seed)) == digest(simulated(seed))


@pytest.mark.parametrize(
    "seed",
    [
        134,  # a 413 after an answer that was lost: not certainly refused
        1145,  # a 422 likewise
        311,  # and what was halved then, and left before it was sent again
        10691,  # a 429 that came in the moment in which its upload was left
    ],
)
def test_what_was_wrong_once_stays_right(seed: int) -> None:
    simulated(seed)


@pytest.mark.slow
def test_the_worlds_have_every_kind_of_ending() -> None:
    worlds = [simulated(seed) for seed in range(200)]
    stories = [story for world in worlds for story in world.stories]
    outcomes = {result.outcome for story in stories for result in story.got}
    errors = {type(story.error).__name__ for story in stories if story.error is not None}

    assert outcomes == set(Outcome)
    assert any(result.resent for story in stories for result in story.got)
    assert {result.outcome for story in stories for result in story.got if result.tries > 1} >= {
        Outcome.SUCCEEDED,
        Outcome.FAILED,
    }
    assert any(OVERTAKEN in result.message for story in stories for result in story.got)
    assert any(result.not_sent for story in stories if story.upload for result in story.upload.unaccounted)
    assert {"AuthenticationError", "OutageError", "ClientClosedError", "RateLimitError", "QuotaExceededError"} <= errors
    assert sum(not story.got for story in stories) < len(stories) / 2, "most worlds are no dead ends"


def test_a_client_that_loses_a_result_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    deliver = BatchRun._finish

    async def lossy(self: BatchRun, part: object, results: list[object], **options: bool) -> None:
        lost = results[1:] if len(results) > 1 else results
        await deliver(self, part, lost, **options)  # type: ignore[arg-type]  # on purpose

    monkeypatch.setattr(BatchRun, "_finish", lossy)

    def some_world() -> None:
        for seed in range(20):
            simulated(seed)

    with pytest.raises((AssertionError, TimeoutError)):
        some_world()


def test_a_client_that_sends_an_older_write_after_a_newer_one_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(KeyOrder, "has_newer", lambda *_: False)

    def some_world() -> None:
        for seed in range(200):
            simulated(seed)

    with pytest.raises((AssertionError, TimeoutError)):
        some_world()


def test_a_violation_of_the_contract_is_caught() -> None:
    world = simulated(1)
    world.emulator.violations.append("a request that the contract forbids")  # type: ignore[arg-type]  # any entry counts

    with pytest.raises(AssertionError, match="forbids"):
        check(world)


def test_a_failing_seed_is_printed_as_one_command(tmp_path: Path) -> None:
    code = (
        "import sys, tests.simulation.run as run\n"
        "def broken(world): raise AssertionError('on purpose')\n"
        "run.check = broken\n"
        "import tests.simulation.__main__ as main\n"
        "sys.argv = ['x', '--seeds', '2', '--first', '5', '--processes', '1']\n"
        "sys.exit(main.main())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)

    assert done.returncode == 1
    assert "python -m tests.simulation --seed 5" in done.stdout
    assert "on purpose" in done.stdout
