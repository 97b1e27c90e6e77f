"""Tasks on a cluster whose results are small, and awaited in the caller's thread."""

from __future__ import annotations

import queue
import uuid
from collections.abc import Callable, Iterable
from concurrent.futures import CancelledError
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from .._errors import QuartileError, clause_of

LOOK = 0.25
"""Seconds between two times at which it is looked whether to go on."""


@dataclass(slots=True, frozen=True)
class Call:
    """What a task does.

    Attributes:
        run: a function of a module that workers can import.
        arguments: for it; they travel through the scheduler.
        data: a Delayed whose value is its last argument, and goes from worker to worker; None: there is none.
    """

    run: Callable[..., Any]
    arguments: tuple[Any, ...]
    data: Any = None


class Tasks:
    """The tasks of one caller, to be used with `with`: at the end of the block none is left on the cluster.

    Args:
        client: a `distributed.Client` that is not asynchronous.
        check: is called now and then while results are awaited; what it raises ends that.
    """

    def __init__(self, client: Any, check: Callable[[], object] = lambda: None) -> None:
        self._client = client
        self._check = check
        self._id = uuid.uuid4().hex
        self._count = 0
        self._running: dict[Any, int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        running, self._running = list(self._running), {}
        if running:
            self._client.cancel(running, force=True)

    def results(self, name: str, calls: Iterable[Call], *, at_once: int) -> list[Any]:
        """What the calls return, in their order; no more than so many at once are known to the cluster.

        Args:
            name: by which the dashboard shows them.
            calls: they are taken as there is room.
            at_once: at least 1.

        Raises:
            QuartileError: the cluster has given one of them up.
            Exception: the first that one of them has raised, or `check`. The others are given up.
        """
        from distributed import KilledWorker

        waiting, results = enumerate(calls), dict[int, Any]()
        ended: queue.SimpleQueue[Any] = queue.SimpleQueue()
        for place, call in waiting:
            self._begin(name, place, call, ended)
            if len(self._running) == at_once:
                break
        while self._running:
            self._check()
            try:
                future = ended.get(timeout=LOOK)
            except queue.Empty:
                continue
            try:
                results[self._running.pop(future)] = future.result()
            except (KilledWorker, CancelledError) as error:
                raise QuartileError(
                    f"The cluster has given up a task that looks at the input ({name}): {clause_of(error)}. Nothing "
                    "was sent. See to its scheduler and its workers, and call the same again."
                ) from error
            for place, call in waiting:
                self._begin(name, place, call, ended)
                break
        return [results[place] for place in range(len(results))]

    def _begin(self, name: str, place: int, call: Call, ended: queue.SimpleQueue[Any]) -> None:
        # Whoever holds the partition's own future holds the partition in a worker's memory; here it is the task alone.
        data = () if call.data is None else (self._client.compute(call.data),)
        self._count += 1
        future = self._client.submit(
            call.run, *call.arguments, *data, key=f"quartile-{name}-{self._id}-{self._count}", pure=False
        )
        self._running[future] = place
        future.add_done_callback(ended.put)


def threads_of(client: Any) -> int:
    """How many tasks the cluster can run at once, now."""
    threads: int = sum(client.nthreads().values())
    return max(1, threads)
