"""The report of an upload: what is gathered for it, and the page, which a real browser looks at."""

from __future__ import annotations

import itertools
import json
import os
import pickle
import re
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By

from quartile_async import MasterlistItem
from quartile_async._results import ItemResult, Outcome, Progress, Summary, Tally
from quartile_async.cli import _report_charts as charts
from quartile_async.cli import _report_page as pages
from quartile_async.cli._report import (
    EDGES,
    MOST_COUNTRIES,
    MOST_FAILURES,
    MOST_POINTS,
    NO_COUNTRY,
    OTHER,
    UNREADABLE,
    Durations,
    Point,
    ReportGatherer,
    Timeline,
    country_of,
    write_report,
)
from quartile_async.emulator import Fault, ThreadedEmulator
from quartile_async.files import MalformedRow, Row
from tests import browser

from .test_commands import catalogue, run

OUTCOMES = list(Outcome)


@dataclass
class Clock:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Told:
    """A gatherer and a tally that are told the same."""

    clock: Clock = field(default_factory=Clock)
    tally: Tally = field(default_factory=Tally)
    gathered: ReportGatherer = field(init=False)

    def __post_init__(self) -> None:
        self.gathered = ReportGatherer(
            name="catalogue.csv",
            account="acme",
            server="https://api.quartile.com",
            resource="process/masterlist",
            clock=self.clock,
        )

    def results(self, *results: ItemResult[Any]) -> None:
        self.tally.add(results)
        self.gathered.add(results)

    def sample(self, seconds: float) -> None:
        self.clock.now += seconds
        counts = {outcome.value: count for outcome, count in self.tally.counts.items()}
        self.gathered.sample(Progress(done=self.tally.items, **counts))

    @property
    def summary(self) -> Summary:
        return self.tally.summary(batches=self.gathered.durations.number, seconds=self.clock.now)

    def write(self, path: Path, ending: str = "done") -> Path:
        write_report(path, self.gathered, self.summary, ending=ending)
        return path


def result(index: int, outcome: Outcome = Outcome.SUCCEEDED, message: str = "", **more: Any) -> ItemResult[Any]:
    item = Row({"asin": f"B0{index:08d}", "countryCode": ("US", "DE", "GB")[index % 3], "percACoS": "27.5"}, index + 2)
    fields: dict[str, Any] = {"index": index, "item": item, "outcome": outcome, "message": message}
    return ItemResult(**fields | more)


def mixed(told: Told, number: int) -> Told:
    """An upload with all outcomes, of 1,234 batches' worth of figures and more."""
    for start in range(0, number, 100):
        told.results(
            *(
                result(
                    index,
                    OUTCOMES[(index % 50) % 4] if index % 50 < 4 else Outcome.SUCCEEDED,
                    "" if index % 50 == 0 else f"reason {index % 7}",
                    batch_id=f"batch-{start // 100}",
                )
                for index in range(start, min(start + 100, number))
            )
        )
        told.gathered.batch_finished(0.5 + start % 700 / 100)
        told.sample(1.5)
    told.gathered.throttled(2.5)
    told.gathered.throttled(1.5)
    return told


# What is gathered


@given(st.lists(st.floats(0, 20), max_size=300), st.integers(4, 40))
def test_a_thinned_timeline_has_true_points_in_order_and_the_last_one(steps: list[float], most: int) -> None:
    timeline, added = Timeline(most), []
    for number, seconds in enumerate(itertools.accumulate(steps)):
        added.append(Point(seconds, succeeded=number, failed=2 * number))
        timeline.add(added[-1])

        points = timeline.points()
        assert points[0] is added[0]
        assert points[-1] is added[-1]
        assert len(points) <= most
        assert all(point in added for point in points)
        assert [point.seconds for point in points] == sorted(point.seconds for point in points)


@pytest.mark.parametrize("spacing", [0.1, 0.7, 5.0])
def test_a_thinned_timeline_is_even(spacing: float) -> None:
    timeline = Timeline()
    for number in range(20_000):
        timeline.add(Point(number * spacing))

    points = timeline.points()[:-1]
    gaps = [after.seconds - before.seconds for before, after in itertools.pairwise(points)]
    assert MOST_POINTS / 4 <= len(points) <= MOST_POINTS
    assert max(gaps) <= 2.5 * min(gaps)


