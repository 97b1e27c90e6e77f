"""Makes the plan of an upload on a cluster: files are looked at, and keys surveyed, where the items are.

What comes back by way of the scheduler are numbers, and how files are read; never items, keys or their digests.
"""

from __future__ import annotations

import inspect
import logging
import uuid
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pydantic_core import PydanticSerializationError, from_json, to_json

from .._errors import ConfigurationError, clause_of
from .._resources import Resource
from ..files import read_items
from .chains import Link, buckets_for, chains_of
from .inputs import Collection, Files, Input
from .parts import Part, Partition, SourceFile, check_is_the_same
from .plan import Origin, Plan, check_forms, check_is_the_same_input
from .ranges import PART_ITEMS, examined, parts_of_files
from .survey import Survey, forgotten, linked, surveyed
from .tasks import Call, Tasks, threads_of

MOST_TASKS = 256
"""Tasks that the scheduler knows of at once; the others wait here."""

logger = logging.getLogger("quartile_async")


def planned(
    given: Input,
    resource: Resource[Any],
    client: Any,
    *,
    address: Callable[[], str],
    reading: Mapping[str, Any] | None = None,
    part_items: int = PART_ITEMS,
    name: str = "quartile:survey",
    check: Callable[[], object] = lambda: None,
) -> Plan:
    """Divides an input into parts, on a cluster. Nothing is sent to the server.

    Args:
        given: the input.
        resource: what its items are; it travels to the workers.
        client: a `distributed.Client` that is not asynchronous.
        address: gives the URL of Redis on the workers, to which it travels.
        reading: options of `quartile_async.files.read_items`.
        part_items: the most items of a part, where files can be divided.
        name: with what the names of all begin that Redis keeps meanwhile.
        check: is called now and then; what it raises ends this.

    Raises:
        ConfigurationError: a file or an option cannot be used.
        JournalError: Redis cannot be used.
        OSError: a file is damaged.
        distributed.KilledWorker: workers die of what they have to read. Whatever a collection's own functions raise
            comes as itself.
    """
    if part_items < 1:
        raise ConfigurationError(f"part_items={part_items} cannot be used: give at least 1.")
    options = checked_reading(reading)
    with Tasks(client, check) as tasks:
        files, parts = _divided(given, resource, options, part_items, tasks)
        survey = Survey(f"{name}:{uuid.uuid4().hex}", buckets_for(len(parts) * part_items), resource, address)
        links = _links(given, parts, survey, tasks, at_once=2 * threads_of(client))
    chains = chains_of(len(parts), links)
    _tell(parts, chains)
    return Plan(origin_of(given, resource, options), files, part_items, parts, chains)


def check_still_fits(
    plan: Plan,
    given: Input,
    resource: Resource[Any],
    client: Any,
    *,
    reading: Mapping[str, Any] | None = None,
    check: Callable[[], object] = lambda: None,
) -> None:
    """Looks whether an input is the one that was divided, as far as its files' sizes and times tell.

    `check` is called now and then; what it raises ends this.

    Raises:
        OtherInputError: it is another one.
        JournalError: a file cannot be opened by a worker.
    """
    check_is_the_same_input(plan, origin_of(given, resource, reading))
    check_forms(plan, given)
    with Tasks(client, check) as tasks:
        tasks.results("check", (Call(check_is_the_same, (file,)) for file in plan.files), at_once=MOST_TASKS)


def origin_of(given: Input, resource: Resource[Any], reading: Mapping[str, Any] | None) -> Origin:
    """Which input it is.

    Raises:
        ConfigurationError: an option of reading cannot be used.
    """
    files = tuple((file.account, file.path) for file in given.files) if isinstance(given, Files) else ()
    collection = str(given) if isinstance(given, Collection) else ""
    return Origin(files, collection, (resource.path, *resource.key), to_json(checked_reading(reading)).decode())


def checked_reading(reading: Mapping[str, Any] | None) -> dict[str, Any]:
    """Options of `read_items`, as they travel and are kept: the same text for the same options.

    Raises:
        ConfigurationError: one of them is not known, or is not plain data.
    """
    known = set(inspect.signature(read_items).parameters) - {"path", "resource"}
    if unknown := sorted(set(reading or {}) - known):
        raise ConfigurationError(f"reading has {unknown[0]!r}, and files are read with {', '.join(sorted(known))}.")
    options = dict(sorted((reading or {}).items()))
    if "required" in options:
        options["required"] = sorted(set(options["required"]))
    try:
        return dict(from_json(to_json(options)))
    except PydanticSerializationError as error:
        raise ConfigurationError(f"The options of reading cannot be kept with a journal: {clause_of(error)}.") from None


def _divided(
    given: Input, resource: Resource[Any], reading: Mapping[str, Any], part_items: int, tasks: Tasks
) -> tuple[tuple[SourceFile, ...], tuple[Part, ...]]:
    if isinstance(given, Collection):
        return (), tuple(Part(number, None, Partition(number)) for number in range(len(given.partitions)))
    forms = {file.path: file.form for file in given.files}
    calls = (Call(examined, (path, form, resource, reading, part_items)) for path, form in forms.items())
    found = tasks.results("examine", calls, at_once=MOST_TASKS)
    return tuple(each.file for each in found), parts_of_files(given.files, found)


def to_survey(parts: Sequence[Part]) -> list[int]:
    """The numbers of the parts that may share keys with others: those of accounts that have several."""
    count = Counter(part.account for part in parts)
    return [part.number for part in parts if count[part.account] > 1]


def _links(given: Input, parts: Sequence[Part], survey: Survey, tasks: Tasks, *, at_once: int) -> list[Link]:
    if not (numbers := to_survey(parts)):
        return []
    if isinstance(given, Collection):
        # Few at once: each has a partition in a worker's memory.
        calls = (Call(surveyed, (survey, parts[number]), given.partitions[number]) for number in numbers)
        tasks.results("survey", calls, at_once=at_once)
    else:
        tasks.results("survey", (Call(surveyed, (survey, parts[number])) for number in numbers), at_once=MOST_TASKS)
    buckets = (Call(linked, (survey, bucket, numbers)) for bucket in range(survey.buckets))
    found = tasks.results("compare", buckets, at_once=MOST_TASKS)
    tasks.results("forget", [Call(forgotten, (survey, numbers, max(each.pieces for each in found)))], at_once=1)
    return [link for each in found for link in each.links]


def _tell(parts: Sequence[Part], chains: Sequence[Sequence[int]]) -> None:
    waiting = sum(len(chain) - 1 for chain in chains)
    logger.info(
        "The input has %d parts; %d of them share keys with an earlier one, and wait for it.", len(parts), waiting
    )
