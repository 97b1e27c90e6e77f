"""The API behind a socket: `Emulator` on the running loop, `ThreadedEmulator` on one of its own."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, Literal, Self

from aiohttp import web

from ._faults import Fault, Faults, Request
from ._gateway import Gateway, RateLimit
from ._processing import Batch, Behaviour, Processing, Processor
from ._service import RequestRecord, Routes, Service, Violation, streams

MOST_BODY = 64 * 1024 * 1024


class Emulator:
    """The batch API on a port of this machine.

    Args:
        host, port: where it listens; port 0 takes a free one.
        seed: everything random follows from it and from the order of submits.
        prefix: what stands before the resources in the paths.
        batch_paths: the spelling of the paths that it serves: "example", "table", or "both".
        processing: seconds from a submit to the batch's end: a number, `Lognormal(median, sigma)`, or a function
            of a `random.Random` and the items.
        submit_latency: seconds before a submit is answered.
        fail_share: the share of items that fail, with one of a few messages.
        fail: a function of an item that gives the message with which it fails, or None; instead of `fail_share`.
        failed_batch_share: the share of batches of which every item fails.
        refuse: a function of an item that gives the message of a 422, or None.
        shuffle_rows: rows come back in another order.
        missing_row_share: the share of rows that are left out.
        visible_after: seconds for which a new batch is answered 404.
        rate_limit: a `RateLimit`; what is over it gets a 429 with Retry-After.
        token_lifetime: seconds for which an access token is valid; None: for ever.
        faults: rules that are in force from the start; see `add`.
        clock: seconds, for everything above.

    Attributes:
        url: the base URL, such as "http://127.0.0.1:43121".
        subscription_key, access_token: what requests have to carry.
        applied: (asin, countryCode) -> the masterlist item as it was last applied.
        violations: every request that the contract forbids.
        requests: every request, as a `RequestRecord`.
        batches: every `Batch` that was taken.
        max_in_flight: the most batches taken whose end had not been told.
        overlaps: the keys that stood in two such batches at once.
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        seed: int = 0,
        prefix: str = "/amazon/v2",
        batch_paths: Literal["both", "example", "table"] = "both",
        processing: Processing = 0.05,
        submit_latency: float = 0.0,
        fail_share: float = 0.0,
        fail: Callable[[dict[str, Any]], str | None] | None = None,
        failed_batch_share: float = 0.0,
        refuse: Callable[[dict[str, Any]], str | None] | None = None,
        shuffle_rows: bool = False,
        missing_row_share: float = 0.0,
        visible_after: float = 0.0,
        rate_limit: RateLimit | None = None,
        token_lifetime: float | None = None,
        faults: Iterable[Fault] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._host, self._port = host, port
        self._clock = clock
        secrets, chances = streams(seed)
        behaviour = Behaviour(processing, fail_share, fail, failed_batch_share, shuffle_rows, missing_row_share)
        self._gateway = Gateway(rng=secrets, clock=clock, token_lifetime=token_lifetime, rate_limit=rate_limit)
        self._processor = Processor(behaviour, seed)
        self._faults = Faults(tuple(faults), chances)
        self._service = Service(
            routes=Routes(prefix, batch_paths),
            gateway=self._gateway,
            processor=self._processor,
            faults=self._faults,
            clock=clock,
            submit_latency=submit_latency,
            visible_after=visible_after,
            refuse=refuse,
        )
        self._runner: web.ServerRunner | None = None
        self.subscription_key: str = self._gateway.subscription_key
        self.access_token: str = self._gateway.issue_token()
        self.url: str = ""

    def __repr__(self) -> str:
        return (
            f"<Emulator at {self.url or 'no port yet'}, {len(self.batches)} batches, {len(self.violations)} violations>"
        )

    async def __aenter__(self) -> Self:
        # A batch's end is a matter of the clock: there is no task to wait for when it stops.
        runner = self._runner = web.ServerRunner(web.Server(self._handle, access_log=None), shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, self._host, self._port).start()
        host, port = runner.addresses[0][:2]
        self.url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    def add(self, fault: Fault) -> None:
        """Puts a rule in force."""
        self._faults.add(fault)

    def clear_faults(self) -> None:
        """Puts all rules out of force."""
        self._faults.clear()

    def issue_token(self, lifetime: float | None = None) -> str:
        """A further access token, valid for `lifetime` seconds."""
        return self._gateway.issue_token(lifetime)

    def expire_token(self, token: str) -> None:
        """Ends an access token's life now."""
        self._gateway.expire_token(token)

    @property
    def applied(self) -> dict[tuple[Any, ...], dict[str, Any]]:
        self._processor.settle(self._clock())
        return self._processor.applied

    def applied_to(self, resource: str) -> list[dict[str, Any]]:
        """Every write to a resource ("unmanaged/asins", for example), in the order in which they were applied."""
        self._processor.settle(self._clock())
        return self._processor.writes.get(resource, [])

    @property
    def violations(self) -> list[Violation]:
        return self._service.violations

    @property
    def requests(self) -> list[RequestRecord]:
        return self._service.requests

    @property
    def batches(self) -> list[Batch]:
        return self._processor.batches

    @property
    def max_in_flight(self) -> int:
        return self._processor.max_in_flight

    @property
    def overlaps(self) -> list[tuple[Any, ...]]:
        return self._processor.overlaps

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await request.content.read(MOST_BODY) if request.can_read_body else b""
        while not request.content.at_eof():
            body += await request.content.read(MOST_BODY)
        reply = self._service.answer(Request(request.method, request.raw_path.split("?")[0], request.headers, body))
        if reply.delay:
            await asyncio.sleep(reply.delay)
        if reply.dropped and request.transport is not None:
            request.transport.abort()
        return web.Response(
            status=reply.status, body=reply.body, headers=reply.headers, content_type=reply.content_type
        )


class ThreadedEmulator:
    """An `Emulator` on a loop and thread of its own, for synchronous code; it has all of the other's attributes.

    Use it with `with`. Takes the arguments of `Emulator`.
    """

    def __init__(self, **settings: Any) -> None:
        self._emulator = Emulator(**settings)
        self._started = threading.Event()
        self._failure: BaseException | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._thread = threading.Thread(target=self._run, name="quartile_async emulator", daemon=True)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._emulator, name)

    def __repr__(self) -> str:
        return repr(self._emulator)

    def __enter__(self) -> Self:
        self._thread.start()
        self._started.wait()
        if self._failure is not None:
            raise self._failure
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._loop is not None and self._stop is not None:
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:  # noqa: BLE001  # it is raised again in the thread that waits for the start
            self._failure = error
            self._started.set()

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        async with self._emulator:
            self._started.set()
            await self._stop.wait()
