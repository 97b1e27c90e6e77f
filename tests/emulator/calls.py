"""Requests to an emulator, made without the client: what is tested here must not lean on it."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
from pydantic_core import from_json, to_json

from quartile_async.emulator import Emulator, Request, ThreadedEmulator

SUBMIT = "/amazon/v2/process/masterlist"
POLL = "/amazon/v2/batch/"


class Clock:
    """Stands still until it is told to move."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def move(self, seconds: float) -> None:
        self.now += seconds


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return from_json(self.body)


def item(number: int, target: float = 25.0) -> dict[str, Any]:
    return {"asin": f"B0{number:08d}", "countryCode": "US", "percACoS": target}


def items(count: int) -> list[dict[str, Any]]:
    return [item(number) for number in range(count)]


def good_headers(emulator: Emulator | ThreadedEmulator) -> dict[str, str]:
    return {
        "Subscription-Key": emulator.subscription_key,
        "Authorization": f"Bearer {emulator.access_token}",
        "Content-Type": "application/json",
    }


async def ask(
    emulator: Emulator | ThreadedEmulator,
    method: str,
    path: str,
    body: Any = b"",
    headers: Mapping[str, str | None] | None = None,
) -> Answer:
    """One request over a connection of its own; a header of None is left out."""
    wanted = {**good_headers(emulator), **(headers or {})}
    sent = {name: value for name, value in wanted.items() if value is not None}
    async with (
        aiohttp.ClientSession(skip_auto_headers=["Content-Type"]) as session,
        session.request(
            method,
            emulator.url + path,
            data=io.BytesIO(body if isinstance(body, bytes) else to_json(body)),  # aiohttp warns of large bytes
            headers=sent,
        ) as response,
    ):
        return Answer(response.status, response.headers, await response.read())


async def submit(emulator: Emulator | ThreadedEmulator, content: Any, path: str = SUBMIT) -> Answer:
    return await ask(emulator, "PATCH", path, content)


async def poll(emulator: Emulator | ThreadedEmulator, batch_id: str) -> Answer:
    return await ask(emulator, "GET", POLL + batch_id)


class Direct:
    """Requests that go into an emulator without a socket, on a clock that stands still."""

    def __init__(self, **settings: Any) -> None:
        self.clock = Clock()
        self.emulator = Emulator(clock=self.clock, **settings)

    def ask(self, method: str, path: str, body: Any = b"", *, delivered: bool = True, **headers: str) -> Answer:
        raw = body if isinstance(body, bytes) else to_json(body)
        exchange = self.emulator.receive(Request(method, path, {**good_headers(self.emulator), **headers}, raw))
        self.emulator.finish(exchange, delivered=delivered and not exchange.reply.dropped)
        return Answer(exchange.reply.status, exchange.reply.all_headers, exchange.reply.body)

    def submit(self, content: Any, path: str = SUBMIT, *, delivered: bool = True) -> Answer:
        return self.ask("PATCH", path, content, delivered=delivered)

    def taken(self, content: Any, path: str = SUBMIT) -> str:
        """Submits, and gives the batch's id."""
        return str(self.submit(content, path).json["batchId"])

    def poll(self, batch_id: str, *, delivered: bool = True) -> Answer:
        return self.ask("GET", POLL + batch_id, delivered=delivered)
