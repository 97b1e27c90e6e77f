"""A cluster of Dask in processes of its own: its sockets and threads are not those of the tests that run beside it.

python -m tests.dask.cluster 2 1 prints the scheduler's address, and ends with its standard input.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import distributed

ROOT = Path(__file__).parents[2]


@dataclass(slots=True, frozen=True)
class RunningCluster:
    """Attributes: the address at which its scheduler listens."""

    scheduler_address: str


@contextmanager
def running_cluster(environment: Mapping[str, str], *, workers: int = 2, threads: int = 1) -> Iterator[RunningCluster]:
    """A cluster for as long as the block lasts, whose workers have this in their environment, too."""
    command = [sys.executable, "-m", "tests.dask.cluster", str(workers), str(threads)]
    with subprocess.Popen(
        command, cwd=ROOT, env={**os.environ, **environment}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield RunningCluster(process.stdout.readline().strip())
        finally:
            process.stdin.close()


def main(workers: str, threads: str) -> None:
    with distributed.LocalCluster(
        n_workers=int(workers), threads_per_worker=int(threads), processes=True, dashboard_address="127.0.0.1:0"
    ) as cluster:
        print(cluster.scheduler_address, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main(*sys.argv[1:])
