"""The API behind a socket, on an event loop and thread of its own."""

from __future__ import annotations

import asyncio
import threading
from types import TracebackType
from typing import Self

from ._server import Listener
from ._surface import Surface


class ThreadedEmulator(Surface):
    """The batch API on a port of this machine, on a thread of its own, for synchronous code.

        with ThreadedEmulator(processing=0.1) as emulator: ...

    It takes the settings of `Emulator` and offers the same. Functions among the settings and rules run on its thread.
    """

    _loop: asyncio.AbstractEventLoop | None = None
    _thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        if self._thread is not None:
            raise RuntimeError("this emulator is running already")
        self._started = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="quartile_async emulator", daemon=True)
        self._thread.start()
        self._started.wait()
        if self._failure is not None:
            self._join()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._stop.set)
        self._join()
        if error is None:
            self.raise_script_error()

    def _join(self) -> None:
        """Waits for the thread, and raises what it could not handle."""
        thread, self._thread, self._loop = self._thread, None, None
        if thread is not None:
            thread.join()
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:  # noqa: BLE001  # it is raised again in the thread that waits
            self._failure = error
        finally:
            self._started.set()

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        listener = Listener(self)
        await listener.start()
        self._started.set()
        try:
            await self._stop.wait()
        finally:
            await listener.stop()
