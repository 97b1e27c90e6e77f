"""Tasks on a cluster, of which the caller awaits the results."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from quartile_async import QuartileError
from quartile_async._dask.tasks import Call, Tasks


def slept(seconds: float) -> None:
    time.sleep(seconds)


def test_a_task_that_the_cluster_gives_up_is_an_error_that_says_what_to_do(dask_client: Any) -> None:
    def cancel_once_it_runs() -> None:
        while not any(dask_client.processing().values()):
            time.sleep(0.01)
        dask_client.cancel(list(tasks._running), force=True)

    with Tasks(dask_client) as tasks:
        threading.Thread(target=cancel_once_it_runs).start()
        with pytest.raises(
            QuartileError, match=r"given up a task that looks at the input \(sleep\): .* Nothing was sent"
        ):
            tasks.results("sleep", [Call(slept, (5.0,))], at_once=1)
