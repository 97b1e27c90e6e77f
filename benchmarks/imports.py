"""What does it cost to import the library, beside importing aiohttp and pydantic alone?"""

from __future__ import annotations

from statistics import median
from time import perf_counter

from .questions import Answer, Verdict, spread
from .report import row
from .runner import run_python

RUNS, QUICK_RUNS = 15, 3

PROGRAMS = {
    "nothing": "pass",
    "aiohttp and pydantic": "import aiohttp, pydantic",
    "aiohttp and pydantic again": "import aiohttp, pydantic",
    "quartile_async": "import quartile_async",
}


def answer(quick: bool) -> Answer:
    runs = QUICK_RUNS if quick else RUNS
    _seconds_of_each()  # the caches are filled
    rounds = [_seconds_of_each() for _ in range(runs)]
    ratios = {name: [_ratio(seconds, name) for seconds in rounds] for name in PROGRAMS if name != "nothing"}
    lines = [row("seconds more than Python alone", "", "x aiohttp and pydantic")]
    for name, of in ratios.items():
        lines.append(row(f"  {name}", spread([each[name] - each["nothing"] for each in rounds]), spread(of)))
    verdict = Verdict("importing it, against aiohttp and pydantic", median(ratios["quartile_async"]), 1.15)
    return Answer("\n".join(lines), {"rounds": rounds, "ratios": ratios}, [verdict])


def _seconds_of_each() -> dict[str, float]:
    seconds = {}
    for name, program in PROGRAMS.items():
        begun = perf_counter()
        run_python(name, ["-c", program], limit=60.0)
        seconds[name] = perf_counter() - begun
    return seconds


def _ratio(seconds: dict[str, float], name: str) -> float:
    return (seconds[name] - seconds["nothing"]) / (seconds["aiohttp and pydantic"] - seconds["nothing"])
