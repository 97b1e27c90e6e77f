"""What is known of a request that makes the server take something."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from ._errors import QuartileError


@dataclass(slots=True)
class Delivery:
    """A submit while it is under way.

    Attributes:
        on_the_wire: its body has begun to go out, and no answer has come.
        in_doubt: an earlier try may have arrived.
        batch_id: the id of the batch, once an answer has told it.
        taken_at: when it did, on the loop's clock; None also where an earlier run submitted it.
        is_left: the upload has been left: nothing more may be sent.
    """

    on_the_wire: bool = False
    in_doubt: bool = False
    batch_id: str | None = None
    taken_at: float | None = None
    is_left: bool = False

    @property
    def may_have_arrived(self) -> bool:
        return self.on_the_wire or self.in_doubt

    def goes_out(self) -> None:
        """The body begins to go out.

        Raises:
            CancelledError: it must not; the upload has been left.
        """
        self.check_not_left()
        self.on_the_wire = True

    def ended(self, error: QuartileError | None) -> None:
        """A try has ended."""
        self.on_the_wire = False
        self.in_doubt = self.in_doubt or (error is not None and error.may_have_been_sent)

    def check_not_left(self) -> None:
        """Raises CancelledError where the upload has been left: ends its task, as its cancellation would."""
        if self.is_left:
            raise asyncio.CancelledError
