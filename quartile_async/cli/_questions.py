"""Commands that only ask: what became of a batch, and whether the credentials work."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import typer
from pydantic_core import to_json
from rich.console import Console

from .. import BatchStatus, QuartileClient, Resource
from ._words import say


async def show_batch(
    batch_id: str, resource: Resource[Any], settings: Mapping[str, Any], *, wait: bool, as_json: bool, console: Console
) -> bool:
    """Prints a batch's state and rows to standard output; gives whether it has ended and every row succeeded.

    Raises:
        QuartileError: it could not be asked for.
    """
    async with QuartileClient.from_env(**settings) as client:
        if wait:
            status = await client.wait(batch_id, resource)
        else:
            status = await client.get_batch(batch_id, resource)
    if as_json:
        content = {"batch_id": batch_id, "status": status.status, "finished": status.finished, "rows": status.rows}
        typer.echo(to_json(content).decode())
    else:
        for row in status.rows:
            typer.echo(to_json(row).decode())
        say(console, described(status))
    return status.finished and all(map(_success_of, status.rows))


def described(status: BatchStatus) -> str:
    """A batch's state in one sentence."""
    if not status.finished:
        return f"Batch {status.batch_id} has not ended: {status.status}. Ask again later, or with --wait."
    successes = Counter(map(_success_of, status.rows))
    counts = ", ".join(
        f"{successes[success]} {word}"
        for success, word in ((True, "succeeded"), (False, "failed"), (None, "unreadable"))
        if successes[success]
    )
    rows = f"{len(status.rows)} rows: {counts}" if status.rows else "no rows"
    return f"Batch {status.batch_id} has ended: {status.status}, {rows}."


def _success_of(row: Mapping[str, Any]) -> bool | None:
    verdict = row.get("status")
    success = verdict.get("success") if isinstance(verdict, Mapping) else None
    return success if isinstance(success, bool) else None


async def check_credentials(settings: Mapping[str, Any], console: Console) -> None:
    """Asks the server whether it takes the subscription key and the access token; changes nothing.

    Raises:
        QuartileError: it does not, or does not answer.
    """
    async with QuartileClient.from_env(**settings) as client:
        await client._api.validate()  # pyright: ignore[reportPrivateUsage]  # one package
        server = client._api.server  # pyright: ignore[reportPrivateUsage]  # one package
    say(console, f"{server} takes the subscription key and the access token.")
