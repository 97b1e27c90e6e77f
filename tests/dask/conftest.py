"""A cluster of two processes and a Redis for each worker of the tests; started by whoever needs them first."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import distributed
import pytest

from quartile_async.emulator import Emulator

from ..redis.conftest import all_are_there, only_redis_server, own_server, server  # noqa: F401  # fixtures of this folder, too


@pytest.fixture(scope="session")
def cluster() -> Iterator[Any]:
    """Its workers have the secrets of any emulator, in their environment; the one of `refused` is not valid."""
    token = Emulator().access_token
    secrets = {"QUARTILE_SUBSCRIPTION_KEY": Emulator().subscription_key, "QUARTILE_ACCESS_TOKEN": token}
    accounts = {"TOKEN_OF_acme": token, "TOKEN_OF_other": token, "TOKEN_OF_refused": "refused"}
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address="127.0.0.1:0", env=secrets | accounts
    ) as cluster:
        yield cluster


@pytest.fixture
def dask_client(cluster: Any) -> Iterator[Any]:
    with distributed.Client(cluster) as client:
        yield client
