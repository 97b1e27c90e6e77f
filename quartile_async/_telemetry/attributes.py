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
SUCCEEDED = Outcome.SUCCEEDED


class Place(NamedTuple):
    """Where requests of one kind go.

    Attributes:
        name: of their spans.
        server: the base URL.
        attributes: the same for all of them.
    """

    name: str
    server: str
    attributes: dict[str, AttributeValue]


@functools.lru_cache(maxsize=256)
def place_of(method: str, server: str, route: str) -> Place:
    template = urlsplit(server).path + route
    attributes: dict[str, AttributeValue] = {"http.request.method": method, "url.template": template}
    return Place(f"{method} {template}", server, attributes | address(server))


def address(server: str) -> dict[str, AttributeValue]:
    url = urlsplit(server)
    port = url.port or (443 if url.scheme == "https" else 80)
    return {"server.address": url.hostname or "", "server.port": port}


def add(total: dict[str, int], counts: Mapping[str, int]) -> None:
    for outcome, count in counts.items():
        total[outcome] = total.get(outcome, 0) + count


def counted(outcomes: Sequence[Outcome]) -> dict[str, int]:
    """How many there are of each outcome that there is."""
    succeeded = outcomes.count(SUCCEEDED)
    if succeeded == len(outcomes):  # the usual case
        return {SUCCEEDED.value: succeeded} if succeeded else {}
    return {value: count for outcome, value in OUTCOMES if (count := outcomes.count(outcome))}


class Tally(NamedTuple):
    """What results come to.

    Attributes:
        results: those that were counted.
        counts: by outcome.
        fresh: the same, of those that no journal has replayed.
    """

    results: Sequence[ItemResult[Any]]
    counts: dict[str, int]
    fresh: dict[str, int]


def tally(results: Sequence[ItemResult[Any]]) -> Tally:
    fresh = [result.outcome for result in results if not result.replayed]
    counts = counted(fresh)
    if len(fresh) == len(results):
        return Tally(results, counts, counts)
    return Tally(results, counted([result.outcome for result in results]), counts)


def of_counts(counts: Mapping[str, int]) -> dict[str, AttributeValue]:
    return {f"quartile.items.{outcome}": count for outcome, count in counts.items() if count}


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
