"""Parts as tasks of a Dask cluster; what they return is small, and all that goes through its scheduler."""

from __future__ import annotations

import queue
from asyncio import CancelledError
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from .ends import TaskEnd
from .job import Job
from .parts import Part
from .task import run_part


class Cluster:
    """The tasks of one run.

    Args:
        client: a `distributed.Client`.
        job: what the workers are told.
        parts: all of them, by number.
        partition_of: gives what a task is given to get at the content of a part, where it is one of a collection.
    """

    def __init__(
        self, client: Any, job: Job, parts: Sequence[Part], partition_of: Callable[[Part], Any] | None
    ) -> None:
        self._client = client
        self._job = job
        self._parts = parts
        self._partition_of = partition_of
        self._running: dict[Any, int] = {}
        self._ended: queue.SimpleQueue[tuple[Any, TaskEnd]] = queue.SimpleQueue()
        self._submitted = 0

    @property
    def is_idle(self) -> bool:
        """Whether no task is under way, and the end of each was taken."""
        return not self._running

    def submit(self, number: int) -> None:
        """Has a worker upload this part."""
        from dask.delayed import delayed

        part = self._parts[number]
        data = () if self._partition_of is None else (self._partition_of(part),)
        name = f"quartile-upload-{self._job.run}-{number}-{self._submitted}"
        task = delayed(run_part, pure=False)(self._job, part, *data, dask_key_name=name)
        # The first ones first, as far as others of that cluster let them.
        future = self._client.compute(task, priority=-self._submitted)
        self._submitted += 1
        self._running[future] = number
        future.add_done_callback(self._note_end)

    def take_ended(self) -> list[TaskEnd]:
        """The tasks that have ended since this was asked last; it waits for nothing."""
        ends: list[TaskEnd] = []
        while True:
            try:
                future, told = self._ended.get_nowait()
            except queue.Empty:
                return ends
            if (part := self._running.pop(future, None)) is not None:
                ends.append(replace(told, part=part))

    def _note_end(self, future: Any) -> None:
        """Runs in a thread of Dask's: a task whose worker died with what it returned is run once more.

        Whoever takes the results may not wait for that: that task, too, waits for room for its results.
        """
        self._ended.put((future, _end_of(future)))

    def give_up(self, is_awaited: Callable[[int], bool]) -> list[int]:
        """Gives up the parts that are not awaited, and gives them: they may wait for others for hours."""
        given_up = {future: part for future, part in self._running.items() if not is_awaited(part)}
        for future in given_up:
            del self._running[future]
            future.cancel()
        return list(given_up.values())

    def cancel(self) -> list[int]:
        """Gives up all that has not ended; what runs in a worker's thread ends by what it hears from Redis."""
        return self.give_up(lambda part: False)


def _end_of(future: Any) -> TaskEnd:
    """How a task ended, of whichever part it is."""
    from distributed import KilledWorker

    try:
        return TaskEnd(-1, future.result())
    except KilledWorker as error:
        return TaskEnd(-1, error=f"KilledWorker: {error}", workers_died=True)
    except (Exception, CancelledError) as error:  # noqa: BLE001  # whatever the task has raised, or Dask itself
        if future.status == "error":
            return TaskEnd(-1, error=f"{type(error).__name__}: {error}")
    return TaskEnd(-1, error=f"Dask has {future.status} it: its scheduler may be gone, or the client was closed.")
