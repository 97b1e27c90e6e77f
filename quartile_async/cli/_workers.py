"""The workers of an upload: a cluster of this machine, for as long as it takes, or one that is there."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import ExitStack, asynccontextmanager
from typing import Any

import anyio
import anyio.to_thread
import distributed

from .. import ConfigurationError, __version__
from .._dask.environment import Found, found_on_worker
from .._dask.job import address_of
from .._dask.terminal import OfTheTerminal, be_quiet
from .._errors import clause_of

CONNECTING = 10.0
"""Seconds that a scheduler has to answer."""

MOST_TOLD = 3


@asynccontextmanager
async def workers_here(number: int | None, environment: Mapping[str, str]) -> AsyncIterator[Any]:
    """A client of a cluster of this machine, whose workers have these variables.

    Args:
        number: of workers; None: one for each core.
        environment: goes to them as they are started, not by way of the scheduler.

    Raises:
        ConfigurationError: it cannot be started.
    """

    def opened(stack: ExitStack) -> Any:
        cluster = stack.enter_context(
            distributed.LocalCluster(  # type: ignore[no-untyped-call]  # as distributed has it
                n_workers=number or os.cpu_count() or 1,
                threads_per_worker=1,
                processes=True,
                dashboard_address="127.0.0.1:0",  # None is port 8787, which another cluster may have, for all machines
                silence_logs=logging.CRITICAL,
                env=dict(environment),
            )
        )
        client = _client(stack, cluster)
        client.register_plugin(OfTheTerminal())
        return client

    async with _opened(opened) as client:
        yield client


@asynccontextmanager
async def workers_at(address: str, redis: str, *, tell: Callable[[str], object]) -> AsyncIterator[Any]:
    """A client of a cluster that is there, whose workers have what they need as far as they are there by now.

    Args:
        address: of its scheduler.
        redis: the URL of Redis.
        tell: is told what people should know.

    Raises:
        ConfigurationError: it cannot be reached, or its workers lack something.
    """

    def opened(stack: ExitStack) -> Any:
        try:
            client = _client(stack, address)
        except (OSError, ValueError) as error:
            raise ConfigurationError(
                f"The scheduler of Dask at {address} cannot be reached: {clause_of(error)}. Give its address, "
                "such as tcp://scheduler:8786, or local for a cluster of this machine."
            ) from error
        found = _found(client, redis)
        check_workers(found)
        if not found:
            tell("The cluster has no workers yet: they are waited for.")
        return client

    async with _opened(opened) as client:
        yield client


def _client(stack: ExitStack, cluster: Any) -> Any:
    client = distributed.Client(cluster, timeout=CONNECTING)  # type: ignore[no-untyped-call]  # as distributed has it
    # Not entered: that would bind it to this thread's context, and it is left in another one.
    stack.callback(client.close)
    return client


@asynccontextmanager
async def _opened(opening: Any) -> AsyncIterator[Any]:
    """What is opened in a thread, and closed in one, also where Ctrl-C comes while it is being opened."""
    be_quiet()
    stack, one_at_a_time = ExitStack(), threading.Lock()

    def opened() -> Any:
        with one_at_a_time:
            return opening(stack)

    def close() -> None:
        with one_at_a_time:
            stack.close()

    try:
        yield await anyio.to_thread.run_sync(opened)
    finally:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(close)


def _found(client: Any, redis: str) -> Mapping[str, Found]:
    try:
        found: Mapping[str, Found] = client.run(found_on_worker, address_of(redis))
    except Exception as error:
        # What a worker cannot import, it cannot say in a class of its own.
        raise ConfigurationError(
            f"The workers cannot run an upload ({type(error).__name__}: {clause_of(error)}). Install it on their "
            f"machines: pip install 'quartile-async[cli,dask]=={__version__}'"
        ) from error
    return found


def check_workers(found: Mapping[str, Found]) -> None:
    """Raises ConfigurationError where workers have another version, or lack something."""
    if others := {worker: each.version for worker, each in found.items() if each.version != __version__}:
        worker, version = next(iter(others.items()))
        raise ConfigurationError(
            f"{len(others)} of {len(found)} workers have another version of quartile-async, such as {worker}: "
            f"{version}. Here it is {__version__}. Install the same on all machines."
        )
    lacking = {worker: each.missing for worker, each in found.items() if each.missing}
    if not lacking:
        return
    names = dict.fromkeys(name for missing in lacking.values() for name in missing)
    workers = ", ".join(list(lacking)[:MOST_TOLD]) + (", ..." if len(lacking) > MOST_TOLD else "")
    raise ConfigurationError(
        f"{len(lacking)} of {len(found)} workers ({workers}) lack in their environment: {'; '.join(names)}. Set that "
        "where workers are started. What this machine has, also a stored login, is not sent to them."
    )
