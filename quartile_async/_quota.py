"""The seam for a quota that many processes share; the slots and the gate of one process are in `_pacing`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeAlias, runtime_checkable


class RequestRate(Protocol):
    """How many requests may go out.

    Attributes:
        per_second: in the long run.
        burst: at once.
    """

    @property
    def per_second(self) -> float: ...

    @property
    def burst(self) -> int: ...


class Share(Protocol):
    """One client's part of a quota.

    What waits raises SharedQuotaError where the quota cannot be asked.

    Attributes:
        rate: of all who share it; None: requests are not counted.
    """

    @property
    def rate(self) -> RequestRate | None: ...

    async def admission(self) -> float:
        """Waits until one request may go out.

        Returns:
            Until when, on the loop's clock; a time that is over means to pass the gate and to ask again.
        """
        ...

    async def take(self, borrower: object) -> None:
        """Waits until one more batch may be in flight. `borrower` gives that back."""
        ...

    def give_back(self, borrower: object) -> None:
        """A batch has ended."""
        ...

    def gate_closed(self, seconds: float) -> None:
        """The server wants no requests for so long: tells all others."""
        ...

    async def aclose(self) -> None:
        """Gives everything back."""
        ...


ShareOf: TypeAlias = Callable[[Callable[[float], object]], Share]
"""Makes a client's part of a quota, given what is to be told when somebody else has closed the gate."""


@runtime_checkable
class Quota(Protocol):
    """Requests per time and batches in flight, for all who have the same subscription key."""

    def share_of(self, subscription_key: str, *, closed_elsewhere: Callable[[float], object]) -> Share:
        """A client's part; `closed_elsewhere` is told for how many seconds somebody else has closed the gate."""
        ...
