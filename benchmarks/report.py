"""What was found, as a table to read and as JSON to keep."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from typing import Any, TypeAlias

from .ratios import MEASURES, Measure, Ratio, median_of, ratio
from .runner import Comparison, Run, Setting, client_core, server_core

Rounds: TypeAlias = Sequence[Mapping[str, Run]]

_PACKAGES = ("aiohttp", "orjson", "pydantic", "anyio")


def table(rounds: Rounds, setting: Setting, comparison: Comparison) -> str:
    """Medians of the figures, then the ratios measure by measure, with the control above them."""
    return "\n".join([*_heading(setting), "", *_medians(rounds), "", *_ratios(rounds, comparison), *_notes()])


def _heading(setting: Setting) -> Iterator[str]:
    yield f"{setting.items:,} items, {setting.in_flight} batches in flight, rounds: {setting.runs}"
    if setting.processing or setting.submit_latency:
        yield f"a batch takes {setting.processing:g} s, a submit {setting.submit_latency:g} s"
    yield ", ".join(f"{name} {number}" for name, number in _versions().items())
    if client_core() is None:
        yield "clients and server are not pinned to cores of their own: throughput is not the clients' alone"
    else:
        yield f"clients on core {client_core()}, server on core {server_core()}"


def _medians(rounds: Rounds) -> Iterator[str]:
    yield row("medians", *(f"{measure.name}, {measure.unit}" for measure in MEASURES), "server's core busy")
    for client in _clients(rounds):
        figures = [median_of(rounds, measure.of, client) for measure in MEASURES]
        yield row(client, *map(_number, figures), f"{median_of(rounds, _server_load, client):.0%}")


def _ratios(rounds: Rounds, comparison: Comparison) -> Iterator[str]:
    references, first = comparison.references, comparison.references[0]
    for measure in MEASURES:
        better = "more" if measure.more_is_better else "less"
        yield row(f"{measure.name} ({better} is better)", *(f"x {reference}" for reference in references))
        control = ratio(rounds, measure, comparison.control, first)
        yield row(f"  control: {first} again", _spread(control))
        for client in _clients(rounds):
            if client not in (first, comparison.control):
                compared = [_against(rounds, measure, client, other, control) for other in references]
                yield row(f"  {client}", *compared)
        yield ""


def _against(rounds: Rounds, measure: Measure, client: str, reference: str, control: Ratio) -> str:
    if client == reference:
        return "-"
    found = ratio(rounds, measure, client, reference)
    return _spread(found) + (" ~" if found.is_within(control) else "  ")


def _notes() -> Iterator[str]:
    yield "Ratios within one round: median (least to greatest)."
    yield "~: the median lies within the spread of the control, so it says nothing."
    yield "Every item was counted on the server: arrived once, and its result fetched once."


def as_json(rounds: Rounds, setting: Setting, comparison: Comparison) -> dict[str, Any]:
    """All figures of all runs, and the ratios."""
    return {
        "setting": asdict(setting),
        "versions": _versions(),
        "cores": {"client": client_core(), "server": server_core()},
        "rounds": [{client: asdict(run) for client, run in runs.items()} for runs in rounds],
        "medians": {
            measure.name: {client: median_of(rounds, measure.of, client) for client in _clients(rounds)}
            for measure in MEASURES
        },
        "ratios": [
            {"measure": measure.name, "client": client, "against": reference}
            | asdict(ratio(rounds, measure, client, reference))
            for measure in MEASURES
            for reference in comparison.references
            for client in _clients(rounds)
            if client != reference
        ],
    }


def _clients(rounds: Rounds) -> list[str]:
    return list(rounds[0])  # the first round is in the order of the list


def _server_load(run: Run) -> float:
    return run.counts.cpu / run.figures.wall


def _versions() -> dict[str, str]:
    found = {"Python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.1f}"


def _spread(found: Ratio) -> str:
    return f"{found.median:.2f} ({found.least:.2f} to {found.greatest:.2f})"


def row(first: str, *others: str) -> str:
    """A line of a table."""
    return (f"{first:<30}" + "".join(f"{other:>27}" for other in others)).rstrip()
