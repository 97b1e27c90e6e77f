"""One quota, one token and one journal for any number of processes and machines, on Redis.

    quota = RedisQuota("redis://localhost:6379", rate="600/minute", max_in_flight=64)
    auth = LoginAuth(username, password, store=RedisTokenStore("redis://localhost:6379"))
    async with QuartileClient(subscription_key=key, auth=auth, quota=quota) as client:
        client.upload(MASTERLIST, items, journal=RedisJournal("redis://localhost:6379", "catalogue-2026-11"))

It needs the extra `redis`.
"""

from __future__ import annotations

from ._shared.journal import RedisJournal
from ._shared.quota import RedisQuota
from ._shared.tokens import RedisTokenStore

__all__ = ["RedisJournal", "RedisQuota", "RedisTokenStore"]
