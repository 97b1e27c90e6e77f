"""A cluster of two processes and a Redis for each worker of the tests; started by whoever needs them first."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import distributed
import pytest

from quartile_async.emulator import Emulator

from ..redis.conftest import all_are_there, only_redis_server, own_server, server  # noqa: F401  # fixtures of this folder, too
from .cluster import RunningCluster, running_cluster


@pytest.fixture(scope="session")
def cluster() -> Iterator[RunningCluster]:
    """Its workers have the secrets of any emulator, in their environment; the one of `refused` is not valid."""
    token = Emulator().access_token
    secrets = {"QUARTILE_SUBSCRIPTION_KEY": Emulator().subscription_key, "QUARTILE_ACCESS_TOKEN": token}
    accounts = {"TOKEN_OF_acme": token, "TOKEN_OF_other": token, "TOKEN_OF_refused": "refused"}
    with running_cluster(secrets | accounts) as cluster:
        yield cluster


@pytest.fixture
def dask_client(cluster: RunningCluster) -> Iterator[Any]:
    with distributed.Client(cluster.scheduler_address) as client:
        yield client
