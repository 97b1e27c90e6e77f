"""Everything is killed, but for the server; `python -m tests.dask.kills` does more of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from ..redis.conftest import WHY
from ..redis.server import REDIS
from .kills import killed_again_and_again


@pytest.mark.slow
@pytest.mark.skipif(REDIS is None, reason=WHY)
@pytest.mark.timeout(300)
def test_each_item_has_one_true_result_whatever_is_killed(tmp_path: Path) -> None:
    tale = killed_again_and_again(items=20_000, kills=5, seed=4, folder=tmp_path)

    assert set(tale.done.values()) == {1}, "each way once"
    assert tale.replayed > 0
