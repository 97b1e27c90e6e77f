"""One upload of files by many workers, from the terminal."""

from __future__ import annotations

import os
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio.to_thread
from rich.console import Console

from .. import ConfigurationError, JournalError
from .. import dask as quartile_dask
from .._dask.environment import FromEnvironment
from .._dask.tasks import threads_of
from .._dask.upload import DaskUpload
from .._shared.connection import described
from ..files import ItemFile, ItemFiles
from ._ending import Ending, declined, say_what_became_of_it
from ._former import WAYS_OUT, Way, former_of, told_of, way_on
from ._job import Job, Source, Spread, check_paths, opened_source, say_what_was_understood
from ._journals import Standing
from ._part_size import part_items_for
from ._parts import PartsUpload
from ._parts_told import told_of_parts
from ._preview import is_asked, previewed, where_to
from ._redis import looked_at
from ._report import ReportGatherer
from ._secrets import for_workers_here
from ._take import Begun, taken
from ._words import say
from ._workers import workers_at, workers_here

OF_THIS_PROCESS = ("subscription_key", "auth", "account", "max_in_flight")
"""Settings that are not sent to the workers as they are."""


async def run_spread(job: Job, spread: Spread, console: Console) -> Ending:
    """Uploads the files by workers, shows progress, writes results and prints the summary.

    Raises:
        ConfigurationError, JournalError, OSError: a file, the cluster, Redis or a setting cannot be used; nothing was
            sent.
    """
    source = await anyio.to_thread.run_sync(opened_source, job)
    check_paths(job)
    say_what_was_understood(source, console)
    seen = await looked_at(spread)
    if seen.may_be_lost:
        say(console, f"Warning: {seen.may_be_lost}")
    given = _given(job, source)
    server, account = job.settings["base_url"], job.settings.get("account")
    async with _workers(job, spread, console) as workers:
        former = await former_of(seen.plan, spread, given, job.resource, workers.client)
        way = way_on(former, spread)
        for line in told_of(former, way, spread):
            say(console, line)
        total = None
        if is_asked(job, console):
            findings, wanted = await previewed(job, source, Standing(), console, where=where_to(server, account))
            total = findings.records
            if not wanted:
                return declined(console)
        if way is Way.REPLACE:
            await anyio.to_thread.run_sync(quartile_dask.remove, (spread.redis, spread.journal))
            say(console, f"What stood under the name {spread.journal} was removed.")
        if total is None:
            total = await source.estimate()
        say(console, f"Journal: {spread.journal}, in {described(spread.redis)}")
        kept = former.part_items if former is not None and way is Way.GO_ON else None
        part_items = kept or spread.part_items or await _part_items(total, workers)
        upload = _upload(job, spread, given, workers, part_items)
        gathered = ReportGatherer(name=job.name, account=account, server=server, resource=job.resource.path)

        def begun() -> Begun:
            parts = PartsUpload(upload, labels_of(source))
            return Begun(parts, parts)

        ending, writers = await taken(job, source, begun, gathered, console, total=total)
    _check_was_divided(upload, ending)
    ending.details = tuple(
        told_of_parts(upload.parts, upload.summary.parts, items=ending.summary.items, replayed=gathered.replayed)
    )
    say_what_became_of_it(job, ending, writers, console)
    return ending


def _check_was_divided(upload: DaskUpload, ending: Ending) -> None:
    """Raises what kept the input from being divided: nothing was sent."""
    if not upload.parts and isinstance(ending.error, JournalError):
        raise JournalError(f"{ending.error} {WAYS_OUT}") from ending.error
    if not upload.parts and isinstance(ending.error, ConfigurationError | OSError):
        raise ending.error


@dataclass(slots=True, frozen=True)
class Workers:
    """Who uploads.

    Attributes:
        client: a `distributed.Client`.
        credentials: as for `quartile_async.dask.upload`.
    """

    client: Any
    credentials: Callable[[str | None], Any]


@asynccontextmanager
async def _workers(job: Job, spread: Spread, console: Console) -> AsyncIterator[Workers]:
    if spread.cluster is not None:
        async with workers_at(spread.cluster, spread.redis, tell=lambda line: say(console, line)) as client:
            yield Workers(client, FromEnvironment())
        return
    with tempfile.TemporaryDirectory(prefix="quartile-async-") as folder:
        given = for_workers_here(job.settings, spread.redis, Path(folder))
        async with workers_here(spread.workers, given.environment) as client:
            yield Workers(client, given.credentials)


def _given(job: Job, source: Source) -> list[tuple[str | None, ItemFile]]:
    """The files, each with its account."""
    files = source.files if isinstance(source, ItemFiles) else (source,)
    return [(job.settings.get("account"), file) for file in files]


async def _part_items(records: int, workers: Workers) -> int:
    return part_items_for(records, await anyio.to_thread.run_sync(threads_of, workers.client))


def _upload(
    job: Job, spread: Spread, given: Sequence[tuple[str | None, ItemFile]], workers: Workers, part_items: int
) -> DaskUpload:
    options = {name: value for name, value in job.settings.items() if name not in OF_THIS_PROCESS}
    return quartile_dask.upload(
        given,
        job.resource,
        journal=(spread.redis, spread.journal),
        dask_client=workers.client,
        credentials=workers.credentials,
        part_items=part_items,
        max_in_flight=job.settings.get("max_in_flight"),
        **options,
    )


def labels_of(source: Source) -> dict[str, str]:
    """Path -> name of the file, where there are several."""
    if not isinstance(source, ItemFiles):
        return {}
    paths = (os.path.abspath(file.path) for file in source.files)  # noqa: PTH100  # not resolved, as in the parts
    return {path: file.label or path for path, file in zip(paths, source.files, strict=True)}
