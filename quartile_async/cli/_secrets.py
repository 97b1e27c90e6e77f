"""How the workers of this machine get the credentials of this process: by their environment, and by files."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .. import LoginAuth
from .._dask.environment import FromEnvironment, FromStoredLogin
from ._accounts import StoredLogin


@dataclass(slots=True, frozen=True)
class ForWorkers:
    """What workers get.

    Attributes:
        environment: variables; those that are empty hide what else they would have from this process.
        credentials: gives the `auth` on a worker, for `quartile_async.dask.upload`; it is no secret.
    """

    environment: dict[str, str] = field(repr=False)
    credentials: Callable[[str | None], Any]


def for_workers_here(settings: Mapping[str, Any], redis: str, folder: Path) -> ForWorkers:
    """For workers of this machine.

    Args:
        settings: of the client, with its `auth`.
        redis: the URL, with its password.
        folder: which only this user can open, and which is there as long as they are; tokens of a login are kept there.
    """
    auth = settings["auth"]
    environment = {
        "QUARTILE_SUBSCRIPTION_KEY": settings.get("subscription_key") or os.environ["QUARTILE_SUBSCRIPTION_KEY"],
        "QUARTILE_REDIS_URL": redis,
        **dict.fromkeys(("QUARTILE_ACCESS_TOKEN", "QUARTILE_USERNAME", "QUARTILE_PASSWORD"), ""),
    }
    match auth:
        case StoredLogin():
            return ForWorkers(environment, FromStoredLogin(str(auth.path), auth.user))
        case LoginAuth():
            password = auth._password  # pyright: ignore[reportPrivateUsage]  # one package
            environment |= {"QUARTILE_USERNAME": auth.username, "QUARTILE_PASSWORD": password}
            return ForWorkers(environment, FromEnvironment(str(folder / "tokens.json")))
    environment["QUARTILE_ACCESS_TOKEN"] = auth
    return ForWorkers(environment, FromEnvironment())
