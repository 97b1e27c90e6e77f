"""Whatever the order of begin, watch, leave, stop and restart: in the end each item has exactly one result."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quartile_async import MASTERLIST, QuartileClient
from quartile_async._web.records import ENDED, State, StoppingError
from quartile_async._web.uploads import Uploads
from quartile_async.emulator import Emulator, Fault

from .conftest import items

NAMES = ("one", "two")
SIZES = {"one": 450, "two": 30}

actions = st.one_of(
    st.tuples(st.just("begin"), st.sampled_from(NAMES)),
    st.tuples(st.just("stop"), st.sampled_from(NAMES)),
    st.tuples(st.just("watch"), st.sampled_from(NAMES)),
    st.tuples(st.just("watch and leave"), st.sampled_from(NAMES)),
    st.tuples(st.just("restart"), st.just("")),
    st.tuples(st.just("fail"), st.just("")),
    st.tuples(st.just("wait"), st.just("")),
)


class Application:
    """What a process has of the uploads, and a way to end it and begin another."""

    def __init__(self, emulator: Emulator, folder: Path) -> None:
        self._emulator = emulator
        self._folder = folder
        self.uploads: Uploads
        self._stack = contextlib.AsyncExitStack()

    async def start(self) -> None:
        client = QuartileClient(
            base_url=self._emulator.url,
            subscription_key=self._emulator.subscription_key,
            auth=self._emulator.access_token,
            max_in_flight=2,
        )
        await self._stack.enter_async_context(client)
        uploads = Uploads(self._folder, client, {"masterlist": MASTERLIST}, most_open=10)
        self.uploads = await self._stack.enter_async_context(uploads)

    async def end(self) -> None:
        await self._stack.aclose()

    async def do(self, action: str, name: str) -> None:
        stored = await self.uploads.find("ana", name) if name else None
        if action == "begin":
            with contextlib.suppress(StoppingError):  # then it ends, and accounts for the rest
                await self.uploads.start("ana", name, "masterlist", items(SIZES[name]))
        elif action == "stop" and stored is not None:
            await self.uploads.stop(stored)
        elif action == "watch" and stored is not None:
            await self.uploads.told(stored)
        elif action == "watch and leave" and stored is not None:
            lines = self.uploads.lines(stored, 0)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.05):
                    await anext(lines)
            await lines.aclose()  # type: ignore[attr-defined]  # a generator
        elif action == "restart":
            await self.end()
            await self.start()
        elif action == "fail":
            self._emulator.add(Fault(on="submit", status=403, body={"message": "Out of call volume quota."}))
        elif action == "wait":
            await asyncio.sleep(0.08)

    async def results(self, name: str) -> list[dict[str, Any]]:
        stored = await self.uploads.find("ana", name)
        assert stored is not None
        async with asyncio.timeout(30):
            return [dict(line) async for line in self.uploads.lines(stored, 0)]


@pytest.mark.slow
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(actions, min_size=1, max_size=8))
async def test_in_the_end_each_item_has_exactly_one_result(story: list[tuple[str, str]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with Emulator(processing=0.05) as emulator:
            application = Application(emulator, Path(folder))
            await application.start()
            try:
                for action, name in story:
                    await application.do(action, name)
                for name in NAMES:
                    await application.do("begin", name)
                for name in NAMES:
                    await check(application, emulator, name)
            finally:
                await application.end()


async def check(application: Application, emulator: Emulator, name: str) -> None:
    *results, last = await application.results(name)
    stored = await application.uploads.find("ana", name)
    assert stored is not None
    told = await application.uploads.told(stored)

    assert sorted(line["index"] for line in results) == list(range(SIZES[name]))
    assert [line["position"] for line in results] == list(range(SIZES[name]))
    assert told["state"] in ENDED
    outcomes = Counter(line["outcome"] for line in results)
    if told["state"] is State.FAILED:
        assert last["unaccounted"] == outcomes["unknown"]
    else:
        assert {key: last[key] for key in ("succeeded", "unknown")} == {
            "succeeded": outcomes["succeeded"],
            "unknown": outcomes["unknown"],
        }
    if told["state"] is State.FINISHED:
        assert outcomes == {"succeeded": SIZES[name]}
    assert await application.results(name) == [*results, last], "asked for again, they are the same"
    assert emulator.violations == []
