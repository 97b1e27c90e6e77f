"""The emulator as a command."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import AsyncIterator

import anyio
import typer

from ..emulator import Emulator


async def run_emulator(*, host: str, port: int, seed: int, processing: float, fail_share: float) -> None:
    """Serves until it is interrupted; prints its address first, flushed, for whoever reads it from a pipe."""
    emulator = Emulator(host=host, port=port, seed=seed, processing=processing, fail_share=fail_share)
    with contextlib.ExitStack() as stack:
        # Before anything is printed: who has read it may send a signal at once.
        signals = _ending_signals(stack)
        async with emulator:
            typer.echo(emulator.url)
            for line in environment_lines(emulator):
                typer.echo(line)
            if signals is None:
                await anyio.sleep_forever()
            else:
                raise typer.Exit(128 + await anext(signals))


def _ending_signals(stack: contextlib.ExitStack) -> AsyncIterator[signal.Signals] | None:
    """Ctrl-C or SIGTERM; also where a shell started this in the background, which ignores the first."""
    try:
        return stack.enter_context(anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM))
    except NotImplementedError:  # what asyncio says on Windows, where Ctrl-C arrives as KeyboardInterrupt
        return None


def environment_lines(emulator: Emulator) -> list[str]:
    """What to paste before trying `upload` against the emulator."""
    return [
        f"export QUARTILE_BASE_URL={emulator.url}",
        f"export QUARTILE_SUBSCRIPTION_KEY={emulator.subscription_key}",
        f"export QUARTILE_ACCESS_TOKEN={emulator.access_token}",
        f"export QUARTILE_USERNAME={emulator.username}",
        f"export QUARTILE_PASSWORD={emulator.password}",
    ]
