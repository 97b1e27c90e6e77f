"""The demonstration: a made-up catalogue, uploaded to the embedded emulator by the very code of `upload`."""

from __future__ import annotations

import csv
import os
import random
import string
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import anyio.to_thread
from rich.console import Console

from .. import MASTERLIST
from ..emulator import Lognormal, ThreadedEmulator
from ._ending import Ending
from ._job import Job, Outputs
from ._own_command import own_command
from ._run import run_job
from ._words import say, say_to_copy

HEADER = ("asin", "countryCode", "percACoS")
COUNTRIES = ("US", "US", "US", "CA", "MX", "GB", "DE", "FR", "IT", "ES", "JP")
INVALID_ROWS = (
    ("B0BADROW01", "US", "0.4"),
    ("B0BADROW02", "XX", "25.0"),
    ("B0BADROW03", "DE", ""),
    ("B0BADROW04", "US"),
)
DISCONTINUED = "ZZ"
"""Products whose ASIN ends like this are refused by the demo's server before it processes anything (422)."""


async def run_demo(*, items: int, seed: int, max_in_flight: int, as_json: bool, console: Console) -> Ending:
    """Writes the catalogue to a new folder, uploads it, and says where everything is."""
    folder = Path(await anyio.to_thread.run_sync(lambda: tempfile.mkdtemp(prefix="quartile-async-demo-")))
    catalogue, results = folder / "catalogue.csv", folder / "results.csv"
    await anyio.to_thread.run_sync(write_catalogue, catalogue, items, seed)
    say(console, f"A catalogue of {items} items: {catalogue}")
    with ThreadedEmulator(
        seed=seed,
        processing=Lognormal(median=1.0, sigma=0.4),
        submit_latency=0.05,
        fail_share=0.01,
        shuffle_rows=True,
        refuse=lambda item: "The product is discontinued." if item["asin"].endswith(DISCONTINUED) else None,
    ) as emulator:
        say(console, f"The emulator of the API: {emulator.url}")
        settings = {
            "base_url": emulator.url,
            "subscription_key": emulator.subscription_key,
            "auth": emulator.access_token,
            "max_in_flight": max_in_flight,
        }
        outputs = Outputs(results, folder / "retry.csv", folder / "report.html", as_json)
        job = Job((catalogue,), MASTERLIST, settings, outputs, name=catalogue.name)
        ending = await run_job(job, console)
    _say_what_next(console)
    return ending


def write_catalogue(path: Path, items: int, seed: int) -> None:
    """Writes a CSV of `items` records: realistic ones, and among them a few that are invalid or will be refused."""
    rng = random.Random(seed)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator=os.linesep)
        writer.writerow(HEADER)
        writer.writerows(_rows(items, rng))


def _rows(items: int, rng: random.Random) -> Iterator[tuple[str, ...]]:
    # At most every tenth row is invalid, so that a short catalogue is a catalogue too.
    places = rng.sample(range(items), min(len(INVALID_ROWS), items // 10))
    invalid = dict(zip(places, INVALID_ROWS, strict=False))
    for place in range(items):
        if place in invalid:
            yield invalid[place]
            continue
        asin = "B0" + "".join(rng.choices(string.ascii_uppercase + string.digits, k=8))
        yield asin, rng.choice(COUNTRIES), f"{rng.uniform(8.0, 60.0):.1f}"


def _say_what_next(console: Console) -> None:
    console.print("\nFor a file of your own:")
    for line in (
        "  export QUARTILE_SUBSCRIPTION_KEY=... QUARTILE_ACCESS_TOKEN=...",
        f"  {own_command(sys.argv[0])} upload YOUR_CATALOGUE.csv --results results.csv",
    ):
        say_to_copy(console, line)
