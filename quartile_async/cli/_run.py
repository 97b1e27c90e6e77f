"""One upload of files, from the terminal."""

from __future__ import annotations

import anyio.to_thread
from rich.console import Console

from .. import ConfigurationError, QuartileClient
from .._blocks import Blocks
from ._ending import Ending, declined, say_what_became_of_it
from ._job import Job, check_paths, opened_source, say_what_was_understood
from ._journals import Standing, Way, make_way, standing_of
from ._preview import is_asked, previewed, where_to
from ._report import ReportGatherer
from ._take import Begun, First, taken
from ._watch import Watch


async def run_job(job: Job, console: Console) -> Ending:
    """Uploads the files, shows progress, writes results and prints the summary.

    Raises:
        ConfigurationError, JournalError, OSError: a file, its journal or a setting cannot be used; nothing was sent.
    """
    watch = Watch(console)
    client = QuartileClient.from_env(**job.settings, on_event=watch)
    source = await anyio.to_thread.run_sync(opened_source, job)
    check_paths(job)
    say_what_was_understood(source, console)
    async with client:
        subject = client._subject_of(job.resource)  # pyright: ignore[reportPrivateUsage]  # one package
        server = client._api.server  # pyright: ignore[reportPrivateUsage]  # one package
        account = client._account  # pyright: ignore[reportPrivateUsage]  # one package
        standing = Standing()
        if job.journal is not None:
            standing = await standing_of(job.journal, subject, source, job.name)
        _check_first(job, standing)
        total = None
        if is_asked(job, console) and standing.way is not Way.REPLAY:
            findings, wanted = await previewed(job, source, standing, console, where=where_to(server, account))
            total = findings.records
            if not wanted:
                return declined(console)
        if job.journal is not None:
            await make_way(job.journal, standing, subject, job.name, console)
        if total is None:
            total = await source.estimate()
        first = None if job.first is None else First(source, job.first)
        journal = job.journal.path if job.journal is not None else None

        def begun() -> Begun:
            upload = client.upload(job.resource, first or source, journal=journal)
            return Begun(upload, Blocks(upload))

        watch.gathered = ReportGatherer(name=job.name, account=account, server=server, resource=job.resource.path)
        total = min(total, job.first or total)
        ending, writers = await taken(job, source, begun, watch.gathered, console, total=total, first=first)
    say_what_became_of_it(job, ending, writers, console)
    return ending


def _check_first(job: Job, standing: Standing) -> None:
    if job.first is not None and standing.left_off_at > job.first:
        raise ConfigurationError(
            f"An upload of {job.name} is under way, and has read {standing.left_off_at} items: --first {job.first} is "
            "behind that. Go on with it without --first, or begin anew with --restart."
        )
