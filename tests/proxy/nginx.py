"""A real nginx in front of a port of this machine, with everything it writes in a folder of its own."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import tempfile
from collections import Counter
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

# Debian keeps it where the PATH of an ordinary user does not lead.
NGINX = shutil.which("nginx", path=os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin"]))

SECONDS = 10.0
"""How long nginx gets to start, to reload and to stop, before a test fails for it."""

CONFIGURATION = """\
{user}
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log notice;
worker_processes 1;
events {{ worker_connections 1024; }}
http {{
    log_format statuses "$status $request_method $upstream_status";
    access_log {folder}/access.log statuses;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    upstream api {{
        server 127.0.0.1:{upstream};
        keepalive 32;
    }}
    {http}
    server {{
        listen 127.0.0.1:{port};
        {server}
        location / {{
            proxy_pass http://api;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
        }}
    }}
}}
"""


class Nginx:
    """Passes on what it gets to the port `upstream`, for as long as its block lasts.

    `http` and `server` are further directives for these two blocks of its configuration.
    """

    def __init__(self, upstream: int, *, http: str = "", server: str = "") -> None:
        self._upstream = upstream
        self._directives = {"http": http, "server": server}
        self._process: asyncio.subprocess.Process | None = None
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        self._folder = Path(tempfile.mkdtemp(prefix="nginx-"))
        try:
            await self._start()
        except BaseException:
            await self.__aexit__(None, None, None)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self.stop()
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)

    async def _start(self) -> None:
        assert NGINX is not None
        self.port = _free_port()
        configuration = CONFIGURATION.format(
            # Without it, the workers of root's nginx are somebody else, who may not enter the folder.
            user="user root;" if os.geteuid() == 0 else "",
            folder=self._folder,
            upstream=self._upstream,
            port=self.port,
            **self._directives,
        )
        path = self._folder / "nginx.conf"
        path.write_text(configuration)
        with (self._folder / "output").open("wb") as output:
            self._process = await asyncio.create_subprocess_exec(
                NGINX,
                *("-p", str(self._folder), "-c", str(path)),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                # A process group of its own, so that its workers can be ended whatever has become of the master.
                start_new_session=True,
            )
        async with asyncio.timeout(SECONDS):
            while not await self._answers():
                if self._process.returncode is not None:
                    raise RuntimeError(f"nginx did not start: {(self._folder / 'output').read_text()}")
                await asyncio.sleep(0.01)

    async def _answers(self) -> bool:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", self.port)
        except ConnectionRefusedError:
            return False
        writer.close()
        await writer.wait_closed()
        return True

    async def reload(self) -> None:
        """Reads the configuration again, as after a renewed certificate; comes back when a new worker is there."""
        assert self._process is not None
        before = self._workers()
        self._process.send_signal(signal.SIGHUP)
        async with asyncio.timeout(SECONDS):
            while not self._workers() - before:
                await asyncio.sleep(0.01)

    def _workers(self) -> set[int]:
        assert self._process is not None
        return {each.pid for each in psutil.Process(self._process.pid).children()}

    async def stop(self) -> None:
        """Ends it, by force where it does not go by itself."""
        if self._process is None:
            return
        process, self._process = self._process, None
        try:
            with suppress(ProcessLookupError):
                process.terminate()
            with suppress(TimeoutError):
                async with asyncio.timeout(SECONDS):
                    await process.wait()
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()

    def statuses(self, method: str | None = None) -> Counter[int]:
        """How often it has answered with each status, to requests of this method or to all."""
        lines = [line.split() for line in (self._folder / "access.log").read_text().splitlines()]
        return Counter(int(line[0]) for line in lines if method in (None, line[1]))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
