"""A report as one HTML page, which needs nothing beside itself."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib import resources
from typing import Any

from .. import __version__
from .._results import Outcome, Summary
from . import _report_charts as charts
from ._report import MOST_TEXT, OTHER, Failure, Point, ReportGatherer, cut

TEMPLATE = "report.html.jinja"
MOST_MESSAGES = 15
MOST_ROWS = 20
"""The most countries that have a row of their own."""

MOST_FIGURES = 12
"""The most rows of the table below the chart of the progress."""

MEANINGS = {
    Outcome.SUCCEEDED: "The server processed it and says yes.",
    Outcome.FAILED: "The server processed it and says no.",
    Outcome.REJECTED: "Not accepted: the item itself is at fault.",
    Outcome.UNKNOWN: "Anything else: not sent, or no readable answer.",
}
MARKS = {Outcome.SUCCEEDED: "✓", Outcome.FAILED: "✕", Outcome.REJECTED: "⊘", Outcome.UNKNOWN: "?"}
NOT_SUCCEEDED = (Outcome.FAILED, Outcome.REJECTED, Outcome.UNKNOWN)

# What would not be seen, would end a line, or would turn the order of the signs around it.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")


@dataclass(slots=True, frozen=True)
class Part:
    """A share of something, in percent."""

    outcome: Outcome
    percent: float


@dataclass(slots=True, frozen=True)
class CountryRow:
    name: str
    total: int
    counts: dict[Outcome, int]
    share: str
    parts: list[Part]


@dataclass(slots=True, frozen=True)
class Ending:
    """How it ended: a word for programs and one for people, what these are to feel, and the details."""

    key: str
    word: str
    mood: str
    details: str


def page(gathered: ReportGatherer, summary: Summary, *, ending: str, ended: datetime) -> str:
    """The whole page."""
    # Slow to import, and an upload without a report does not need it.
    import jinja2

    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, finalize=shown, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"thousands": thousands, "spelt": spelt, "pace": pace, "share": share, "moment": moment}
    template = environment.from_string(
        resources.files("quartile_async.cli").joinpath(TEMPLATE).read_text(encoding="utf-8")
    )
    return template.render(_content(gathered, summary, ending, ended))


def _content(gathered: ReportGatherer, summary: Summary, ending: str, ended: datetime) -> dict[str, Any]:
    points = points_to_draw(gathered, summary)
    occurred = [outcome for outcome in Outcome if outcome is Outcome.SUCCEEDED or _count(summary, outcome)]
    problems = [outcome for outcome in NOT_SUCCEEDED if _count(summary, outcome)]
    bins = gathered.durations.bins()
    failures = sorted(gathered.failures, key=lambda failure: failure.record)
    messages = sorted(summary.messages.items(), key=lambda entry: (-entry[1], entry[0]))
    return {
        "version": __version__,
        "gathered": gathered,
        "summary": summary,
        "ending": how_it_ended(ending, summary),
        "ended": ended,
        "outcomes": [(outcome, _count(summary, outcome)) for outcome in Outcome],
        "occurred": occurred,
        "problems": problems,
        "meanings": MEANINGS,
        "marks": MARKS,
        "rate": summary.items / summary.seconds if summary.seconds > 0 else 0.0,
        "points": points,
        "figures": evenly(points, MOST_FIGURES),
        "progress": charts.stacked(points, occurred),
        "troubles": charts.lines(points, problems) if problems else None,
        "bins": bins,
        "durations": charts.bars(bins) if bins else None,
        "bin_name": bin_name,
        "countries": country_rows(gathered.countries),
        "messages": [(cut(message, MOST_TEXT), count) for message, count in messages[:MOST_MESSAGES]],
        "more_messages": len(messages[MOST_MESSAGES:]),
        "more_messages_items": sum(count for _, count in messages[MOST_MESSAGES:]),
        "failures": failures,
        "columns": columns_of(failures),
        "not_succeeded": summary.items - summary.succeeded,
        "side": charts.SIDE,
    }


def points_to_draw(gathered: ReportGatherer, summary: Summary) -> list[Point]:
    """From nothing at the beginning to the counts at the end."""
    points = gathered.timeline.points()
    last = max([gathered.elapsed, *(point.seconds for point in points[-1:])])
    end = Point(last, summary.succeeded, summary.failed, summary.rejected, summary.unknown)
    return [Point(0.0), *points, end]


def evenly(points: Sequence[Point], most: int) -> list[Point]:
    """Some of the points, with the first and the last."""
    if len(points) <= most:
        return list(points)
    return [points[round(place * (len(points) - 1) / (most - 1))] for place in range(most)]


def country_rows(countries: dict[str, dict[Outcome, int]]) -> list[CountryRow]:
    """The countries with the most items first; those that are too many are one row."""
    by_size = sorted(countries.items(), key=lambda entry: (-sum(entry[1].values()), entry[0]))
    own = dict([entry for entry in by_size if entry[0] != OTHER][:MOST_ROWS])
    others = [counts for name, counts in by_size if name not in own]
    if others:
        own[OTHER] = {outcome: sum(counts[outcome] for counts in others) for outcome in Outcome}
    largest = max((sum(counts.values()) for counts in own.values()), default=0)
    return [_country_row(name, counts, largest) for name, counts in own.items()]


def _country_row(name: str, counts: dict[Outcome, int], largest: int) -> CountryRow:
    total = sum(counts.values())
    parts = [Part(outcome, round(counts[outcome] / largest * 100, 2)) for outcome in Outcome if counts[outcome]]
    return CountryRow(name, total, counts, share(counts[Outcome.SUCCEEDED], total), parts)


def columns_of(failures: Sequence[Failure]) -> frozenset[str]:
    """Which columns of the failures have anything in them."""
    names = ("line", "file", "item", "country", "batch_id")
    return frozenset(name for name in names if any(getattr(failure, name) for failure in failures))


def how_it_ended(ending: str, summary: Summary) -> Ending:
    word, _, details = (part.strip() for part in ending.partition(":"))
    if word.lower() != "done":
        return Ending(word, word[:1].upper() + word[1:], "bad" if "error" in word.lower() else "warn", details)
    if summary.succeeded < summary.items:
        return Ending(word, "Done, not all succeeded", "warn", details)
    return Ending(word, "Done", "good", details)


def shown(value: Any) -> Any:
    """What stands on the page for it: texts without signs that would do something instead of being seen."""
    return _CONTROL.sub(_picture, value) if type(value) is str else value


def _picture(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code < 0x20:
        return chr(0x2400 + code)
    return "\u2421" if code == 0x7F else "\ufffd"


def thousands(number: float) -> str:
    return f"{number:,.0f}"


def pace(rate: float) -> str:
    return f"{rate:,.1f}" if 0 < rate < 10 else f"{rate:,.0f}"


def share(count: int, total: int) -> str:
    """In percent; 0 and 100 only where it is exactly that."""
    if not total:
        return "–"
    if count in {0, total}:
        return f"{100 * count // total}\xa0%"
    text = f"{100 * count / total:.1f}"
    return {"0.0": "<0.1", "100.0": ">99.9"}.get(text, text) + "\xa0%"


def spelt(seconds: float) -> str:
    """A duration as people say it."""
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f}\xa0ms" if seconds else "0\xa0s"
    if seconds < 59.95:
        return f"{seconds:.1f}\xa0s"
    whole = round(seconds)
    for unit, name, lower, lower_name in ((86_400, "d", 3_600, "h"), (3_600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= unit:
            return f"{whole // unit:,}\xa0{name} {whole % unit // lower}\xa0{lower_name}"
    return f"{whole}\xa0s"


def moment(time: datetime) -> str:
    """A local time with its distance from UTC."""
    zone = f"{time:%z}"
    return f"{time.day} {time:%b %Y, %H:%M:%S} (UTC{zone[:3]}:{zone[3:5]})"


def bin_name(low: float, high: float | None) -> str:
    if high is None:
        return f"{charts.plain_seconds(low)} or more"
    return f"{charts.plain_seconds(low)} to {charts.plain_seconds(high)}"


def _count(summary: Summary, outcome: Outcome) -> int:
    value: int = getattr(summary, outcome.value)
    return value
