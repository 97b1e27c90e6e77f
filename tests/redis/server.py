"""A real redis-server on a port of this machine, with everything it writes in a folder of its own."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

REDIS = shutil.which("redis-server")

SECONDS = 10.0
"""How long it gets to start and to stop, before a test fails for it."""


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


class RedisServer:
    """Runs for as long as its block lasts.

    Args:
        options: of redis-server, beside what keeps it on this machine and in its folder.
        keeps: whether what it holds survives a restart.
    """

    def __init__(self, *options: str, keeps: bool = True) -> None:
        self.port = free_port()
        self._options = options
        self._keeps = keeps
        self._folder = tempfile.mkdtemp(prefix="redis-")
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def folder(self) -> Path:
        return Path(self._folder)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        shutil.rmtree(self._folder)

    def start(self) -> None:
        """Returns once it answers."""
        assert REDIS is not None
        keeping = ("--appendonly", "yes", "--appendfsync", "always") if self._keeps else ("--appendonly", "no")
        self._process = subprocess.Popen(
            [
                *(REDIS, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", self._folder, "--save", ""),
                *(*keeping, "--logfile", "redis.log", "--daemonize", "no", *self._options),
            ],
        )
        self._await_an_answer()

    def stop(self) -> None:
        """Ends it as a crash would."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait(SECONDS)

    def restart(self, seconds: float = 0.0) -> None:
        """It is gone for so long."""
        self.stop()
        time.sleep(seconds)
        self.start()

    def freeze(self) -> None:
        """It does not move, and its connections stay."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def say(self, *words: str) -> bytes:
        """One command by hand, without redis-py: what it answers, at most 64 kB."""
        with socket.create_connection(("127.0.0.1", self.port), 1.0) as connection:
            command = "".join(f"${len(word.encode())}\r\n{word}\r\n" for word in words)
            connection.sendall(f"*{len(words)}\r\n{command}".encode())
            return connection.recv(65_536)

    def _await_an_answer(self) -> None:
        give_up_at = time.monotonic() + SECONDS
        while time.monotonic() < give_up_at:
            assert self._process is not None
            assert self._process.poll() is None, (self.folder / "redis.log").read_text()
            with suppress(OSError):
                if self.say("PING").startswith((b"+PONG", b"-NOAUTH")):
                    return
            time.sleep(0.01)
        raise AssertionError("redis-server does not answer")
