"""What does it cost to be told of the work: by OpenTelemetry's spans and metrics, by events, and by neither?

The clients are the library itself, in the same rounds. Spans go through a `BatchSpanProcessor`, as in production, whose
thread is measured with the rest; how they are encoded and sent is the exporter's, and is not. "sdk-alone" is what so
many spans take without anything of the library's. "untraced" has the hook for traces and everything behind it loaded,
and unused; whether there is a hook at all cannot be asked in one run, only from one version to the next.
"""

from __future__ import annotations

from .questions import Answer, Verdict
from .ratios import CPU, ratio
from .report import as_json, table
from .runner import Comparison, Setting, client, run_rounds

FULL = {"items": 100_000, "runs": 21}
QUICK = {"items": 20_000, "runs": 3}
IN_FLIGHT = 32

COMPARISON = Comparison(
    clients=(
        client("library"),
        client("library-again", "library"),
        client("untraced", "library_untraced"),
        client("events", "library_events"),
        client("traced", "library_traced"),
        client("sdk-alone", "library_sdk_alone"),
        client("sampled-out", "library_sampled_out"),
        client("traced-and-measured", "library_measured"),
    ),
    references=("library",),
    control="library-again",
)

GOALS = (("traced", 1.15), ("events", 1.05), ("untraced", 1.03))
"""How many times as much CPU for each item is the most. The last is what noise alone may come to."""


def answer(quick: bool) -> Answer:
    size = QUICK if quick else FULL
    setting = Setting(size["items"], IN_FLIGHT, size["runs"])
    rounds = run_rounds(COMPARISON.clients, setting)
    verdicts = [
        Verdict(f"CPU per item, {name} against the library without", ratio(rounds, CPU, name, "library").median, goal)
        for name, goal in GOALS
    ]
    return Answer(table(rounds, setting, COMPARISON), as_json(rounds, setting, COMPARISON), verdicts)
