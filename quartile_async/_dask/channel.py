"""What goes between a run's caller and its workers, by way of Redis: results, how far parts have come, and stopping."""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

from .._errors import JournalError
from .._shared.connection import FIRST_WAIT, Link, RefusedError, UnreachableError, fields_of, text_of
from .._shared.scripts import Script, script_of

KEPT = 24 * 3600.0
"""Seconds for which Redis keeps what a run has left behind; each of its signs of life begins them anew."""

MOST_WAITING = 50
"""The most blocks of results that wait in Redis for the caller; beyond it the workers wait."""

BLOCK = 500
"""Results in a block, at most."""

PATIENCE = 60.0
"""Seconds for which Redis may be away before a worker or a caller gives up."""


class Word(enum.StrEnum):
    """What a worker hears when it asks whether the run goes on."""

    GO_ON = "go on"
    STOP = "stop"
    """Submit no more; what is in flight is finished, and told."""
    LEAVE = "leave"
    """End at once: the caller has left, or died, or another one has begun a run of the same name."""
    FULL = "full"
    """There is no room for results at the moment."""
    OVER = "over"
    """The run has ended, and the next one may begin at once."""


_script = partial(script_of, "run_common", folder=Path(__file__).parent)

BEGIN: Final = _script("run_begin")
KEEP: Final = _script("run_keep")
KEEP_PLAN: Final = _script("run_keep_plan")
TELL: Final = _script("run_tell")
HAND_OVER: Final = _script("run_hand_over")


class Keys:
    """The names of what is kept for runs of one name; what stands in braces puts them into one slot of a cluster."""

    def __init__(self, name: str) -> None:
        digest = hashlib.sha256(f"quartile run {name}".encode()).hexdigest()[:32]
        self._stem = f"quartile:{{{digest}}}"
        self.run: str = f"{self._stem}:run"
        self.plan: str = f"{self._stem}:plan"
        self.results_of: str = f"{self._stem}:results:"
        self.progress_of: str = f"{self._stem}:progress:"


class Channel:
    """What Redis keeps of the uploads of one name, as far as it can be had without a run.

    Every function raises a JournalError where Redis has not been reached for `PATIENCE`, or refuses.
    """

    def __init__(self, link: Link, name: str) -> None:
        self._link = link
        self._keys = Keys(name)

    async def plan(self) -> bytes | None:
        """The plan that a run of this name has kept."""
        plan: bytes | None = await self._ask("GET", self._keys.plan)
        return plan

    async def _run_script(self, script: Script, keys: Sequence[str], *arguments: object) -> Any:
        return await self._done(lambda: self._link.run(script, keys, arguments))

    async def _ask(self, *words: Any) -> Any:
        return await self._done(lambda: self._link.command(*words))

    async def _done(self, once: Callable[[], Awaitable[Any]]) -> Any:
        link = self._link
        try:
            return await link.repeat(once, patience=PATIENCE)
        except UnreachableError as error:
            raise JournalError(
                f"Redis at {link.name} has not done its part for {link.lost_for:.3g} s: {error}. Nothing more is "
                "submitted. Check the address and the server, and call the same again to go on."
            ) from error
        except RefusedError as error:
            raise JournalError(
                f"Redis at {link.name} does not do its part: {error}. Check the address, the password and the rights, "
                "and call the same again to go on."
            ) from error


class WorkerEnd(Channel):
    """A worker's end of the channel, for one run."""

    def __init__(self, link: Link, name: str, run: str) -> None:
        super().__init__(link, name)
        self._run = run

    async def tell(self, part: int, told: bytes) -> Word:
        """Says how far a part has come, and hears whether the run goes on."""
        keys = (self._keys.run, self._keys.progress_of + self._run)
        return Word(text_of(await self._run_script(TELL, keys, self._run, part, told, _milli(KEPT))))

    async def hand_over(self, results: bytes) -> Word:
        """Hands a block of results over, where there is room.

        A block whose answer was lost may be handed over twice; the caller takes each result once.
        """
        keys = (self._keys.run, self._keys.results_of + self._run)
        answer = await self._run_script(HAND_OVER, keys, self._run, MOST_WAITING, results, _milli(KEPT))
        return Word(text_of(answer))


class CallerEnd(Channel):
    """The caller's end of the channel, for one run.

    Args:
        lease: seconds after which a caller that gives no sign of life counts as dead.
    """

    def __init__(self, link: Link, name: str, run: str, lease: float) -> None:
        super().__init__(link, name)
        self._run = run
        self._lease = lease
        self._results = self._keys.results_of + run
        self._last = "0"

    async def begin(self) -> float:
        """Begins the run; or gives the seconds after which another one, whose caller gives no sign of life, is over."""
        stems = (self._keys.results_of, self._keys.progress_of)
        lease, kept = _milli(self._lease), _milli(KEPT)
        wait = await self._run_script(BEGIN, (self._keys.run,), self._run, lease, kept, *stems)
        return 0.0 if int(wait) < 0 else max(FIRST_WAIT, int(wait) / 1000)

    async def keep(self, word: Word) -> bool:
        """A sign of life; says whether the run goes on. False: it is not this caller's any more."""
        lease, kept = _milli(self._lease), _milli(KEPT)
        return bool(int(await self._run_script(KEEP, (self._keys.run,), self._run, lease, kept, word)))

    async def blocks(self, seconds: float) -> list[bytes]:
        """The next blocks of results, waiting for the first; none where none came in time."""
        found = await self._done(lambda: self._link.read({self._results: self._last}, seconds))
        if not found:
            return []
        self._last = found[-1][1]
        return [fields["results"].encode() for _, _, fields in found]

    async def make_room(self) -> None:
        """Forgets the blocks that were read, so that others have room."""
        if self._last != "0":
            await self._ask("XTRIM", self._results, "MINID", _after(self._last))

    async def progress(self) -> Mapping[int, str]:
        """What was told last of each part."""
        found = await self._ask("HGETALL", self._keys.progress_of + self._run)
        return {int(part): told for part, told in fields_of(found).items()}

    async def keep_plan(self, plan: bytes) -> bool:
        """Keeps a plan for later runs of this name. False: the run is not this caller's any more, nor is the plan."""
        return bool(int(await self._run_script(KEEP_PLAN, (self._keys.run, self._keys.plan), self._run, plan)))

    async def forget_plan(self) -> None:
        """Forgets the plan: the next run of this name makes a new one."""
        await self._ask("DEL", self._keys.plan)

    async def forget(self) -> None:
        """Forgets what the run has left behind, but for the plan."""
        await self._ask("DEL", self._results, self._keys.progress_of + self._run)


def _milli(seconds: float) -> int:
    return round(seconds * 1000)


def _after(name: str) -> str:
    """The name of an entry of a stream that could follow next."""
    milliseconds, _, number = name.partition("-")
    return f"{milliseconds}-{int(number or 0) + 1}"
