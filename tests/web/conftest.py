"""Applications on a real uvicorn, in a thread or in processes of their own, before an emulator."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from fastapi import FastAPI, Header, HTTPException

from quartile_async.emulator import ThreadedEmulator
from quartile_async.fastapi import quartile_lifespan, uploads_router

ROOT = Path(__file__).parents[2]


def items(count: int, first: int = 0) -> list[dict[str, Any]]:
    return [
        {"asin": f"B0{number:08d}", "countryCode": "US", "percACoS": 27.5} for number in range(first, first + count)
    ]


def options(emulator: ThreadedEmulator) -> dict[str, Any]:
    return {
        "base_url": emulator.url,
        "subscription_key": emulator.subscription_key,
        "auth": emulator.access_token,
    }


def current_user(x_user: str = Header("ana")) -> str:
    if x_user == "nobody":
        raise HTTPException(401, "Who are you?")
    return x_user


def application(
    emulator: ThreadedEmulator, folder: Path, client: Mapping[str, Any] | None = None, **limits: Any
) -> FastAPI:
    app = FastAPI(lifespan=quartile_lifespan(**options(emulator), **{"max_in_flight": 8} | dict(client or {})))
    app.include_router(uploads_router(folder=folder, owner=current_user, **limits), prefix="/uploads")
    return app


class Served:
    """An application that is served in a thread."""

    def __init__(self, app: FastAPI) -> None:
        self.app = app
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        config = uvicorn.Config(app, log_level="warning", lifespan="on", timeout_graceful_shutdown=2)
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._run)
        self.loop: asyncio.AbstractEventLoop | None = None
        self.left: list[str] = []

    def _run(self) -> None:
        async def serve() -> None:
            self.loop = asyncio.get_running_loop()
            await self._server.serve([self._listening])
            await asyncio.sleep(0.05)
            self.left = [str(task) for task in asyncio.all_tasks() if task is not asyncio.current_task()]

        asyncio.run(serve())

    def start(self) -> None:
        self._thread.start()
        until(lambda: self._server.started or not self._thread.is_alive())
        assert self._thread.is_alive(), "the application has not started"

    def stop(self) -> None:
        if not self._thread.is_alive():
            return
        self._server.should_exit = True
        self._thread.join(timeout=20)
        assert not self._thread.is_alive()
        assert self.left == [], "nothing is left in the loop"

    def tasks(self) -> list[str]:
        """The library's tasks in the application's loop."""

        async def names() -> list[str]:
            return [task.get_name() for task in asyncio.all_tasks() if "quartile_async" in task.get_name()]

        assert self.loop is not None
        return asyncio.run_coroutine_threadsafe(names(), self.loop).result(10)


@contextmanager
def served(app: FastAPI) -> Iterator[Served]:
    running = Served(app)
    running.start()
    try:
        yield running
    finally:
        running.stop()


@pytest.fixture
def serve() -> Iterator[Callable[[FastAPI], Served]]:
    """Serves applications until the test ends."""
    started: list[Served] = []

    def serve(app: FastAPI) -> Served:
        running = Served(app)
        running.start()
        started.append(running)
        return running

    yield serve
    for each in started:
        each.stop()


def until(condition: Callable[[], Any], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def client(url: str, **headers: str) -> httpx.Client:
    return httpx.Client(base_url=url, headers=headers, timeout=30)


def state(http: httpx.Client, name: str) -> Mapping[str, Any]:
    answer = http.get(f"/uploads/{name}")
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


def done(http: httpx.Client, name: str) -> int:
    """How many items of an upload have their results; nothing is told of one that has not begun."""
    return int((state(http, name)["progress"] or {}).get("done", 0))


class Worker:
    """An application in a process of its own."""

    def __init__(self, emulator: ThreadedEmulator, folder: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        environment = {
            **os.environ,
            "QUARTILE_BASE_URL": emulator.url,
            "QUARTILE_SUBSCRIPTION_KEY": emulator.subscription_key,
            "QUARTILE_ACCESS_TOKEN": emulator.access_token,
            "UPLOADS_FOLDER": str(folder),
            "PYTHONWARNINGS": "error",
        }
        command = [sys.executable, "-m", "uvicorn", "tests.web.app:app", "--port", str(port), "--log-level", "warning"]
        self.process = subprocess.Popen([*command, "--timeout-graceful-shutdown", "2"], cwd=ROOT, env=environment)
        self.http = client(self.url)
        until(self._answers)

    def _answers(self) -> bool:
        assert self.process.poll() is None
        try:
            return self.http.get("/uploads").status_code == 200
        except httpx.TransportError:
            return False

    def kill(self) -> None:
        self.process.kill()
        self.close()

    def close(self) -> None:
        self.http.close()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        self.process.wait(20)


@pytest.fixture
def worker(quartile_emulator: ThreadedEmulator, tmp_path: Path) -> Iterator[Callable[[], Worker]]:
    """Starts processes that share a folder."""
    started: list[Worker] = []

    def start() -> Worker:
        started.append(Worker(quartile_emulator, tmp_path / "uploads"))
        return started[-1]

    yield start
    for each in started:
        each.close()
