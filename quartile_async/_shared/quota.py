"""The quota that a user describes, and what the environment says of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from .._errors import ConfigurationError
from .._numbers import check_at_least
from .connection import Link, RedisClient, check_connections, client_of, described
from .rate import parsed_rate
from .scripts import Keys
from .share import RedisShare
from .terms import Membership, Terms, WhenUnreachable

SHORTEST_LEASE = 0.5
"""Seconds."""


class RedisQuota:
    """Requests per time and batches in flight, shared by all clients with the same subscription key and Redis.

    At most `rate` requests in any period, by a moving window on Redis's own clock, of which a tenth may go out at once;
    at most `max_in_flight` batches under way. A 429 that one of them sees holds back all of them. Processes take turns.
    All of them should be given the same rate and limit.

    Args:
        url: as redis-py takes it: `redis://`, `rediss://` (TLS) or `unix://`, with user and password; or a client of
            `redis.asyncio`, as for Sentinel or a cluster, which stays yours to close.
        rate: such as "600/minute", "10/second" or "30/20 seconds"; logins and polls count. None: no rate.
        max_in_flight: batches being submitted or polled, over all clients; each client's own `max_in_flight` holds too.
        lease: seconds after which what a dead process held is free again.
        when_unreachable: what happens then: "error" (`SharedQuotaError`), or "share": each client goes on with the
            `processes`-th part of rate and batches, until Redis is back.
        processes: how many clients there are at most; needed for "share".
        outage_limit: seconds for which Redis may not be reached; None: as long as the lease, and at least ten.

    Raises:
        ConfigurationError: a setting cannot be used.
    """

    def __init__(
        self,
        url: str | RedisClient,
        *,
        rate: str | None = "600/minute",
        max_in_flight: int = 64,
        lease: float = 30.0,
        when_unreachable: WhenUnreachable = "error",
        processes: int | None = None,
        outage_limit: float | None = None,
    ) -> None:
        check_connections(client_of(url))
        self._url = url
        self._terms = Terms(
            None if rate is None else parsed_rate(rate),
            max_in_flight,
            lease,
            when_unreachable,
            1 if processes is None else processes,
            outage_limit,
        )
        _check(self._terms, processes)

    def __repr__(self) -> str:
        terms = self._terms
        rate = "no rate" if terms.rate is None else str(terms.rate)
        return f"<RedisQuota at {described(self._url)}, {rate}, {terms.max_in_flight} in flight>"

    def share_of(self, subscription_key: str, *, closed_elsewhere: Callable[[float], object]) -> RedisShare:
        """One client's part; the client asks for it."""
        return RedisShare(Membership(Link(self._url), Keys(subscription_key), self._terms, closed_elsewhere))


def quota_from_env(environ: Mapping[str, str], **given: Any) -> RedisQuota:
    """The quota that QUARTILE_REDIS_URL, QUARTILE_REDIS_RATE and QUARTILE_REDIS_MAX_IN_FLIGHT describe.

    `given`: further settings; they win.

    Raises:
        ConfigurationError: one of them cannot be used.
    """
    settings: dict[str, Any] = {}
    if rate := environ.get("QUARTILE_REDIS_RATE"):
        settings["rate"] = None if rate == "none" else rate
    if limit := environ.get("QUARTILE_REDIS_MAX_IN_FLIGHT"):
        if not limit.isdecimal():
            raise ConfigurationError(f"QUARTILE_REDIS_MAX_IN_FLIGHT={limit!r} cannot be used: give a whole number.")
        settings["max_in_flight"] = int(limit)
    return RedisQuota(environ["QUARTILE_REDIS_URL"], **(settings | given))


def _check(terms: Terms, processes: int | None) -> None:
    check_at_least(1, whole=True, max_in_flight=terms.max_in_flight, processes=terms.processes)
    check_at_least(SHORTEST_LEASE, lease=terms.lease)
    if terms.outage_limit is not None:
        check_at_least(terms.lease if terms.when_unreachable == "share" else 0.0, outage_limit=terms.outage_limit)
    if terms.when_unreachable not in ("error", "share"):
        raise ConfigurationError(f"when_unreachable={terms.when_unreachable!r}: give 'error' or 'share'.")
    if terms.when_unreachable == "share":
        _check_parts(terms, processes)


def _check_parts(terms: Terms, processes: int | None) -> None:
    if processes is None:
        raise ConfigurationError("when_unreachable='share' needs processes=..., how many clients there are at most.")
    rate = terms.rate
    if terms.max_in_flight < processes or (rate is not None and rate.requests < processes):
        raise ConfigurationError(
            f"when_unreachable='share' needs at least one request and one batch for each of {processes} processes."
        )
