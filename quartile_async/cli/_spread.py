"""What was asked for of Dask: which options go together, and where an upload is written down that workers share."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Collection, Mapping
from pathlib import Path

from .. import ConfigurationError, Resource
from ._inputs import Inputs
from ._job import Spread

LOCAL = "local"
REDIS_URL = "QUARTILE_REDIS_URL"

ONLY_WITH_DASK = ("--redis", "--workers", "--part-items")

NOT_WITH_DASK = {
    "--first": "its parts are uploaded beside each other, in no order. Send the first ones without --dask, then all of "
    "them with it.",
    "--no-journal": "without one, a worker that dies would take along what it knew.",
    "--again": "say --restart to leave behind what stands under the journal's name, and send all once more.",
}
NOT_WITH_ADDRESS = {
    "--workers": "that cluster has the workers that it has.",
    "--profile": "a profile's login stays on this machine, and the workers use what stands in their environment. Leave "
    "it out (also QUARTILE_PROFILE), and give its base_url and label by --base-url and --account.",
}


def check_together(dask: str | None, given: Collection[str]) -> None:
    """Raises ConfigurationError where options do not go together; `given` are those that were given."""
    if dask is None:
        if stray := [option for option in ONLY_WITH_DASK if option in given]:
            raise ConfigurationError(f"{stray[0]} goes only with --dask, which spreads an upload over many workers.")
        return
    reasons = NOT_WITH_DASK if dask == LOCAL else NOT_WITH_DASK | NOT_WITH_ADDRESS
    for option, reason in reasons.items():
        if option in given:
            with_what = "--dask" if option in NOT_WITH_DASK else "the address of a cluster (--dask)"
            raise ConfigurationError(f"{option} does not go with {with_what}: {reason}")


def spread_over(
    dask: str,
    *,
    redis: str | None,
    journal: Path | None,
    inputs: Inputs,
    account: str | None,
    server: str,
    resource: Resource[object],
    workers: int | None,
    part_items: int | None,
    restart: bool,
) -> Spread:
    """How an upload is to be spread.

    Raises:
        ConfigurationError: a library is missing, there is no Redis, or the input cannot be spread.
    """
    check_is_installed()
    if inputs.is_pipe:
        raise ConfigurationError(
            "A pipe does not go with --dask: its items are gone with this process, and so could not be gone on with. "
            "Put them into a file."
        )
    return Spread(
        cluster=None if dask == LOCAL else dask,
        redis=redis_url(redis, os.environ),
        journal=str(journal) if journal is not None else default_name(inputs, account, server, resource.path),
        workers=workers,
        part_items=part_items,
        restart=restart,
    )


def check_is_installed() -> None:
    """Raises ConfigurationError where a library is missing that --dask needs."""
    try:
        import distributed  # noqa: F401  # slow to import, and needed by --dask alone

        from .._shared import connection  # noqa: F401  # the same is true of redis, which it opens
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"--dask needs the package {error.name}, which is not installed. Install it with: "
            "pip install 'quartile-async[dask]'"
        ) from error


def redis_url(typed: str | None, environ: Mapping[str, str]) -> str:
    """The address of Redis.

    Raises:
        ConfigurationError: there is none, or it has a password and stands on the command line.
    """
    from .._dask.job import address_of  # which needs redis

    if typed is not None:
        if address_of(typed).has_secret:
            raise ConfigurationError(
                f"The address of Redis has a password, which others on this machine could see. Set {REDIS_URL} in the "
                "environment instead of --redis."
            )
        return typed
    if found := environ.get(REDIS_URL):
        return found
    raise ConfigurationError(
        "--dask needs a Redis that all workers can reach: the upload is written down there, and results come by way of "
        f"it. Give its address by --redis, such as redis://localhost:6379/0, or by {REDIS_URL} in the environment."
    )


def default_name(inputs: Inputs, account: str | None, server: str, resource: str) -> str:
    """The name of the journal of an upload, unless one is given: the same files, sent to the same place, have the same.

    Beside the files' names it has a digest: files in other folders may have the same names.
    """
    paths = [os.path.abspath(path) for path in inputs.paths]  # noqa: PTH100  # not resolved, as on the workers
    digest = hashlib.sha256("\0".join([server, resource, account or "", *paths]).encode(errors="surrogateescape"))
    others = len(inputs.paths) - 1
    words = (inputs.paths[0].name, f"and-{others}-more" if others else "", account or "", digest.hexdigest()[:8])
    return ".".join(re.sub(r"[^\w.-]", "_", word) for word in words if word)
