"""The client against the emulator's logic, without sockets and in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import looptime
from multidict import CIMultiDict

from quartile_async import ClientClosedError, TransportError
from quartile_async._answers import Answer
from quartile_async._http import TimedOutError
from quartile_async.emulator import Emulator, Request

R = TypeVar("R")

EPOCH = 1_700_000_000.0
"""Unix time at the beginning of each simulation."""

LATENCY = 0.01
"""Seconds that a request takes, and an answer."""

ONE_DAY = 24 * 3600.0


@dataclass(slots=True)
class Outage:
    """No request gets through from `start` to `end`; `how` is "refused", "lost", "silent" or "502"."""

    start: float
    end: float
    how: str


@dataclass(slots=True)
class Exchange:
    """One request as it was seen on the wire."""

    sent_at: float
    method: str
    path: str
    status: int = 0
    answered_at: float | None = None
    pause: float | None = None


@dataclass
class VirtualHttp:
    """Stands in for `quartile_async._http.Http`."""

    emulator: Emulator
    timeout: float
    headers: Mapping[str, str]
    outages: list[Outage] = field(default_factory=list)
    base_url: str = "http://127.0.0.1:1"
    seen: list[Exchange] = field(default_factory=list)
    open: int = 0
    most_open: int = 0
    closed: bool = False

    async def exchange(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str],
        body: bytes | None = None,
        goes_out: Callable[[], object] = lambda: None,
    ) -> Answer:
        if self.closed:
            raise ClientClosedError("The client is closed.")
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        try:
            return await self._exchange(method, path, {**self.headers, **headers}, body, goes_out)
        finally:
            self.open -= 1

    async def aclose(self) -> None:
        self.closed = True

    async def _exchange(
        self, method: str, path: str, headers: dict[str, str], body: bytes | None, goes_out: Callable[[], object]
    ) -> Answer:
        now = asyncio.get_running_loop().time
        seen = Exchange(now(), method, path)
        self.seen.append(seen)
        outage = next((each for each in self.outages if each.start <= now() < each.end), None)
        if outage is not None and outage.how == "refused":
            await asyncio.sleep(LATENCY)
            raise TransportError("nobody listens")
        goes_out()
        if outage is not None:
            # Silence lasts until the network is back: then the connection turns out to be dead.
            await asyncio.sleep(min(self.timeout, outage.end - now()) if outage.how == "silent" else LATENCY)
            if outage.how == "silent":
                raise TimedOutError("the time ran out", may_have_been_sent=body is not None)
            if outage.how == "lost":
                raise TransportError("the connection was lost", may_have_been_sent=body is not None)
            return Answer(f"{method} {path}", 502, CIMultiDict(), b"<html>Bad Gateway</html>")
        return await self._served(seen, Request(method, path, CIMultiDict(headers), body or b""))

    async def _served(self, seen: Exchange, request: Request) -> Answer:
        submits = bool(request.body)
        try:
            async with asyncio.timeout(self.timeout):
                await asyncio.sleep(LATENCY)
                exchange = self.emulator.receive(request)
                delivered = False
                try:
                    await asyncio.sleep(exchange.reply.delay + LATENCY)
                    delivered = not exchange.reply.dropped
                finally:
                    self.emulator.finish(exchange, delivered=delivered)
        except TimeoutError:
            raise TimedOutError("the time ran out", may_have_been_sent=submits) from None
        if exchange.reply.dropped:
            raise TransportError("the connection was lost", may_have_been_sent=submits)
        seen.status, seen.answered_at = exchange.reply.status, asyncio.get_running_loop().time()
        answer_headers = CIMultiDict(exchange.reply.all_headers)
        if seen.status == 429 and answer_headers.get("Retry-After", "").isdigit():
            seen.pause = float(answer_headers["Retry-After"])
        return Answer(f"{request.method} {request.path}", seen.status, answer_headers, exchange.reply.body)


def run_virtually(main: Callable[[], Coroutine[Any, Any, R]]) -> R:
    """Runs a coroutine function in virtual time; where it waits for what will never come, that is a TimeoutError."""

    async def within_days() -> R:
        async with asyncio.timeout(3 * ONE_DAY):
            return await main()

    loop = looptime.new_event_loop(start=0.0, noop_cycles=1)
    try:
        asyncio.set_event_loop(loop)
        return loop.run_until_complete(within_days())
    finally:
        asyncio.set_event_loop(None)
        loop.close()
