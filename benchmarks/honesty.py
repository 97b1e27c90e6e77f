"""Compares what a client claims with what the server counted."""

from __future__ import annotations

from dataclasses import dataclass

from .clients.harness import Claim


@dataclass(slots=True, frozen=True)
class Counts:
    """What the server counted during one run.

    Attributes:
        received: items that arrived.
        distinct: how many of them had a key that had not come before.
        handed_out: items whose results were fetched.
        batches: submits that were taken.
        asked: questions about a batch.
        cpu: seconds of CPU that the server took.
    """

    received: int
    distinct: int
    handed_out: int
    batches: int
    asked: int
    cpu: float


class DishonestRunError(Exception):
    """A client lost or doubled items, or claims what the server did not count. Its figures mean nothing."""


def check(client: str, claim: Claim, counts: Counts, items: int) -> None:
    """Every item arrived once, every result was fetched, and the client says just that.

    Raises:
        DishonestRunError: with each thing that does not add up.
    """
    if found := discrepancies(claim, counts, items):
        raise DishonestRunError(f"{client} is not to be trusted, of {items} items: {'; '.join(found)}.")


def discrepancies(claim: Claim, counts: Counts, items: int) -> list[str]:
    doubled = counts.received - counts.distinct
    findings = [
        (counts.distinct < items, f"{items - counts.distinct} never reached the server"),
        (counts.distinct > items, f"{counts.distinct - items} too many reached the server"),
        (doubled > 0, f"{doubled} were sent more than once"),
        (counts.handed_out != items, f"the results of {counts.handed_out} were fetched"),
        (claim.sent != items, f"it claims to have sent {claim.sent}"),
        (claim.succeeded != counts.handed_out, f"it claims that {claim.succeeded} succeeded"),
    ]
    return [finding for is_so, finding in findings if is_so]
