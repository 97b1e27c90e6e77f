"""A server of raw bytes: it says whatever a test wants, also what no HTTP library would let it say."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self, TypeAlias


@dataclass(slots=True, frozen=True)
class Asked:
    """A request as it came in; the names of the headers are in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    head: bytes
    body: bytes


Act: TypeAlias = Callable[[asyncio.StreamWriter], Awaitable[object]]
Reply: TypeAlias = bytes | Act
"""What is written, on a connection that stays open; or what is done with it, and it is closed afterwards."""


class RawServer:
    """Answers each request with what `answer` gives for it, and remembers the requests."""

    def __init__(self, answer: Callable[[Asked], Reply], tls: ssl.SSLContext | None = None) -> None:
        self._answer = answer
        self._tls = tls
        self._server: asyncio.Server | None = None
        self._serving: set[asyncio.Task[Any]] = set()
        self.requests: list[Asked] = []
        self.port = 0

    @property
    def url(self) -> str:
        return f"{'http' if self._tls is None else 'https'}://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._serving:
            task.cancel()
        if self._serving:
            await asyncio.wait(self._serving)

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                reply = self._answer(await self._read(reader))
                if callable(reply):
                    await reply(writer)
                    return
                writer.write(reply)
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the client has hung up
        finally:
            writer.transport.abort() if writer.transport.is_closing() else writer.close()

    async def _read(self, reader: asyncio.StreamReader) -> Asked:
        head = await reader.readuntil(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").strip().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        method, path, _ = first.split(" ")
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        asked = Asked(method, path, headers, head, body)
        self.requests.append(asked)
        return asked


def http(status: int, content: Any = b"", *headers: str, length: int | None = None) -> bytes:
    """A whole answer; `content` is bytes, or becomes JSON. `length`: another Content-Length than the true one."""
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    lines = [f"HTTP/1.1 {status} Said", f"Content-Length: {len(body) if length is None else length}", *headers]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def chunked(*parts: bytes, headers: str = "") -> bytes:
    """The beginning of an answer in chunks, as they are given: nothing is put around them."""
    return b"HTTP/1.1 200 Said\r\nTransfer-Encoding: chunked\r\n" + headers.encode() + b"\r\n" + b"".join(parts)
