"""Uploads spread over the workers of a Dask cluster, any of which may be killed at any time.

    from quartile_async import MASTERLIST, dask as quartile_dask

    for result in quartile_dask.upload(files, MASTERLIST, journal=(redis_url, "catalogue-2026-11"), dask_client=client):
        ...

It needs the extra `dask`, and a Redis that all workers can reach.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from anyio.from_thread import start_blocking_portal

from ._again import checked_retry
from ._dask.inputs import Files, Input, input_of
from ._dask.job import Credentials, Job, address_of, checked_options
from ._dask.parts import Part
from ._dask.planner import planner_of
from ._dask.ranges import PART_ITEMS
from ._dask.removal import removed
from ._dask.results import PartEnd, PartItemResult, PartsFailedError, PartsProgress, PartsSummary, PartState
from ._dask.travel import check_resource_travels, check_takes_no_value_along, check_travels
from ._dask.upload import DaskUpload
from ._errors import ConfigurationError
from ._masterlist import MASTERLIST
from ._resources import Resource
from ._results import ItemResult
from ._shared.connection import client_of
from ._shared.journal_durability import Durability
from .redis import RedisJournal, RedisQuota

if TYPE_CHECKING:
    import distributed

__all__ = [
    "DaskUpload",
    "Part",
    "PartEnd",
    "PartItemResult",
    "PartState",
    "PartsFailedError",
    "PartsProgress",
    "PartsSummary",
    "remove",
    "upload",
]


def upload(
    source: Any,
    resource: Resource[Any] = MASTERLIST,
    *,
    journal: tuple[str, str],
    dask_client: distributed.Client,
    credentials: Credentials | None = None,
    part_items: int = PART_ITEMS,
    rate: str | None = None,
    max_in_flight: int | None = None,
    max_in_flight_per_worker: int = 16,
    lease: float = 15.0,
    durability: Durability = "aof",
    reading: Mapping[str, Any] | None = None,
    retry: Callable[[ItemResult[Any]], bool | float | None] | None = None,
    max_item_tries: int = 3,
    **client_options: Any,
) -> DaskUpload:
    """Opens an upload by the workers of a cluster; see `DaskUpload` for how to run it.

    The input is divided into parts, each of which is a task with a journal of its own. Parts that have keys in common
    are uploaded one after the other, in the order of the input. A worker may be killed at any time, and so may the
    caller: the same call goes on. All workers share one quota, by way of the journal's Redis.

    Secrets do not travel: workers have QUARTILE_SUBSCRIPTION_KEY and QUARTILE_ACCESS_TOKEN (or QUARTILE_USERNAME and
    QUARTILE_PASSWORD) in their environment, and QUARTILE_REDIS_URL where Redis has a password.

    Args:
        source: a path, or an iterable of paths or of (account, path) pairs, which the workers can open under the same
            name; long files of Parquet, CSV and JSON Lines are divided. Or a bag of mappings or models, or a dataframe,
            of Dask, whose partitions are the parts: computed twice, they must give the same items.
        resource: where the items go, and what they look like. Its model has to be importable on the workers.
        journal: the URL of a Redis that all can reach, and a name. The same name goes on with the same upload.
        dask_client: a `distributed.Client`, not an asynchronous one.
        credentials: a function that is called on the workers with each account (None where there is none), and gives
            its `auth` as `QuartileClient` takes it; one of a module, or one of a script that uses no values of it.
            (account, path) pairs need it.
        part_items: the most items of a part, where files can be divided.
        rate: of requests, over all workers, such as "600/minute"; None: what QUARTILE_REDIS_RATE says on the workers,
            or "600/minute".
        max_in_flight: batches being submitted or polled, over all workers; None: what QUARTILE_REDIS_MAX_IN_FLIGHT says
            on the workers, or 64.
        max_in_flight_per_worker: the same, for each part that a worker uploads; it uploads one in each of its threads.
        lease: seconds after which a worker, or a caller, that gives no sign of life counts as dead.
        durability: what is asked of Redis; see `quartile_async.redis.RedisJournal`.
        reading: options of `quartile_async.files.read_items`.
        retry: as for `QuartileClient.upload`; a function that workers can import.
        max_item_tries: the same.
        client_options: settings of `QuartileClient` that are not secret. `base_url` is that of this process, also where
            QUARTILE_BASE_URL says it.

    Raises:
        ConfigurationError: something cannot be used, or would carry a secret through the scheduler; nothing was sent.
    """
    url, name = _checked_journal(journal)
    _check_client(dask_client)
    given = input_of(source)
    _check_accounts(given, credentials)
    options = checked_options(client_options, max_in_flight_per_worker)
    check_travels(credentials=credentials, retry=retry, client_options=options)
    check_takes_no_value_along("credentials", credentials)
    check_resource_travels(resource)
    checked_retry(retry, max_item_tries)
    job = Job(
        name=name,
        run=uuid.uuid4().hex,
        address=address_of(url),
        resource=resource,
        options=options,
        credentials=credentials,
        rate=rate,
        max_in_flight=max_in_flight,
        max_in_flight_per_worker=max_in_flight_per_worker,
        lease=lease,
        retry=retry,
        max_item_tries=max_item_tries,
        durability=durability,
    )
    _check_settings(name, job, url)
    return DaskUpload(job, url, dask_client, planner_of(given, job, dask_client, part_items, reading))


def remove(journal: tuple[str, str]) -> None:
    """Removes what Redis keeps of an upload, which would stay for ever; its name can then be used for another one.

    Args:
        journal: as for `upload`.

    Raises:
        ConfigurationError: that is none.
        JournalError: the upload is under way, or Redis cannot be used.
    """
    url, name = _checked_journal(journal)
    with start_blocking_portal() as portal:
        portal.call(removed, url, name)


def _checked_journal(journal: object) -> tuple[str, str]:
    match journal:
        case (str() as url, str() as name):
            client_of(url)
            return url, name
    raise ConfigurationError("journal=... cannot be used: give the URL of a Redis and a name, as a tuple.")


def _check_client(client: Any) -> None:
    if not hasattr(client, "submit") or not hasattr(client, "scheduler_info"):
        raise ConfigurationError(f"dask_client is a {type(client).__name__}. Give a distributed.Client.")
    if getattr(client, "asynchronous", False):
        raise ConfigurationError(
            "dask_client is asynchronous. Give one that is not, and run the upload in a thread of its own "
            "(asyncio.to_thread)."
        )


def _check_accounts(given: Input, credentials: Credentials | None) -> None:
    accounts = {file.account for file in given.files} - {None} if isinstance(given, Files) else set()
    if accounts and credentials is None:
        raise ConfigurationError(
            f"There are files of {len(accounts)} accounts, and no credentials=...: a function that is called on the "
            "workers with each account, and gives its `auth`. Without it, all would go with the credentials of the "
            "workers' environment."
        )
    if credentials is not None and not callable(credentials):
        raise ConfigurationError(
            f"credentials is a {type(credentials).__name__}. Give a function of an account that gives its `auth`."
        )


def _check_settings(name: str, job: Job, url: str) -> None:
    """Raises ConfigurationError for what would else be known only on a worker."""
    RedisJournal(url, name, lease=job.lease, durability=job.durability)
    RedisQuota(url, **job.of_quota)
