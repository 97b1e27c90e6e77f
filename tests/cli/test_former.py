"""An earlier upload of the same name, in Redis: whether it is gone on with, or makes way."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from quartile_async import MASTERLIST, JournalError
from quartile_async._dask.channel import CallerEnd, Word
from quartile_async._dask.forms import Form
from quartile_async._dask.inputs import input_of
from quartile_async._dask.job import journal_of_part
from quartile_async._dask.parts import OtherInputError, Part, Records, SourceFile
from quartile_async._dask.plan import Plan
from quartile_async._dask.planning import origin_of
from quartile_async._journal import Subject
from quartile_async._shared.connection import Link
from quartile_async._shared.journal import RedisJournal
from quartile_async.cli._former import Former, Way, former_of, told_of, way_on
from quartile_async.cli._job import Spread

from ..redis.server import RedisServer
from .test_commands import catalogue

CHANGED = OtherInputError("c.csv is not the file that was divided.")


def spread(redis: str = "redis://here", *, part_items: int | None = None, restart: bool = False) -> Spread:
    return Spread(None, redis, "nightly", part_items=part_items, restart=restart)


@pytest.mark.parametrize(
    ("former", "restart", "way"),
    [
        (None, False, Way.BEGIN),
        (None, True, Way.BEGIN),
        (Former(50_000), False, Way.GO_ON),
        (Former(50_000), True, Way.REPLACE),
        (Former(50_000, CHANGED, 1e9), False, Way.REPLACE),
        (Former(50_000, CHANGED, 0.0), False, Way.REPLACE),
        (Former(50_000, CHANGED, None), True, Way.REPLACE),
    ],
)
def test_what_has_finished_makes_way_for_a_new_content_and_what_is_the_same_is_gone_on_with(
    former: Former | None, restart: bool, way: Way
) -> None:
    assert way_on(former, spread(restart=restart)) is way


def test_what_has_not_finished_makes_way_for_nothing_but_restart() -> None:
    with pytest.raises(JournalError) as failure:
        way_on(Former(50_000, CHANGED), spread())

    assert str(failure.value).startswith("c.csv is not the file that was divided. The former upload had not finished. ")
    assert "Nothing was sent." in str(failure.value)
    assert "--restart removes" in str(failure.value)


@pytest.mark.parametrize(
    ("former", "part_items", "restart", "lines"),
    [
        (None, 1_000, False, []),
        (Former(50_000), None, False, ["gone on with"]),
        (Former(50_000), 50_000, False, ["gone on with"]),
        (Former(50_000), 1_000, False, ["gone on with", "at most 50,000 items when it was begun; --part-items counts"]),
        (Former(50_000), 1_000, True, []),
        (Former(50_000, CHANGED, 1e9), 1_000, False, ["was uploaded completely on 2001-09-"]),
        (Former(50_000, CHANGED, 0.0), 1_000, False, ["nightly had no items; the input has changed since"]),
    ],
)
def test_what_becomes_of_it_is_said_and_that_another_size_of_parts_does_not_count(
    former: Former | None, part_items: int | None, restart: bool, lines: list[str]
) -> None:
    wanted = spread(part_items=part_items, restart=restart)

    told = list(told_of(former, way_on(former, wanted), wanted))

    assert len(told) == len(lines)
    assert all(words in line for words, line in zip(lines, told, strict=True))


class FakeCluster:
    """In place of a `distributed.Client`: its one worker is this thread, where there is any."""

    def __init__(self, *, has_workers: bool = True) -> None:
        self._has_workers = has_workers
        self.asked = threading.Event()
        self.given_up: list[Any] = []

    def submit(self, run: Callable[..., Any], *arguments: Any, **options: Any) -> concurrent.futures.Future[Any]:
        future = concurrent.futures.Future[Any]()
        if self._has_workers:
            try:
                future.set_result(run(*arguments))
            except Exception as error:  # noqa: BLE001  # it comes to whoever waits, as in Dask
                future.set_exception(error)
        self.asked.set()
        return future

    def cancel(self, futures: list[Any], *, force: bool) -> None:
        self.given_up += futures


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return catalogue(tmp_path / "c.csv", 10)


@pytest.fixture
def plan(path: Path) -> Plan:
    found = path.stat()
    file = SourceFile(str(path), found.st_size, found.st_mtime_ns, Form("csv", ("asin", "countryCode", "percACoS")))
    origin = origin_of(input_of([(None, str(path))]), MASTERLIST, None)
    return Plan(origin, (file,), 7_500, (Part(0, None, Records(file)),), ((0,),))


async def kept(server: RedisServer, plan: Plan, *, finished: bool) -> None:
    link = Link(server.url)
    channel = CallerEnd(link, "nightly", "a run", 15.0)
    await channel.begin()
    assert await channel.keep_plan(plan.to_json())
    await channel.keep(Word.OVER)
    await link.aclose()
    journal = RedisJournal(server.url, journal_of_part("nightly", 0))
    await journal.open(Subject("process/masterlist", "https://there", "acme"))
    await journal.close(finished=finished)


@pytest.mark.parametrize("finished", [True, False])
async def test_a_file_is_looked_at_by_the_workers_and_whether_its_upload_had_finished_in_redis(
    path: Path, plan: Plan, server: RedisServer, finished: bool
) -> None:
    given = [(None, str(path))]
    await kept(server, plan, finished=finished)

    same = await former_of(plan, spread(server.url), given, MASTERLIST, FakeCluster())
    await asyncio.to_thread(catalogue, path, 11)
    changed = await former_of(plan, spread(server.url), given, MASTERLIST, FakeCluster())
    unasked = await former_of(plan, spread(server.url, restart=True), given, MASTERLIST, None)
    other = await former_of(plan, spread(server.url), [(None, "other.csv")], MASTERLIST, FakeCluster())

    assert same == unasked == Former(7_500)
    assert changed is not None
    assert other is not None
    assert "c.csv is not the file that" in str(changed.changed)
    assert "c.csv was among its files, and is not now" in str(other.changed)
    assert (changed.finished_at is not None) is finished


async def test_a_file_that_is_gone_is_an_error_and_nothing_makes_way(
    path: Path, plan: Plan, server: RedisServer
) -> None:
    await kept(server, plan, finished=True)
    await asyncio.to_thread(path.unlink)

    with pytest.raises(JournalError, match="cannot be opened now: No such file"):
        await former_of(plan, spread(server.url), [(None, str(path))], MASTERLIST, FakeCluster())


async def test_whoever_interrupts_while_no_worker_is_there_leaves_nothing_on_the_cluster(
    path: Path, plan: Plan
) -> None:
    cluster = FakeCluster(has_workers=False)
    looking = asyncio.create_task(former_of(plan, spread(), [(None, str(path))], MASTERLIST, cluster))
    while not cluster.asked.is_set():
        await asyncio.sleep(0.001)

    looking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await looking

    assert len(cluster.given_up) == 1