@given(st.lists(st.floats(0, 1e9), min_size=1, max_size=200))
def test_each_duration_is_counted_in_the_bin_that_holds_it(seconds: list[float]) -> None:
    durations = Durations()
    for each in seconds:
        durations.add(each)

    bins = durations.bins()
    assert sum(count for _, _, count in bins) == len(seconds) == durations.number
    assert len(bins) >= 8
    for low, high, count in bins:
        assert count == sum(low <= each and (high is None or each < high) for each in seconds)
    assert [high for _, high, _ in bins[:-1]] == [low for low, _, _ in bins[1:]]
    assert (durations.shortest, durations.longest) == (min(seconds), max(seconds))
    assert durations.mean == pytest.approx(sum(seconds) / len(seconds))


def test_bins_widen_evenly_and_an_impossible_duration_is_none() -> None:
    assert all(1.2 < after / before < 1.6 for before, after in itertools.pairwise(EDGES))
    durations = Durations()
    durations.add(-1.0)
    assert durations.bins()[0] == (0.0, EDGES[0], 1)
    assert durations.shortest == 0.0


@pytest.mark.parametrize(
    ("item", "country"),
    [
        ({"countryCode": "US"}, "US"),
        ({"countryCode": " de "}, "DE"),
        (MasterlistItem(asin="B01", countryCode="JP", percACoS=5), "JP"),
        ({"countryCode": "not a country"}, OTHER),
        ({"countryCode": "x" * 1_000_000}, OTHER),
        ({"countryCode": "U\u202eS"}, OTHER),
        ({"countryCode": ["US"]}, OTHER),
        ({"countryCode": ""}, NO_COUNTRY),
        ({"countryCode": None}, NO_COUNTRY),
        ({"campaign": 1}, NO_COUNTRY),
        (MalformedRow("no", line=3, text="x"), UNREADABLE),
    ],
)
def test_an_item_counts_for_its_country(item: Any, country: str) -> None:
    assert country_of(item) == country


def test_a_million_results_are_gathered_in_little_memory() -> None:
    told = Told()
    block = [result(index, OUTCOMES[index % 4], "long " * 2_000, batch_id="b" * 500) for index in range(1_000)]
    sizes = []
    for number in range(1_000):
        for each in block[:20]:  # new countries all the time
            each.item["countryCode"] = f"C{number}"
            each.item["asin"] = "A" * 5_000
        told.gathered.add(block)
        told.gathered.batch_finished(0.001 * 1.02**number)
        told.sample(1.7)
        if number in {499, 999}:
            sizes.append(len(pickle.dumps(told.gathered)))

    gathered = told.gathered
    assert sum(sum(counts.values()) for counts in gathered.countries.values()) == 1_000_000
    assert len(gathered.countries) <= MOST_COUNTRIES + 1
    assert len(gathered.failures) == MOST_FAILURES
    assert len(gathered.timeline.points()) <= MOST_POINTS
    assert gathered.durations.number == 1_000
    assert sizes[1] < 200_000
    assert sizes[1] < 1.3 * sizes[0]


def test_no_secret_of_an_address_is_kept() -> None:
    told = replace_server("https://user:pass-word@api.quartile.com:8443/base?key=secret#secret")
    assert told == "https://api.quartile.com:8443/base"
    assert replace_server("http://127.0.0.1:8080") == "http://127.0.0.1:8080"


def replace_server(server: str) -> str:
    return ReportGatherer(name="x", account=None, server=server, resource="process/masterlist").server


# How it is said and drawn


@given(st.integers(0, 10**12))
def test_an_axis_of_counts_holds_the_most_and_has_few_round_ticks(most: int) -> None:
    top, ticks = charts.count_axis(most)
    assert top >= most
    assert 2 <= len(ticks) <= charts.MOST_STEPS + 1
    assert (ticks[0].label, ticks[0].at, ticks[-1].at) == ("0", 0, 100)
    assert len({tick.label for tick in ticks}) == len(ticks)


