"""The caller's side of a distributed upload: parts are handed to workers, and results taken from Redis as they come."""

from __future__ import annotations

import itertools
import logging
import time
import weakref
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, fields, replace
from types import TracebackType
from typing import Any, Self, TypeAlias

from anyio.from_thread import BlockingPortal, start_blocking_portal

from .._errors import AlreadyStartedError
from .._results import Outcome, Tally
from .._shared.connection import Link
from .._shared.journal import RedisJournal
from .blocks import unpacked
from .channel import CallerEnd, Word
from .cluster import Cluster
from .ends import Patience, Reach, TaskEnd, as_told, end_of, reach_of, why_again
from .job import Job
from .keeper import Keeper
from .parts import Part
from .plan import Plan
from .results import PartEnd, PartItemResult, PartsFailedError, PartsProgress, PartsSummary, PartState
from .seen import Batches, Sieve

logger = logging.getLogger("quartile_async")

LOOK = 0.25
"""Seconds for which results are waited for, before it is looked whether tasks have ended."""

LEAVING = 15.0
"""Seconds that workers get to end, when the upload is left."""


@dataclass(slots=True, frozen=True)
class Planned:
    """A plan, and what gives a task the content of a part that is one of a collection; None: the parts are of files."""

    plan: Plan
    partition_of: Callable[[Part], Any] | None = None


Planner: TypeAlias = Callable[[BlockingPortal, CallerEnd, Callable[[], object]], Planned]
"""Gives the plan that an earlier run has kept, or makes one and keeps it; it calls the function now and then, and is
ended by what that raises."""


class _StoppedError(Exception):
    """The upload was stopped while its input was divided."""


