"""A redis-server for as long as a benchmark lasts; what it writes goes with it."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from tempfile import TemporaryDirectory

from .runner import BenchmarkError

SECONDS = 10.0
"""How long it gets to start."""


@contextmanager
def running_redis(*, with_file: bool = False) -> Iterator[str]:
    """Gives its URL; `with_file`: it writes what it does to a file, as a journal wants it.

    Raises:
        BenchmarkError: it is not installed, or does not start.
    """
    command = shutil.which("redis-server")
    if command is None:
        raise BenchmarkError("redis-server is not installed (Debian: apt-get install redis-server)")
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    with TemporaryDirectory() as folder:
        options = ("--port", str(port), "--bind", "127.0.0.1", "--dir", folder, "--save", "", "--logfile", "log")
        keeping = ("--appendonly", "yes") if with_file else ()
        process = subprocess.Popen([command, *options, *keeping])
        try:
            _await(port)
            yield f"redis://127.0.0.1:{port}/0"
        finally:
            process.kill()
            process.wait()


def _await(port: int) -> None:
    give_up_at = time.monotonic() + SECONDS
    while time.monotonic() < give_up_at:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1.0):
            return
        time.sleep(0.01)
    raise BenchmarkError("redis-server does not answer")
