"""What every worker is told of a run, and where it gets the secrets that are not told."""

from __future__ import annotations

import difflib
import inspect
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias
from urllib.parse import urlsplit, urlunsplit

from .._client import BASE_URL, Auth, QuartileClient, settings_from_env
from .._errors import ConfigurationError, QuartileError
from .._resources import Resource
from .._results import ItemResult
from .._shared.connection import described
from .._shared.journal_durability import Durability
from .._shared.quota import RedisQuota, quota_from_env
from ..files import read_items
from .channel import PATIENCE

Credentials: TypeAlias = Callable[[str | None], Auth]
"""Gives the `auth` of an account; it is called on the workers."""

REDIS_URL = "QUARTILE_REDIS_URL"

SECRET = ("subscription_key", "auth")
OF_THE_RUN = ("quota", "account", "ssl_context", "on_event")
WHERE = {
    "subscription_key": "QUARTILE_SUBSCRIPTION_KEY",
    "auth": "QUARTILE_ACCESS_TOKEN, or QUARTILE_USERNAME and QUARTILE_PASSWORD; or give credentials=..., a function "
    "that gets them on the worker",
}
INSTEAD = {
    "quota": "the workers share one on the journal's Redis: give rate=... and max_in_flight=...",
    "account": "give (account, file) pairs",
    "ssl_context": "it cannot be sent to workers: have the workers' machines trust the certificate",
    "on_event": "it would be called on the workers: use OpenTelemetry there, or `progress` here",
}


@dataclass(slots=True, frozen=True)
class Address:
    """Where Redis is, without its password: this travels to the workers, and is seen on the dashboard.

    Attributes:
        url: the address.
        has_secret: whether there is a password, which the workers take from QUARTILE_REDIS_URL.
    """

    url: str
    has_secret: bool

    def __call__(self) -> str:
        """The address to use, on a worker.

        Raises:
            ConfigurationError: the environment has no such address.
        """
        if not self.has_secret:
            return self.url
        found = os.environ.get(REDIS_URL, "")
        if described(found) != described(self.url):
            has = f"there it is {described(found)}" if found else "there it is not set"
            raise ConfigurationError(
                f"The address of Redis has a password, which is not sent to workers: set {REDIS_URL} in the "
                f"environment of each worker to the same address, {described(self.url)} ({has})."
            )
        return found


def address_of(url: str) -> Address:
    """What workers are told of it."""
    parts = urlsplit(url)
    where = parts.netloc.rpartition("@")[2]
    has_secret = where != parts.netloc or "password=" in parts.query
    return Address(described(url), has_secret=True) if has_secret else Address(urlunsplit(parts), has_secret=False)


@dataclass(slots=True, frozen=True)
class Job:
    """A run, as its workers are told of it. It has no secret.

    Attributes:
        name: of the journal, and of all runs that go on with it.
        run: of this one.
        address: gives the URL of Redis, on the worker.
        resource: where the items go.
        options: of the client.
        credentials: gives each account's `auth`; None: what the environment says.
        rate: of the quota that all workers share; None: what the environment says.
        max_in_flight: batches under way, over all workers; None: what the environment says.
        max_in_flight_per_worker: batches under way, for each part that is being uploaded.
        lease: seconds after which a worker that gives no sign of life counts as dead.
        retry, max_item_tries: as for `QuartileClient.upload`.
        durability: what is asked of Redis; see `RedisJournal`.
    """

    name: str
    run: str
    address: Address
    resource: Resource[Any]
    options: Mapping[str, Any] = field(default_factory=dict)
    credentials: Credentials | None = None
    rate: str | None = None
    max_in_flight: int | None = None
    max_in_flight_per_worker: int = 16
    lease: float = 15.0
    retry: Callable[[ItemResult[Any]], bool | float | None] | None = None
    max_item_tries: int = 3
    durability: Durability = "aof"

    def client_for(self, account: str | None) -> QuartileClient:
        """A client for one account, with the worker's own secrets.

        Raises:
            ConfigurationError: the worker's environment lacks something, or a setting cannot be used.
        """
        options: dict[str, Any] = {**self.options, "account": account, "max_in_flight": self.max_in_flight_per_worker}
        options["quota"] = self._quota()
        if self.credentials is not None:
            options["auth"] = self._auth_of(self.credentials, account)
        try:
            return QuartileClient(**(settings_from_env(os.environ, given=options) | options))
        except ConfigurationError as error:
            raise ConfigurationError(f"On a worker: {error}") from None

    def _auth_of(self, credentials: Credentials, account: str | None) -> Auth:
        try:
            auth = credentials(account)
        except QuartileError:
            raise
        except Exception as error:
            words = f"On a worker: credentials({account!r}) has raised {type(error).__name__}: {error}."
            raise ConfigurationError(f"{words} Nothing was sent of this part.") from error
        if auth is None:
            raise ConfigurationError(f"On a worker: credentials({account!r}) gave None, and not an `auth`.")
        return auth

    def _quota(self) -> RedisQuota:
        return quota_from_env({**os.environ, REDIS_URL: self.address()}, **self.of_quota, outage_limit=PATIENCE)

    @property
    def of_quota(self) -> dict[str, Any]:
        """Settings of the quota that workers share, as far as the caller has said them."""
        said = {"rate": self.rate, "max_in_flight": self.max_in_flight}
        return {name: value for name, value in said.items() if value is not None} | {"lease": self.lease}


def journal_of_part(name: str, part: int) -> str:
    """The name of a part's journal."""
    return f"{name}/{part}"


OF_UPLOAD = (
    "journal",
    "dask_client",
    "credentials",
    "part_items",
    "rate",
    "max_in_flight_per_worker",
    "lease",
    "durability",
    "reading",
    "retry",
    "max_item_tries",
)
"""What an upload takes beside the settings of a client."""


def checked_options(options: Mapping[str, Any], max_in_flight: int = 16) -> Mapping[str, Any]:
    """The client's options, where they may travel.

    Raises:
        ConfigurationError: one of them is a secret, or cannot be used on workers.
    """
    for name in SECRET:
        if name in options:
            raise ConfigurationError(
                f"{name}=... would travel through Dask's scheduler, and is not sent. Set it in the environment of "
                f"each worker: {WHERE[name]}."
            )
    for name in OF_THE_RUN:
        if name in options:
            raise ConfigurationError(f"{name}=... cannot be used here: {INSTEAD[name]}.")
    _check_are_known(options)
    # Workers' environments may have another address: where items go is said here, for all of them.
    options = {"base_url": os.environ.get("QUARTILE_BASE_URL") or BASE_URL, **options}
    # Here, and not on the first worker: a client says what it thinks of its settings when it is made.
    QuartileClient(subscription_key="checked", auth="checked", max_in_flight=max_in_flight, **options)
    return options


def _check_are_known(options: Mapping[str, Any]) -> None:
    of_client, of_files = ({*inspect.signature(each).parameters} for each in (QuartileClient, read_items))
    for name in options:
        if name in of_client:
            continue
        if name in of_files:
            raise ConfigurationError(f"{name}=... says how files are read: give reading={{{name!r}: ...}}.")
        like = difflib.get_close_matches(name, [*of_client, *OF_UPLOAD], n=1)
        hint = f" Do you mean {like[0]}?" if like else " See the settings of QuartileClient."
        raise ConfigurationError(f"There is no setting {name!r}.{hint}")
