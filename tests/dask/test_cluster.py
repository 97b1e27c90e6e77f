"""How tasks end, as the caller hears of it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import CancelledError
from types import SimpleNamespace
from typing import Any

import pytest
from distributed import KilledWorker

from quartile_async._dask.cluster import Cluster
from quartile_async._dask.ends import TaskEnd
from quartile_async._dask.job import Address, Job
from quartile_async._dask.parts import Part, Partition
from quartile_async._dask.results import PartEnd, PartState
from quartile_async._resources import Resource

JOB = Job("a catalogue", "a run", Address("redis://localhost", has_secret=False), Resource("process/masterlist"))
FINISHED = PartEnd(0, PartState.FINISHED, read=100)


class Task:
    """A future of which the test says when it ends, and how."""

    def __init__(self) -> None:
        self.status = "pending"
        self.is_known = threading.Event()
        self.outcome: Any = None
        self.was_cancelled = False

    def add_done_callback(self, tell: Callable[[Task], None]) -> None:
        self._tell = tell

    def result(self) -> Any:
        assert self.is_known.wait(10.0)
        if isinstance(self.outcome, BaseException):
            raise self.outcome
        return self.outcome

    def cancel(self) -> None:
        self.was_cancelled = True

    def ends(self, status: str) -> threading.Thread:
        """Tells it in a thread of its own, as Dask does."""
        self.status = status
        thread = threading.Thread(target=self._tell, args=(self,))
        thread.start()
        return thread

    def ends_with(self, status: str, outcome: Any) -> None:
        self.outcome = outcome
        self.is_known.set()
        self.ends(status).join()


class Client:
    def __init__(self) -> None:
        self.tasks: list[Task] = []

    def compute(self, task: Any, priority: int) -> Task:
        self.tasks.append(Task())
        return self.tasks[-1]


@pytest.fixture
def client() -> Client:
    return Client()


@pytest.fixture
def cluster(client: Client) -> Cluster:
    cluster = Cluster(client, JOB, [Part(number, None, Partition(number)) for number in range(4)], None)
    cluster.submit(0)
    return cluster


def test_a_task_that_is_computed_again_after_its_end_is_not_waited_for(client: Client, cluster: Cluster) -> None:
    (task,) = client.tasks

    thread = task.ends("lost")
    assert cluster.take_ended() == []
    assert not cluster.is_idle
    task.outcome = FINISHED
    task.is_known.set()
    thread.join()

    assert cluster.take_ended() == [TaskEnd(0, FINISHED)]
    assert cluster.is_idle


@pytest.mark.parametrize(
    ("status", "outcome", "error", "workers_died"),
    [
        ("error", KilledWorker("a task", SimpleNamespace(address="tcp://1"), 3), "KilledWorker: ", True),
        ("error", ZeroDivisionError("by zero"), "ZeroDivisionError: by zero", False),
        ("cancelled", CancelledError("a task"), "Dask has cancelled it", False),
    ],
)
def test_a_task_that_did_not_come_to_its_end_says_why(
    client: Client, cluster: Cluster, status: str, outcome: Exception, error: str, workers_died: bool
) -> None:
    client.tasks[0].ends_with(status, outcome)

    (end,) = cluster.take_ended()

    assert (end.part, end.end, end.workers_died) == (0, None, workers_died)
    assert end.error.startswith(error)


def test_what_was_not_begun_is_given_up_and_what_was_is_awaited(client: Client, cluster: Cluster) -> None:
    cluster.submit(2)
    cluster.submit(3)

    assert cluster.give_up({0, 3}.__contains__) == [2]

    assert [task.was_cancelled for task in client.tasks] == [False, True, False]
    client.tasks[1].ends_with("cancelled", CancelledError("a task"))
    assert cluster.take_ended() == []
    assert cluster.cancel() == [0, 3]
    assert cluster.is_idle
