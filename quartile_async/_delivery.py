"""What is known of a request that makes the server take something."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeVar

import anyio.lowlevel

from ._errors import QuartileError

R = TypeVar("R")

LAST_MOMENT = 2.0
"""Seconds that a submit on the wire gets to reveal its batch's id when the upload is left."""


@dataclass(slots=True)
class Delivery:
    """A submit while it is under way.

    Attributes:
        on_the_wire: its body has begun to go out, and no answer has come.
        in_doubt: an earlier try may have arrived.
        batch_id: the id of the batch, once an answer has told it.
        left: the upload has been left; nothing more may be sent.
    """

    on_the_wire: bool = False
    in_doubt: bool = False
    batch_id: str | None = None
    left: bool = False
    _shelter: anyio.CancelScope | None = field(default=None, repr=False)

    @property
    def may_have_arrived(self) -> bool:
        return self.on_the_wire or self.in_doubt

    def goes_out(self) -> None:
        """The body has begun to go out."""
        self.on_the_wire = True

    def ended(self, error: QuartileError | None) -> None:
        """A try has ended."""
        self.on_the_wire = False
        self.in_doubt = self.in_doubt or (error is not None and error.may_have_been_sent)

    async def sheltered(self, exchange: Coroutine[Any, Any, R]) -> R:
        """Awaits an exchange that the upload's cancellation does not reach: `leave` ends it, after a moment."""
        if self.left:
            exchange.close()
        else:
            with anyio.CancelScope(shield=True) as self._shelter:
                return await exchange
        await anyio.lowlevel.checkpoint()  # which raises: an upload that was left has been cancelled
        raise AssertionError("not reached")

    def leave(self) -> None:
        """The upload is left. What is on the wire gets a moment, for its answer has the batch's id."""
        self.left = True
        # aiohttp writes the body in a task of its own: one that is about to start does so within a turn.
        asyncio.get_running_loop().call_soon(self._limit)

    def _limit(self) -> None:
        if self._shelter is None:
            return  # nothing was sent yet
        if self.on_the_wire:
            self._shelter.deadline = anyio.current_time() + LAST_MOMENT
        else:
            self._shelter.cancel()
