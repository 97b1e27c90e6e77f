"""A Redis and a cluster, for whoever needs them."""

from __future__ import annotations

from ..dask.conftest import cluster
from ..redis.conftest import only_redis_server, server

__all__ = ["cluster", "only_redis_server", "server"]
