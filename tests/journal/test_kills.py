"""A process that is killed again and again; `.ci/run` does it for longer, with `python -m tests.journal.kills`."""

from __future__ import annotations

from pathlib import Path

import pytest

from .kills import killed_again_and_again


@pytest.mark.slow
@pytest.mark.timeout(100)
def test_however_often_it_is_killed_each_item_has_its_one_result_and_little_is_sent_twice(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tale = killed_again_and_again(items=6_000, kills=8, seed=5, folder=tmp_path)

    with capsys.disabled():
        print(f" {tale} ", end="")  # noqa: T201  # kills, resends and replays are told wherever it runs
    assert tale.kills == 8
    assert tale.replayed > 0
    assert tale.retold > 0
