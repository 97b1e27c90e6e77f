"""What a report of an upload is made of: gathered while it runs, in memory that does not grow with it."""

from __future__ import annotations

import contextlib
import secrets
import time
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from .._results import ItemResult, Outcome, Progress, Summary

MOST_POINTS = 400
"""The most points of the progress over time that are kept; beyond it, every second one is dropped."""

FIRST_SPACING = 0.1
"""Seconds between two points, until there are too many."""

MOST_COUNTRIES = 60
MOST_FAILURES = 50

MOST_TEXT = 2_000
"""The most characters that are kept of one message."""

MOST_FIELD = 120

NO_COUNTRY, UNREADABLE, OTHER = "(none)", "(unreadable)", "(other)"

STEPS = (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0)
EDGES = tuple(round(step * 10.0**power, 6) for power in range(-2, 5) for step in STEPS)
"""Round numbers of seconds, from 0.01 s to about a day, each about 1.4 times the one before."""


def cut(text: str, most: int) -> str:
    """The text, or its beginning and how much is missing."""
    return text if len(text) <= most else f"{text[:most]}… ({len(text) - most:,} characters more)"


@dataclass(slots=True, frozen=True)
class Point:
    """How many items had which outcome, some seconds after the beginning."""

    seconds: float
    succeeded: int = 0
    failed: int = 0
    rejected: int = 0
    unknown: int = 0

    @property
    def done(self) -> int:
        return self.succeeded + self.failed + self.rejected + self.unknown


@dataclass(slots=True)
class Timeline:
    """Points in the order of time: the first and the last of those added, and evenly some between them."""

    most: int = MOST_POINTS
    _spacing: float = FIRST_SPACING
    _kept: list[Point] = field(default_factory=list)
    _last: Point | None = None

    def add(self, point: Point) -> None:
        """Takes a point that is not earlier than the one before it."""
        if self._kept and point.seconds - self._kept[-1].seconds < self._spacing:
            self._last = point
            return
        self._kept.append(point)
        self._last = None
        if len(self._kept) >= self.most:
            self._thin()

    def points(self) -> list[Point]:
        return self._kept + ([self._last] if self._last is not None else [])

    def _thin(self) -> None:
        newest = self._kept[-1]
        span = newest.seconds - self._kept[0].seconds
        # By the points' own distance, too: where they come seldom, the old ones would else be sparser than the new.
        self._spacing = 2 * max(self._spacing, span / len(self._kept))
        self._kept = self._kept[::2]
        self._last = newest if self._kept[-1] is not newest else None