@given(st.floats(0.001, 10**8))
def test_an_axis_of_time_has_few_round_ticks(span: float) -> None:
    ticks = charts.time_ticks(span)
    assert 1 <= len(ticks) <= charts.MOST_STEPS + 1
    assert all(0 <= tick.at <= 100.001 for tick in ticks)
    assert len({tick.label for tick in ticks}) == len(ticks)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0 s"),
        (0.0123, "12 ms"),
        (0.9999, "1.0 s"),
        (12.34, "12.3 s"),
        (59.96, "1 min 0 s"),
        (723, "12 min 3 s"),
        (3_599.7, "1 h 0 min"),
        (90_000, "1 d 1 h"),
    ],
)
def test_durations_are_said_as_people_do(seconds: float, said: str) -> None:
    assert pages.spelt(seconds).replace("\xa0", " ") == said


@pytest.mark.parametrize(
    ("count", "total", "said"),
    [
        (0, 0, "–"),
        (0, 9, "0 %"),
        (9, 9, "100 %"),
        (1, 3, "33.3 %"),
        (1, 10**6, "<0.1 %"),
        (10**6 - 1, 10**6, ">99.9 %"),
    ],
)
def test_shares_are_0_or_100_only_where_they_are(count: int, total: int, said: str) -> None:
    assert pages.share(count, total).replace("\xa0", " ") == said


def test_moments_have_their_distance_from_utc() -> None:
    zone = timezone(timedelta(hours=-3, minutes=-30))
    assert pages.moment(datetime(2026, 11, 5, 9, 7, 2, tzinfo=zone)) == "5 Nov 2026, 09:07:02 (UTC-03:30)"


def test_countries_that_are_too_many_are_one_row() -> None:
    countries = {f"C{number}": dict.fromkeys(Outcome, number) for number in range(1, 50)}
    rows = pages.country_rows(countries)
    assert [row.name for row in rows[:2]] == ["C49", "C48"]
    assert rows[-1].name == OTHER
    assert sum(row.total for row in rows) == sum(sum(counts.values()) for counts in countries.values())
    assert all(sum(part.percent for part in row.parts) <= 100.1 for row in rows)


def test_signs_that_would_not_be_seen_are() -> None:
    assert pages.shown("a\x00b\x1b[31mc\rd\u202ee\ud800f\x7f\n\tg") == "a␀b␛[31mc␍d\ufffde\ufffdf␡\n\tg"


# The file


def test_the_file_is_replaced_as_a_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "report.html"
    path.write_text("earlier")
    told = mixed(Told(), 100)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched, pytest.raises(OSError, match="No space"):
        patched.setattr(Path, "write_text", full)
        told.write(path)
    assert path.read_text() == "earlier"
    assert [each.name for each in tmp_path.iterdir()] == ["report.html"]

    told.write(path)
    assert path.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert [each.name for each in tmp_path.iterdir()] == ["report.html"]


def test_a_report_goes_where_a_link_points_to_and_is_readable_as_other_files_are(tmp_path: Path) -> None:
    link, other = tmp_path / "link.html", tmp_path / "other"
    other.touch()
    (tmp_path / "real.html").touch()
    link.symlink_to(tmp_path / "real.html")
    Told().write(link)
    assert link.is_symlink()
    assert (tmp_path / "real.html").stat().st_size > 0
    assert stat.S_IMODE((tmp_path / "real.html").stat().st_mode) == stat.S_IMODE(other.stat().st_mode)


@pytest.mark.parametrize("path", ["", "no/such/folder/report.html"])
def test_a_report_that_cannot_be_written_is_an_os_error(path: str, tmp_path: Path) -> None:
    with pytest.raises(OSError, match=re.escape(str(tmp_path))):
        Told().write(tmp_path / path)
    assert list(tmp_path.iterdir()) == []