class DaskUpload:
    """Items on their way by the workers of a cluster, and their results as they come.

    Made by `quartile_async.dask.upload`; it starts when it is first iterated, and only once. Iterating gives each
    item's `PartItemResult`, in no promised order; it raises:
        PartsFailedError: after all results that there are, where parts have ended by an error.
        JournalError: another call has taken the upload over, or Redis is away for too long.

    What a loop over it leaves early, by `break` or an error, is stopped on all workers within seconds; the same call
    goes on with it.
    """

    def __init__(self, job: Job, url: str, client: Any, plan: Planner) -> None:
        self._job = job
        self._url = url
        self._client = client
        self._planner = plan
        self._parts: tuple[Part, ...] = ()
        self._behind: dict[int, int] = {}
        """Part -> the one that waits for its end, since they share keys."""
        self._ends: dict[int, PartEnd] = {}
        self._sieve = Sieve()
        self._batches = Batches()
        self._tally = Tally()
        self._patience = Patience()
        self._told: Mapping[int, Mapping[str, Any]] = {}
        self._tell_all: Callable[[Word], object] = lambda word: None
        self._stopped = self._left = False
        self._started_at: float | None = None
        self._ended_at: float | None = None
        self._iteration: weakref.ref[Generator[PartItemResult]] | None = None

    def __repr__(self) -> str:
        state = "not started" if self._started_at is None else "running" if self._ended_at is None else "ended"
        return f"<DaskUpload {self._job.name!r}, {state}, {len(self._parts)} parts, {self._tally.items} done>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def leave(self) -> None:
        """Has the workers end what they do within seconds, and the iteration then ends.

        It can be called from any thread, and from a signal handler.
        """
        self._stopped = self._left = True
        self._tell_all(Word.LEAVE)

    def close(self) -> None:
        """Leaves the upload, in the thread that iterates: the workers end what they do within seconds."""
        if self._iteration is not None and (iteration := self._iteration()) is not None:
            iteration.close()

    def stop(self) -> None:
        """Has the workers submit no more; what is in flight is finished, and the iteration then ends normally.

        It can be called from any thread, and from a signal handler.
        """
        self._stopped = True
        self._tell_all(Word.STOP)

    def __iter__(self) -> Generator[PartItemResult]:
        if self._iteration is not None:
            raise AlreadyStartedError("This upload was started already. Call quartile_async.dask.upload(...) again.")
        iteration = self._iterate()
        # Weak: after a `break` nothing but the loop may hold on to the generator, or it would not be finalised.
        self._iteration = weakref.ref(iteration)
        return iteration

    @property
    def parts(self) -> tuple[Part, ...]:
        """Into what the input was divided, by the parts' numbers; none before it was."""
        return self._parts

    @property
    def unaccounted(self) -> list[PartItemResult]:
        """What is known of items that were read and got no result, of parts that were stopped or have failed."""
        return self._sieve.unaccounted

    @property
    def progress(self) -> PartsProgress:
        """Counts up to this moment; what was read and submitted, as the workers told it a second or two ago.

        It can be asked for in any thread.
        """
        tally, seconds = self._tally, self._seconds
        # Copied in one go: the thread that iterates may add to it meanwhile.
        ends = {part: _told_by(end) for part, end in self._ends.copy().items()}
        told = list({**self._told, **ends}.values())
        done = tally.items
        rate = done / seconds if seconds > 0.0 else 0.0
        ended = len(ends)
        # As far as the parts are alike.
        left = done / ended * (len(self._parts) - ended) if ended else None
        return PartsProgress(
            read=sum(each.get("read", 0) for each in told),
            done=done,
            succeeded=tally.counts[Outcome.SUCCEEDED],
            failed=tally.counts[Outcome.FAILED],
            rejected=tally.counts[Outcome.REJECTED],
            unknown=tally.counts[Outcome.UNKNOWN],
            batches_submitted=sum(each.get("batches_submitted", 0) for each in told),
            batches_finished=sum(each.get("batches_finished", 0) for each in told),
            in_flight=sum(each.get("in_flight", 0) for each in told),
            rate=rate,
            time_left=left / rate if left is not None and rate > 0.0 else None,
            foreign_rows=sum(each.get("foreign_rows", 0) for each in told),
            parts=len(self._parts),
            parts_ended=ended,
        )

    @property
    def summary(self) -> PartsSummary:
        """What the run has come to; complete once it has ended."""
        ends = tuple(self._ends.get(part.number, PartEnd(part.number, PartState.NOT_BEGUN)) for part in self._parts)
        summary = self._tally.summary(batches=sum(end.batches for end in ends), seconds=self._seconds)
        return PartsSummary(**{each.name: getattr(summary, each.name) for each in fields(summary)}, parts=ends)

    @property
    def _seconds(self) -> float:
        if self._started_at is None:
            return 0.0
        return (time.monotonic() if self._ended_at is None else self._ended_at) - self._started_at

    # ----------------------------------------------------------------------------------------------------------------

    def _iterate(self) -> Generator[PartItemResult]:
        self._started_at = time.monotonic()
        try:
            with start_blocking_portal() as portal:
                yield from self._counted(self._run(portal))
        finally:
            self._ended_at = time.monotonic()
        if failed := [end for end in self._ends.values() if end.state is PartState.FAILED]:
            raise self._failure(failed)

    def _counted(self, results: Generator[PartItemResult]) -> Generator[PartItemResult]:
        with closing(results):
            for result in results:
                self._tally.add((result,))
                yield result

    def _run(self, portal: BlockingPortal) -> Generator[PartItemResult]:
        if self._stopped:
            return
        # Two: a Redis that is full lets results be read, and with that the one link would never count as lost.
        links = [portal.call(Link, self._url) for _ in range(2)]
        channel, keeps = (CallerEnd(link, self._job.name, self._job.run, self._job.lease) for link in links)
        keeper = Keeper(keeps, self._job.name, self._job.lease)
        try:
            # Here, where it is read: the journals of the parts say it in the logs of workers.
            portal.call(RedisJournal(self._url, self._job.name, durability=self._job.durability).check_redis)
            portal.call(keeper.begin)
            self._tell_all = lambda word: _say(portal, keeper, word)
            try:
                yield from self._with_workers(portal, channel, keeper)
            finally:
                self._tell_all = lambda word: None
                portal.call(keeper.end)
        finally:
            for link in links:
                portal.call(link.aclose)

    def _with_workers(self, portal: BlockingPortal, channel: CallerEnd, keeper: Keeper) -> Generator[PartItemResult]:
        try:
            planned = self._planner(portal, channel, lambda: self._check_goes_on(keeper))
        except _StoppedError:
            return
        self._parts = planned.plan.parts
        if self._stopped:
            return
        cluster = Cluster(self._client, self._job, self._parts, planned.partition_of)
        for chain in planned.plan.chains:
            self._behind |= dict(itertools.pairwise(chain))
            cluster.submit(chain[0])
        try:
            while not (cluster.is_idle or self._left):
                # Read behind the ends that are known: what these parts have told is there, then.
                ended = cluster.take_ended()
                yield from self._read(portal, channel)
                self._give_up_what_waits(keeper, cluster)
                if keeper.broken is not None:
                    raise keeper.broken
                for task in ended:
                    yield from self._after(task, cluster)
            for part in self._parts:  # of those that have not come to their end
                yield from self._sieve.kept_back(part.number)
        finally:
            if not cluster.is_idle:
                self._leave(portal, keeper, cluster)

    def _check_goes_on(self, keeper: Keeper) -> None:
        if keeper.broken is not None:
            raise keeper.broken
        if self._stopped:
            raise _StoppedError

    def _read(self, portal: BlockingPortal, channel: CallerEnd) -> Iterator[PartItemResult]:
        for content in portal.call(channel.blocks, LOOK):
            block = unpacked(content)
            self._batches.note(block.part, block.run, block.results)
            if block.accounted:
                yield from self._sieve.pass_through(block.part, block.results)
            else:
                self._sieve.note_unaccounted(block.part, block.results)
        portal.call(channel.make_room)

    def _after(self, task: TaskEnd, cluster: Cluster) -> Iterator[PartItemResult]:
        """What follows from the end of a task."""
        known = self._sieve.known(task.part)
        why = why_again(task, known, stopped=self._stopped)
        if why and self._patience.allows(task.part, known):
            logger.warning("Part %d: %s. It is run again.", task.part, why)
            cluster.submit(task.part)
            return
        end = end_of(task, why, stopped=self._stopped)
        self._note(end)
        if end.state is PartState.FINISHED:
            yield from self._sieve.kept_back(end.part)
            if end.part in self._behind and not self._stopped:
                cluster.submit(self._behind[end.part])
        elif end.state is PartState.FAILED:
            self._after_error(end, cluster)

    def _after_error(self, end: PartEnd, cluster: Cluster) -> None:
        has_accounts = len({part.account for part in self._parts}) > 1
        reach = reach_of(end.error, has_accounts=has_accounts)
        if reach is Reach.ALL:
            self.stop()
        elif reach is Reach.OF_ITS_ACCOUNT:  # or each of its parts would be refused anew, and the user locked out
            account = self._parts[end.part].account
            self._note_not_awaited(
                cluster.give_up(lambda part: part in self._told or self._parts[part].account != account)
            )

    def _note(self, end: PartEnd) -> None:
        end = as_told(end, self._told.get(end.part), self._sieve.known(end.part))
        self._ends[end.part] = replace(end, batches=self._batches.accepted(end.part, end.batches))

    def _note_not_awaited(self, parts: Iterable[int]) -> None:
        for part in parts:
            self._note(PartEnd(part, PartState.NOT_BEGUN))

    def _give_up_what_waits(self, keeper: Keeper, cluster: Cluster) -> None:
        """Whatever begins once Redis has the word to end would hear it, and do nothing."""
        word, self._told = keeper.heard
        if word is not Word.GO_ON:
            self._note_not_awaited(cluster.give_up(self._told.__contains__))

    def _leave(self, portal: BlockingPortal, keeper: Keeper, cluster: Cluster) -> None:
        """The workers end at once; what they have in flight stands in their journals."""
        portal.call(keeper.say, Word.LEAVE)
        gives_up_at = time.monotonic() + LEAVING
        while not cluster.is_idle and time.monotonic() < gives_up_at and keeper.broken is None:
            self._give_up_what_waits(keeper, cluster)
            for task in cluster.take_ended():
                self._note(task.end or PartEnd(task.part, PartState.NOT_BEGUN))
            time.sleep(LOOK / 5)
        self._note_not_awaited(cluster.cancel())

    def _failure(self, ends: list[PartEnd]) -> PartsFailedError:
        finished = sum(end.state is PartState.FINISHED for end in self._ends.values())
        error = PartsFailedError(sorted(ends, key=lambda end: end.part), len(self._parts), finished)
        error.unaccounted = list(self.unaccounted)
        return error


def _say(portal: BlockingPortal, keeper: Keeper, word: Word) -> None:
    with suppress(RuntimeError):  # the run has ended in this moment
        portal.start_task_soon(keeper.say, word)


def _told_by(end: PartEnd) -> dict[str, int]:
    """The counts of a part that has ended."""
    return {
        "read": end.read,
        "batches_submitted": end.batches,
        "batches_finished": end.batches - len(end.in_batches),
        "foreign_rows": end.foreign_rows,
    }