@dataclass(slots=True)
class Durations:
    """How many durations lie between which round numbers of seconds."""

    number: int = 0
    total: float = 0.0
    shortest: float = 0.0
    longest: float = 0.0
    _counts: list[int] = field(default_factory=lambda: [0] * (len(EDGES) + 1))

    def add(self, seconds: float) -> None:
        seconds = max(0.0, seconds)
        self._counts[bisect_right(EDGES, seconds)] += 1
        self.shortest = min(self.shortest, seconds) if self.number else seconds
        self.longest = max(self.longest, seconds)
        self.number += 1
        self.total += seconds

    @property
    def mean(self) -> float:
        return self.total / self.number if self.number else 0.0

    def bins(self, least: int = 8) -> list[tuple[float, float | None, int]]:
        """From (seconds), to (None: without end), and how many: from the first to the last that is not empty.

        Where these are few, empty ones beside them make it at least so many.
        """
        filled = [place for place, count in enumerate(self._counts) if count]
        if not filled:
            return []
        missing = max(0, least - (filled[-1] - filled[0] + 1))
        first = max(0, min(filled[0] - missing // 2, len(self._counts) - least))
        last = min(max(filled[-1] + missing - missing // 2, least - 1), len(self._counts) - 1)
        edges = (0.0, *EDGES, None)
        return [(edges[place] or 0.0, edges[place + 1], self._counts[place]) for place in range(first, last + 1)]


@dataclass(slots=True, frozen=True)
class Failure:
    """A result that is no success, as texts, so that nothing of the item is held on to."""

    record: int
    line: int | None
    file: str
    item: str
    country: str
    outcome: Outcome
    message: str
    batch_id: str


@dataclass(slots=True, kw_only=True)
class ReportGatherer:
    """Gathers what a report shows. Make it when the upload starts: its clock begins then.

    Args:
        name: of the file, for people.
        account: the label for whose data it is.
        server: its address; what may be secret in it is left out.
        resource: the path of what is uploaded.
        clock: seconds that only grow.

    Attributes:
        began: the local time at the beginning.
        elapsed: seconds from the beginning to what was told last.
        countries: results by country and outcome.
        failures: the first results that are no successes, in the order in which they were learned.
        replayed: results that an earlier run had learned.
        not_sent: results of items that the server certainly did not take.
        pauses: how often the server asked for a pause.
        paused: the sum of these pauses, in seconds.
    """

    name: str
    account: str | None
    server: str
    resource: str
    clock: Callable[[], float] = time.monotonic
    began: datetime = field(init=False, default_factory=lambda: datetime.now().astimezone())
    elapsed: float = field(init=False, default=0.0)
    timeline: Timeline = field(init=False, default_factory=Timeline)
    durations: Durations = field(init=False, default_factory=Durations)
    countries: dict[str, dict[Outcome, int]] = field(init=False, default_factory=dict)
    failures: list[Failure] = field(init=False, default_factory=list)
    replayed: int = field(init=False, default=0)
    not_sent: int = field(init=False, default=0)
    pauses: int = field(init=False, default=0)
    paused: float = field(init=False, default=0.0)
    _started: float = field(init=False, default=0.0)

    def __post_init__(self) -> None:
        self._started = self.clock()
        self.server = _without_secrets(self.server)

    def add(self, results: Iterable[ItemResult[Any]]) -> None:
        """Takes results as they arrive, each once; also those of items that were read and got none."""
        self._tick()
        for result in results:
            self._counts_of(country_of(result.item))[result.outcome] += 1
            self.replayed += result.replayed
            if not result.ok:
                self.not_sent += result.not_sent
                if len(self.failures) < MOST_FAILURES:
                    self.failures.append(_failure(result))

    def sample(self, progress: Progress) -> None:
        """Takes the counts of this moment; call it now and then while the upload runs."""
        self._tick()
        counts = (progress.succeeded, progress.failed, progress.rejected, progress.unknown)
        self.timeline.add(Point(self.elapsed, *counts))

    def batch_finished(self, seconds: float) -> None:
        """A batch has ended, so long after it was submitted."""
        self.durations.add(seconds)

    def throttled(self, seconds: float) -> None:
        """The server has asked for a pause."""
        self.pauses += 1
        self.paused += max(0.0, seconds)

    def _tick(self) -> None:
        self.elapsed = max(self.elapsed, self.clock() - self._started)

    def _counts_of(self, country: str) -> dict[Outcome, int]:
        counts = self.countries.get(country)
        if counts is None:
            if len(self.countries) >= MOST_COUNTRIES:
                country = OTHER
            counts = self.countries.setdefault(country, dict.fromkeys(Outcome, 0))
        return counts


def write_report(path: str | Path, gathered: ReportGatherer, summary: Summary, *, ending: str) -> None:
    """Writes the page; an existing file is replaced as a whole. It blocks: on an event loop, call it in a thread.

    Args:
        path: where; its folder must be there.
        gathered: what was gathered while the upload ran.
        summary: the counts at its end.
        ending: how it ended: "done", "interrupted" or "stopped by an error: ...".

    Raises:
        OSError: it cannot be written; a file that was there is as it was.
        ImportError: Jinja2 is not installed.
    """
    # Only here: an upload without a report needs neither the page nor Jinja2.
    from ._report_page import page

    html = page(gathered, summary, ending=ending, ended=datetime.now().astimezone())
    with _replacing(Path(path).resolve()) as target:
        target.write_text(html, encoding="utf-8", newline="\n")


@contextlib.contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    if path.exists() and not path.is_file():  # a device or a pipe is written to; a folder says that it is one
        yield path
        return
    unfinished = path.with_name(f".report-{secrets.token_hex(8)}.tmp")
    try:
        yield unfinished
        unfinished.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            unfinished.unlink()
        raise


def country_of(item: Any) -> str:
    """The country that an item is counted under."""
    if isinstance(item, BaseException):
        return UNREADABLE
    value = _field(item, "countryCode")
    if value is None or value == "":
        return NO_COUNTRY
    code = value.strip().upper() if isinstance(value, str) and len(value) <= MOST_FIELD else ""
    return code if 0 < len(code) <= 8 and code.isprintable() else OTHER


def _field(item: Any, name: str) -> Any:
    return item.get(name) if isinstance(item, Mapping) else getattr(item, name, None)


def _failure(result: ItemResult[Any]) -> Failure:
    item = result.item
    line = getattr(item, "line", None)
    country = None if isinstance(item, BaseException) else _field(item, "countryCode")
    return Failure(
        record=result.index + 1,
        line=line if isinstance(line, int) else None,
        file=_text(getattr(item, "file", None)),
        item=_named(item),
        country=_text(country),
        outcome=result.outcome,
        message=cut(result.message, MOST_TEXT),
        batch_id=_text(result.batch_id),
    )


def _named(item: Any) -> str:
    """What people know the item by: its ASIN, else how it begins."""
    if isinstance(item, BaseException):
        return _text(getattr(item, "text", None))
    asin = _field(item, "asin")
    if asin is not None:
        return _text(asin)
    fields = item.items() if isinstance(item, Mapping) else getattr(item, "__dict__", {}).items()
    return _text(", ".join(f"{name}: {cut(str(value), MOST_FIELD)}" for name, value in list(fields)[:4]))


def _text(value: Any) -> str:
    return "" if value is None else cut(str(value), MOST_FIELD)


def _without_secrets(server: str) -> str:
    parts = urlsplit(server)
    address = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{address}{parts.path}" if parts.scheme and address else server.partition("?")[0]
