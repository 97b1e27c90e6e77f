"""The emulator as a command."""

from __future__ import annotations

import asyncio
import signal

import typer

from ..emulator import Emulator
from ._interrupts import interrupts_heard


async def run_emulator(*, host: str, port: int, seed: int, processing: float, fail_share: float) -> None:
    """Serves until it is interrupted; prints its address first, flushed, for whoever reads it from a pipe."""
    emulator = Emulator(host=host, port=port, seed=seed, processing=processing, fail_share=fail_share)
    signals: asyncio.Queue[signal.Signals] = asyncio.Queue()
    # Before anything is printed: who has read it may send a signal at once.
    with interrupts_heard(signals.put_nowait):
        async with emulator:
            typer.echo(emulator.url)
            for line in environment_lines(emulator):
                typer.echo(line)
            raise typer.Exit(128 + await signals.get())


def environment_lines(emulator: Emulator) -> list[str]:
    """What to paste before trying `upload` against the emulator."""
    return [
        f"export QUARTILE_BASE_URL={emulator.url}",
        f"export QUARTILE_SUBSCRIPTION_KEY={emulator.subscription_key}",
        f"export QUARTILE_ACCESS_TOKEN={emulator.access_token}",
        f"export QUARTILE_USERNAME={emulator.username}",
        f"export QUARTILE_PASSWORD={emulator.password}",
    ]
