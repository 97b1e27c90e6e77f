"""Keeps a run alive: the caller's signs of life, its word to the workers, and what they tell of their parts."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from pydantic_core import from_json

from .._errors import JournalError, QuartileError
from .channel import CallerEnd, Word

BEAT = 1.0
"""Seconds between two signs of life, at most."""

SIGNS = 3
"""The caller gives so many signs of life before it would count as dead."""

ENDING = 3.0
"""Seconds for which it is tried to tell Redis that the run is over."""

logger = logging.getLogger("quartile_async")


def taken_over(name: str) -> JournalError:
    """What it means that the run is not its caller's any more."""
    return JournalError(
        f"The upload {name!r} has been taken over by another call, or Redis has lost what it knew of it. What is in "
        "flight is left to the workers' journals. Call the same again to go on."
    )


class Keeper:
    """Runs on the event loop of the caller's thread for Redis, from `begin` to `end`.

    Attributes:
        heard: the word that Redis had for the workers; and behind it, by part, what was told of it last. A part that
            is not there had not been begun when Redis had the word.
        broken: what has ended the run from here; None as long as nothing has.
    """

    def __init__(self, channel: CallerEnd, name: str, lease: float) -> None:
        self._channel = channel
        self._name = name
        self._lease = lease
        self._word = Word.GO_ON
        self._said = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.heard: tuple[Word, Mapping[int, Mapping[str, Any]]] = Word.GO_ON, {}
        self.broken: QuartileError | None = None

    async def begin(self) -> None:
        """Begins the run, once an earlier one is over.

        Raises:
            JournalError: another caller is alive.
        """
        clock = asyncio.get_running_loop().time
        waits_until = clock() + 1.5 * self._lease
        while (wait := await self._channel.begin()) > 0.0:
            if clock() >= waits_until:
                raise JournalError(
                    f"The upload {self._name!r} is under way, from another call that is alive. Wait for its end, or "
                    "stop it; or name another journal."
                )
            await asyncio.sleep(min(wait, BEAT))
        self._task = asyncio.get_running_loop().create_task(self._keep(), name="quartile_async run")

    async def say(self, word: Word) -> None:
        """Tells the workers, at once."""
        self._word = word
        self._said.set()

    async def end(self) -> None:
        """The run is over: the next one of its name may begin. Where Redis is away, its lease will tell that."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        if self.broken is not None:
            return
        try:
            async with asyncio.timeout(ENDING):
                await self._channel.keep(Word.OVER)
                await self._channel.forget()
        except (JournalError, TimeoutError) as error:
            logger.warning(
                "Redis has not heard that the upload %r is over: the same call can begin in %g s. %s",
                self._name,
                self._lease,
                error,
            )

    async def _keep(self) -> None:
        try:
            while True:
                self._said.clear()
                word = self._word
                if not await self._channel.keep(word):
                    raise taken_over(self._name)
                told = await self._channel.progress()
                self.heard = word, {part: from_json(content) for part, content in told.items()}
                with suppress(TimeoutError):
                    async with asyncio.timeout(min(BEAT, self._lease / SIGNS)):
                        await self._said.wait()
        except QuartileError as error:
            self.broken = error