def test_a_pipe_is_written_to_and_stays_one(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        Told().write(path)
        assert os.read(reader, 100).startswith(b"<!doctype html>")
    finally:
        os.close(reader)
    assert stat.S_ISFIFO(path.stat().st_mode)


def test_jinja2_is_imported_only_for_a_report() -> None:
    code = "import sys, quartile_async.cli._report, quartile_async.cli; sys.exit('jinja2' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0


# The page


@pytest.fixture(scope="module")
def chrome() -> Iterator[Chrome]:
    with browser.browser() as chrome:
        yield chrome


@pytest.fixture
def opened(chrome: Chrome, tmp_path: Path) -> Iterator[Callable[..., Chrome]]:
    """Writes a report and opens it; at the end, nothing may have gone wrong or left the page."""
    path = tmp_path / "report.html"
    chrome.get("about:blank")
    browser.requests(chrome)
    browser.console(chrome)

    def open_report(told: Told, ending: str = "done") -> Chrome:
        chrome.get(told.write(path, ending).as_uri())
        return chrome

    yield open_report

    assert browser.console(chrome) == []
    asked = [url for url in browser.requests(chrome) if not url.startswith("data:image/svg+xml,")]
    assert set(asked) == {path.as_uri()}


def figure(chrome: Chrome, name: str) -> float:
    return float(chrome.find_element(By.ID, name).get_attribute("data-value") or "nothing")


def texts(chrome: Chrome, selector: str) -> list[str]:
    return [element.text for element in chrome.find_elements(By.CSS_SELECTOR, selector)]


def sideways(chrome: Chrome) -> int:
    """By how much the page is wider than the window."""
    wide: int = chrome.execute_script(
        "const page = document.documentElement; return page.scrollWidth - page.clientWidth;"
    )
    return wide


LEAST_CONTRAST = """
const channel = value => { value /= 255; return value <= .04045 ? value / 12.92 : ((value + .055) / 1.055) ** 2.4; };
const light = ([r, g, b]) => .2126 * channel(r) + .7152 * channel(g) + .0722 * channel(b);
const colour = text => text.match(/[\\d.]+/g).map(Number);
const ground = element => {
  for (; element; element = element.parentElement) {
    const found = colour(getComputedStyle(element).backgroundColor);
    if (found.length === 3) return found;
  }
  return [255, 255, 255];
};
let least = 99;
for (const element of document.querySelectorAll("body *")) {
  const said = [...element.childNodes].some(node => node.nodeType === 3 && node.data.trim());
  if (!said || element.closest("svg")) continue;
  const [one, other] = [colour(getComputedStyle(element).color), ground(element)].map(light).sort((a, b) => b - a);
  least = Math.min(least, (one + .05) / (other + .05));
}
return [least, getComputedStyle(document.body).backgroundColor];
"""


def test_the_page_says_what_the_summary_says(opened: Callable[..., Chrome]) -> None:
    told = mixed(Told(), 12_345)
    told.results(result(12_345, Outcome.UNKNOWN, "not sent", not_sent=True), result(12_346, replayed=True))
    page, summary = opened(told, "stopped by an error: quota: none left"), told.summary

    for name in ("items", "succeeded", "failed", "rejected", "unknown", "batches"):
        assert figure(page, f"count-{name}") == getattr(summary, name)
        assert page.find_element(By.ID, f"count-{name}").text == f"{getattr(summary, name):,}"
    assert figure(page, "seconds") == summary.seconds
    assert figure(page, "paused") == 4.0
    assert figure(page, "count-not-sent") == 1
    assert figure(page, "count-replayed") == 1
    assert page.find_element(By.ID, "ending").text == "Stopped by an error"
    assert page.find_element(By.ID, "ending-details").text == "quota: none left"
    assert page.title == "catalogue.csv: upload report"
    assert texts(page, "#name, #account, #server") == ["catalogue.csv", "acme", "https://api.quartile.com"]

    by_country = {
        row.get_attribute("data-country"): int(row.get_attribute("data-items") or "")
        for row in page.find_elements(By.CSS_SELECTOR, "#countries tbody tr")
    }
    assert by_country == {"US": 4_116, "DE": 4_116, "GB": 4_115}
    rows = page.find_elements(By.CSS_SELECTOR, "#messages tbody tr")
    assert {row.text.split(maxsplit=1)[1]: row.text.split()[0] for row in rows} == {
        message: str(count) for message, count in summary.messages.items()
    }
    failures = texts(page, "#failures tbody tr")
    assert len(failures) == MOST_FAILURES
    assert failures[0] == "2 3 B000000001 DE ✕ failed reason 1 batch-0"
    bins = page.find_elements(By.CSS_SELECTOR, "#bins td")
    assert sum(int(cell.get_attribute("data-value") or "") for cell in bins) == summary.batches == 124
    assert page.execute_script(
        "const cells = [...document.querySelectorAll('#figures tr:last-child td')].map(cell => cell.textContent);"
        "return cells.map(text => Number(text.replaceAll(',', '')));"
    ) == [summary.succeeded, summary.failed, summary.rejected, summary.unknown, summary.items]


def test_the_charts_end_where_the_counts_do(opened: Callable[..., Chrome]) -> None:
    page = opened(mixed(Told(), 5_000))
    ends = page.execute_script(
        "return [...document.querySelectorAll('#chart-progress .line')].filter(line => line.getTotalLength)"
        ".filter(line => line.closest('.plot')).map(line => { const end = line.getPointAtLength(line.getTotalLength());"
        "return [end.x, end.y]; });"
    )
    # 4,700 of 5,000 succeeded, then 100 failed, 100 were rejected, 100 unknown, one above the other.
    assert [pytest.approx(end, abs=0.2) for end in ends] == [[1000, 60], [1000, 40], [1000, 20], [1000, 0]]
    said = page.find_element(By.CSS_SELECTOR, "#chart-progress .plot svg")
    assert said.get_attribute("role") == "img"
    assert "4,700 succeeded, 100 failed, 100 rejected, 100 unknown" in (said.get_attribute("aria-label") or "")


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_it_reads_well_in_both_themes_and_on_small_screens(
    theme: Any, width: int, opened: Callable[..., Chrome], chrome: Chrome
) -> None:
    browser.size(chrome, width)
    browser.theme(chrome, theme)
    told = mixed(Told(), 2_000)
    told.gathered.name = "catalogue" * 40
    page = opened(told, "stopped by an error: " + "x" * 500)

    least, ground = page.execute_script(LEAST_CONTRAST)
    assert least >= 4.5
    assert ground == {"light": "rgb(255, 255, 255)", "dark": "rgb(20, 23, 26)"}[theme]
    assert page.execute_script("return document.documentElement.clientWidth") >= width - 20
    page.execute_script("document.querySelectorAll('details').forEach(each => each.open = true)")
    assert sideways(page) <= 0


def test_it_fits_a_sheet_of_paper_and_is_printed_in_light_colours(
    opened: Callable[..., Chrome], chrome: Chrome
) -> None:
    browser.size(chrome, 688)  # A4 within the page's margins
    browser.theme(chrome, "dark", media="print")
    page = opened(mixed(Told(), 5_000))
    (_, ground), wider = page.execute_script(LEAST_CONTRAST), sideways(page)
    browser.theme(chrome, "light")

    assert ground == "rgb(255, 255, 255)"
    assert wider <= 0


HOSTILE = (
    "<script>document.title = 'run'</script>",
    '"><img src=x onerror="document.title=\'run\'">',
    "' onmouseover='document.title=1' style='position:fixed",
    "</td></table></main><style>*{display:none}</style>{{ 7 * 7 }}{% raw %}",
    "&lt;b&gt; &amp; ]]> <!-- \u2028",
    "W" * 1_900,
)


def test_what_the_server_says_is_text_and_nothing_else(opened: Callable[..., Chrome], chrome: Chrome) -> None:
    browser.size(chrome, 360)
    told = Told()
    told.gathered.name = told.gathered.account = told.gathered.resource = HOSTILE[0]
    for index, words in enumerate(HOSTILE):
        item = Row({"asin": words, "countryCode": words}, 1)
        told.results(result(index, Outcome.FAILED, words, item=item, batch_id=words))
    told.results(result(9, Outcome.REJECTED, "nul \x00 and \ud800", item=MalformedRow("x", line=1, text="\udcff\x1b")))
    page = opened(told, f"stopped by an error: {HOSTILE[1]}")

    assert page.title == f"{HOSTILE[0]}: upload report"
    shown = page.execute_script("return [...document.querySelectorAll('.reason')].map(cell => cell.textContent)")
    assert sorted(shown) == sorted([*HOSTILE, "nul ␀ and \ufffd"] * 2)
    assert page.find_element(By.ID, "name").text == HOSTILE[0]
    assert page.find_element(By.ID, "ending-details").text == HOSTILE[1]
    assert page.execute_script("return document.scripts.length + document.images.length") == 0
    assert page.execute_script("return document.querySelectorAll('style').length") == 1
    assert sideways(page) <= 0
    table = "const table = document.getElementById('messages').parentElement;"
    assert page.execute_script(f"{table} return table.scrollWidth - table.clientWidth;") <= 0  # long words are broken


def test_an_upload_of_nothing_has_a_page(opened: Callable[..., Chrome]) -> None:
    page = opened(Told())
    assert figure(page, "count-items") == 0
    assert "No items were read." in page.find_element(By.TAG_NAME, "header").text
    assert page.find_elements(By.CSS_SELECTOR, "figure, table") == []


def test_an_upload_of_one_item_in_no_time_has_a_chart(opened: Callable[..., Chrome]) -> None:
    told = Told()
    told.results(result(0, item={"campaign": "x", "state": "on"}, outcome=Outcome.REJECTED, message="no such campaign"))
    page = opened(told)
    line = page.find_element(By.CSS_SELECTOR, "#chart-progress .rejected path.line").get_attribute("d")
    assert line == "M0.0 1000.0L0.0 0.0L1000.0 0.0"
    assert texts(page, "#failures tbody tr") == ["1 campaign: x, state: on ⊘ rejected no such campaign"]
    assert texts(page, "#failures thead th") == ["Record", "ASIN", "Outcome", "Reason"]


def test_tables_have_headers_with_scope_and_headings_follow_one_another(opened: Callable[..., Chrome]) -> None:
    page = opened(mixed(Told(), 500))
    assert page.execute_script("return document.querySelectorAll('th:not([scope])').length") == 0
    levels = page.execute_script("return [...document.querySelectorAll('h1,h2,h3')].map(each => +each.tagName[1])")
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    assert page.execute_script("return document.querySelectorAll('.scroll:not([tabindex])').length") == 0


@pytest.mark.slow
@pytest.mark.quartile_emulator(processing=0.3, fail_share=0.005, seed=3)
def test_the_report_of_an_upload_says_what_its_summary_says(
    chrome: Chrome, tmp_path: Path, quartile_emulator: ThreadedEmulator
) -> None:
    path, report = tmp_path / "c.csv", tmp_path / "report.html"
    quartile_emulator.add(Fault(on="submit", after=2, status=429, headers={"Retry-After": "1"}))
    catalogue(path, 2_000, "B0BADROW01,US,0.4\n")

    done = run("upload", path, "--report", report, "--json", "--account", "acme", emulator=quartile_emulator)

    counts = json.loads(done.stdout)
    chrome.get(report.as_uri())
    for name in ("items", "succeeded", "failed", "rejected", "unknown", "batches"):
        assert figure(chrome, f"count-{name}") == counts[name]
    assert counts["failed"] > 0
    assert figure(chrome, "seconds") == pytest.approx(counts["seconds"], abs=0.001)
    assert figure(chrome, "paused") > 0.5
    assert texts(chrome, "#account, #ending") == ["Done, not all succeeded", "acme"]
    bins = chrome.find_elements(By.CSS_SELECTOR, "#bins td")
    assert sum(int(cell.get_attribute("data-value") or "") for cell in bins) == counts["batches"]
    assert any(row.startswith("2,001 2,002 B0BADROW01 US") for row in texts(chrome, "#failures tbody tr"))
    assert f"The report: {report}" in done.stderr
    assert browser.console(chrome) == []
