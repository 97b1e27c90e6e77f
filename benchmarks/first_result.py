"""When do the first results come, however large the input is?"""

from __future__ import annotations

from statistics import median

from .honesty import DishonestRunError
from .questions import Answer, Verdict, spread
from .report import row
from .runner import Server, Setting, running_server, told_by

SUBMIT, PROCESSING = 0.1, 0.5
"""Seconds that the server takes to accept a batch, and to process it."""

ROUND_TRIP = 0.001
"""Seconds, on one machine."""

SIZES = (1_000, 1_000_000)
RUNS = 9
IN_FLIGHT = 16

GOAL = 1.1 * (SUBMIT + PROCESSING + ROUND_TRIP) + 0.05


def answer(quick: bool) -> Answer:
    runs = 1 if quick else RUNS
    kinds = [(size, kind) for size in SIZES for kind in ("iterator", "async iterator")]
    found: dict[str, list[float]] = {f"{size:,} items, {kind}": [] for size, kind in kinds}
    with running_server(Setting(0, 0, runs, processing=PROCESSING, submit_latency=SUBMIT)) as server:
        for _ in range(runs):
            for size, kind in kinds:
                found[f"{size:,} items, {kind}"].append(_seconds(server, size, asynchronous=kind != "iterator"))
    lines = [row("seconds until the first result", "")] + [row(f"  {name}", spread(of)) for name, of in found.items()]
    lines.append(f"A batch is accepted after {SUBMIT:g} s and takes {PROCESSING:g} s; nothing was learned before.")
    verdicts = [Verdict(f"seconds until the first result, {name}", median(of), GOAL) for name, of in found.items()]
    return Answer("\n".join(lines), {"seconds": found}, verdicts)


def _seconds(server: Server, size: int, *, asynchronous: bool) -> float:
    server.reset()
    told = told_by(
        "first_result",
        server,
        *("--items", size, "--in-flight", IN_FLIGHT),
        *(["--asynchronous"] if asynchronous else []),
    )
    counts = server.counts()
    if told["ok"] is not True or not 0 < counts.handed_out <= counts.received <= size:
        raise DishonestRunError(f"The first result is not to be trusted: {told}, and the server has {counts}.")
    return float(told["seconds"])
