"""The API behind a socket, on the running event loop."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self

from aiohttp import web

from ._faults import Request
from ._surface import Surface

SHUTDOWN = 0.1
"""Seconds that answers under way get when the server stops."""


class Listener:
    """A socket, and what comes in by it."""

    def __init__(self, surface: Surface) -> None:
        self._surface = surface
        self._runner: web.ServerRunner | None = None

    async def start(self) -> None:
        """Listens, and tells the surface where."""
        if self._runner is not None:
            raise RuntimeError("this emulator is running already")
        # A client that hangs up cancels the handler, so that its batch is known to be lost at once.
        server = web.Server(self._handle, access_log=None, handler_cancellation=True)
        runner = self._runner = web.ServerRunner(server, shutdown_timeout=SHUTDOWN)
        await runner.setup()
        try:
            await web.TCPSite(runner, self._surface.host, self._surface.port).start()
        except BaseException:
            await self.stop()
            raise
        self._surface.listens_at(*runner.addresses[0][:2])

    async def stop(self) -> None:
        """Closes every connection. A batch's end is a matter of the clock: there is no task to wait for."""
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await request.content.read()
        path = request.raw_path.partition("?")[0]
        exchange = self._surface.receive(Request(request.method, path, request.headers, body))
        reply, delivered = exchange.reply, False
        try:
            if reply.delay:
                await asyncio.sleep(reply.delay)
            delivered = not reply.dropped and request.transport is not None and not request.transport.is_closing()
        finally:
            self._surface.finish(exchange, delivered=delivered)
        if reply.dropped and request.transport is not None:
            request.transport.abort()
        return web.Response(status=reply.status, body=reply.body, headers=reply.all_headers)


class Emulator(Surface):
    """The batch API on a port of this machine, on the running event loop.

        async with Emulator(processing=0.1) as emulator: ...

    It may be entered again after its block, and then goes on with the state it had. What the functions among its
    settings and rules raise is raised at the end of the block.
    """

    _listener: Listener | None = None

    async def __aenter__(self) -> Self:
        self._listener = self._listener or Listener(self)
        await self._listener.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._listener is not None
        await self._listener.stop()
        if error is None:
            self.raise_script_error()
