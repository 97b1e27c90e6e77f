"""What does it cost to import the library, beside importing aiohttp and pydantic alone?

Twice: the bare packages, of which pydantic and the library load parts only when they are asked for; and with what a
first script asks for, a model of pydantic's and the library's client and masterlist.
"""

from __future__ import annotations

from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter

from .questions import Answer, Verdict, spread
from .report import row
from .runner import run_python

RUNS, QUICK_RUNS = 15, 3

A_MODEL = "from pydantic import BaseModel\nclass Item(BaseModel):\n    asin: str"

PROGRAMS = {
    "nothing": "pass",
    "aiohttp and pydantic": "import aiohttp, pydantic",
    "aiohttp and pydantic again": "import aiohttp, pydantic",
    "quartile_async": "import quartile_async",
    "aiohttp and a model": f"import aiohttp\n{A_MODEL}",
    "quartile_async, client and masterlist": "from quartile_async import MASTERLIST, QuartileClient",
}

COMPILES = {"PYTHONDONTWRITEBYTECODE": ""}
"""The environment in which what is compiled is also kept."""

BESIDE = {
    "aiohttp and pydantic": "aiohttp and pydantic",
    "aiohttp and pydantic again": "aiohttp and pydantic",
    "quartile_async": "aiohttp and pydantic",
    "quartile_async, client and masterlist": "aiohttp and a model",
}
"""What is compared with what."""


def answer(quick: bool) -> Answer:
    runs = QUICK_RUNS if quick else RUNS
    with TemporaryDirectory() as cache:
        _seconds_of_each(cache)  # compiles everything, as installing a package does
        rounds = [_seconds_of_each(cache) for _ in range(runs)]
    ratios = {name: [_ratio(seconds, name) for seconds in rounds] for name in BESIDE}
    lines = [row("seconds more than Python alone", "", "x those without it")]
    for name in PROGRAMS:
        if name != "nothing":
            seconds = spread([each[name] - each["nothing"] for each in rounds])
            lines.append(row(f"  {name}", seconds, spread(ratios[name]) if name in ratios else "-"))
    verdicts = [
        Verdict(f"importing {name}, against {BESIDE[name]}", median(ratios[name]), 1.15)
        for name in ("quartile_async", "quartile_async, client and masterlist")
    ]
    return Answer("\n".join(lines), {"rounds": rounds, "ratios": ratios}, verdicts)


def _seconds_of_each(cache: str) -> dict[str, float]:
    seconds = {}
    for name, program in PROGRAMS.items():
        begun = perf_counter()
        run_python(name, ["-X", f"pycache_prefix={cache}", "-c", program], limit=60.0, environment=COMPILES)
        seconds[name] = perf_counter() - begun
    return seconds


def _ratio(seconds: dict[str, float], name: str) -> float:
    return (seconds[name] - seconds["nothing"]) / (seconds[BESIDE[name]] - seconds["nothing"])
