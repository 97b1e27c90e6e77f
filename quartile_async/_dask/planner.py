"""The plan of a run: the one that an earlier run of its name has kept, or a new one."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from anyio.from_thread import BlockingPortal

from .channel import CallerEnd
from .inputs import Collection, Input
from .job import Job
from .keeper import taken_over
from .kept import kept_plan
from .parts import Part, Partition
from .planning import check_still_fits, planned
from .upload import Planned, Planner

logger = logging.getLogger("quartile_async")


def planner_of(given: Input, job: Job, client: Any, part_items: int, reading: Mapping[str, Any] | None) -> Planner:
    """Makes the plan when the run has begun, and not twice for one name."""

    def plan(portal: BlockingPortal, channel: CallerEnd, check: Callable[[], object]) -> Planned:
        if (found := portal.call(kept_plan, channel)) is not None:
            check_still_fits(found, given, job.resource, client, reading=reading, check=check)
            if found.files and found.part_items != part_items:
                logger.warning(
                    "%r was divided into parts of at most %d items when it was begun; part_items=%d is not used.",
                    *(job.name, found.part_items, part_items),
                )
            return Planned(found, _partition_of(given))
        made = planned(
            given, job.resource, client, address=job.address, reading=reading, part_items=part_items, check=check
        )
        if not portal.call(channel.keep_plan, made.to_json()):
            raise taken_over(job.name)
        return Planned(made, _partition_of(given))

    return plan


def _partition_of(given: Input) -> Callable[[Part], Any] | None:
    if not isinstance(given, Collection):
        return None

    def partition_of(part: Part) -> Any:
        assert isinstance(part.items, Partition)
        return given.partitions[part.items.number]

    return partition_of
