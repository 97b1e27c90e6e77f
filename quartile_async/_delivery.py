"""What is known of a request that makes the server take something."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Protocol

from ._errors import QuartileError, TransportError


class Hold(Protocol):
    """What must be had at the moment at which something is sent; see `HeldJournal`."""

    def is_held(self) -> bool: ...

    async def check_held(self) -> None: ...


class HeldBackError(TransportError):
    """It must not go out before its hold has been looked at again."""


@dataclass(slots=True)
class Delivery:
    """A submit while it is under way.

    Attributes:
        on_the_wire: its body has begun to go out, and no answer has come.
        in_doubt: an earlier try may have arrived.
        batch_id: the id of the batch, once an answer has told it.
        taken_at: when it did, on the loop's clock; None also where an earlier run submitted it.
        is_left: the upload has been left: nothing more may be sent.
        hold: what must be had whenever it goes out; None: nothing.
        was_held_back: the last try had come to its body, and nothing of that went out, for want of the hold.
    """

    on_the_wire: bool = False
    in_doubt: bool = False
    batch_id: str | None = None
    taken_at: float | None = None
    is_left: bool = False
    hold: Hold | None = None
    was_held_back: bool = False

    @property
    def may_have_arrived(self) -> bool:
        return self.on_the_wire or self.in_doubt

    def goes_out(self) -> None:
        """The body begins to go out.

        Raises:
            CancelledError: it must not; the upload has been left.
            HeldBackError: it must not now; to connect has taken too long.
        """
        self.check_not_left()
        if self.hold is not None and not self.hold.is_held():
            self.was_held_back = True
            raise HeldBackError("The journal may be another's by now.")
        self.on_the_wire = True

    def ended(self, error: QuartileError | None) -> None:
        """A try has ended."""
        self.on_the_wire = False
        self.in_doubt = self.in_doubt or (error is not None and error.may_have_been_sent)

    def check_not_left(self) -> None:
        """Raises CancelledError where the upload has been left: ends its task, as its cancellation would."""
        if self.is_left:
            raise asyncio.CancelledError
