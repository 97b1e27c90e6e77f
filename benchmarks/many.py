"""What do many uploads at once on one client cost, and is each of them served?"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median

from .clients.harness import Claim
from .honesty import check
from .questions import Answer, Verdict, spread
from .report import row
from .runner import Server, Setting, running_server, told_by

ITEMS, QUICK_ITEMS = 100_000, 20_000
UPLOADS = 100
RUNS = 9
IN_FLIGHT = 16


@dataclass(slots=True, frozen=True)
class Told:
    """One run: items a second of all uploads, and how many times as long the slowest took as the fastest."""

    rate: float
    unevenness: float


def answer(quick: bool) -> Answer:
    items, runs = (QUICK_ITEMS, 1) if quick else (ITEMS, RUNS)
    found: dict[str, list[Told]] = {"one upload": [], "one again": [], "many uploads": []}
    with running_server(Setting(items, IN_FLIGHT, runs)) as server:
        for _ in range(runs):
            for name, told in found.items():
                told.append(_told(server, items, UPLOADS if name == "many uploads" else 1))
    rates = {
        name: [one.rate / each.rate for one, each in zip(told, found["one upload"], strict=True)]
        for name, told in found.items()
    }
    unevenness = [each.unevenness for each in found["many uploads"]]
    lines = [
        row(f"{items:,} items in all", "throughput against one", "slowest against fastest"),
        row("  control: one upload again", spread(rates["one again"])),
        row(f"  {UPLOADS} uploads at once", spread(rates["many uploads"]), spread(unevenness)),
    ]
    verdicts = [
        Verdict(f"throughput of {UPLOADS} uploads against one", median(rates["many uploads"]), 0.8, at_most=False),
        Verdict("the slowest upload's time against the fastest's", median(unevenness), 2.0),
    ]
    return Answer("\n".join(lines), {"throughput": rates, "unevenness": unevenness}, verdicts)


def _told(server: Server, items: int, uploads: int) -> Told:
    server.reset()
    told = told_by("library_many", server, "--items", items, "--uploads", uploads, "--in-flight", IN_FLIGHT)
    check(f"{uploads} uploads", Claim(told["sent"], told["succeeded"]), server.counts(), items)
    return Told(items / told["wall"], max(told["seconds"]) / min(told["seconds"]))
