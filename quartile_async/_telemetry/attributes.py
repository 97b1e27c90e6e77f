"""What spans and metrics say of places, outcomes and errors; never an error's words, which may quote an item."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from opentelemetry.util.types import AttributeValue

from .._errors import APIError, TransportError
from .._results import ItemResult, Outcome

OUTCOMES = tuple((outcome, outcome.value) for outcome in Outcome)
NAMES = {outcome.value: f"quartile.items.{outcome.value}" for outcome in Outcome}
SUCCEEDED = Outcome.SUCCEEDED


class Place(NamedTuple):
    """Where requests of one kind go.

    Attributes:
        name: of their spans.
        attributes: the same for all of them.
    """

    name: str
    attributes: dict[str, AttributeValue]


@functools.lru_cache(maxsize=256)
def place_of(method: str, server: str, route: str) -> Place:
    template = urlsplit(server).path + route
    attributes: dict[str, AttributeValue] = {"http.request.method": method, "url.template": template}
    return Place(f"{method} {template}", attributes | address(server))


def address(server: str) -> dict[str, AttributeValue]:
    url = urlsplit(server)
    port = url.port or (443 if url.scheme == "https" else 80)
    return {"server.address": url.hostname or "", "server.port": port}


def sums(counts: Mapping[str, int], others: Mapping[str, int]) -> Mapping[str, int]:
    """Of each outcome that there is; neither is changed, and either may be what is returned."""
    if not counts or not others:
        return counts or others
    return {outcome: counts.get(outcome, 0) + others.get(outcome, 0) for outcome in {**counts, **others}}


def counted(outcomes: Sequence[Outcome]) -> Mapping[str, int]:
    """How many there are of each outcome that there is."""
    if outcomes.count(SUCCEEDED) == len(outcomes):  # the usual case
        return _all_succeeded(len(outcomes))
    return {value: count for outcome, value in OUTCOMES if (count := outcomes.count(outcome))}


@functools.lru_cache(maxsize=128)
def _all_succeeded(count: int) -> Mapping[str, int]:
    return {SUCCEEDED.value: count} if count else {}


class Tally(NamedTuple):
    """What results come to.

    Attributes:
        results: those that were counted.
        counts: by outcome.
        fresh: the same, of those that no journal has replayed.
    """

    results: Sequence[ItemResult[Any]]
    counts: Mapping[str, int]
    fresh: Mapping[str, int]


def tally(results: Sequence[ItemResult[Any]]) -> Tally:
    counts = counted([result.outcome for result in results])
    return Tally(results, counts, counted([result.outcome for result in results if not result.replayed]))


def tally_of(results: Sequence[ItemResult[Any]], *, replayed: bool) -> Tally:
    """The same, where it is known of all at once whether a journal has replayed them."""
    counts = counted([result.outcome for result in results])
    return Tally(results, counts, {} if replayed else counts)


def of_counts(counts: Mapping[str, int]) -> dict[str, AttributeValue]:
    return {NAMES[outcome]: count for outcome, count in counts.items() if count}


def of_error(error: BaseException) -> dict[str, AttributeValue]:
    """The kind of an error that ended an upload or a batch."""
    attributes: dict[str, AttributeValue] = {"error.type": _kind_of(error)}
    if isinstance(error, APIError) and error.status is not None:
        attributes["http.response.status_code"] = int(error.status)
    return attributes


def kind_beneath(error: BaseException) -> str:
    """The class of the failure that an error speaks of: aiohttp's or the system's, where there is one."""
    beneath = error.__cause__ if isinstance(error, TransportError) else None
    return _kind_of(beneath or error)


def _kind_of(error: BaseException) -> str:
    """The error's class, or the public one that it is a case of."""
    kind = next(kind for kind in type(error).__mro__ if not kind.__module__.startswith("quartile_async._"))
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
