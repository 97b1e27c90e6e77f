"""`python -m tests.pictures`: draws README's picture of an upload, from a real one in a terminal of 80 columns."""

from __future__ import annotations

import csv
import io
import itertools
import os
import random
import re
import sys
import tempfile
from pathlib import Path

import pexpect
import pyte
from rich.console import Console
from rich.style import Style
from rich.text import Text

from quartile_async.emulator import Lognormal, ThreadedEmulator

TARGET = Path(__file__).parents[1] / ".pictures" / "upload.svg"
COLUMNS, LINES, ROWS = 80, 60, 6_000
COUNTRIES = ("US", "us", "DE", "FR", "GB", "IT")


def main() -> None:
    """Draws it."""
    TARGET.parent.mkdir(exist_ok=True)
    draw(TARGET, ROWS)


def draw(path: Path, rows: int) -> None:
    """Uploads a sheet as sellers have it, and draws what the terminal shows, when half of it is done and at the end."""
    with (
        tempfile.TemporaryDirectory() as folder,
        ThreadedEmulator(
            seed=4, processing=Lognormal(median=1.0, sigma=0.4), submit_latency=0.05, fail_share=0.01
        ) as emulator,
    ):
        write_sheet(Path(folder) / "catalogue.csv", rows)
        screen = pyte.Screen(COLUMNS, LINES)
        middle, end = run(folder, emulator, pyte.Stream(screen), screen)
    picture(middle, end, emulator.url, path)


def write_sheet(path: Path, rows: int) -> None:
    """Writes a sheet with a decimal comma, names of its own, and two rows that cannot be sent."""
    rng = random.Random(1)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter=";")
        writer.writerow(("ASIN", "Country", "Target ACoS (%)", "Product"))
        for number in range(rows):
            target = f"{rng.uniform(8, 60):.1f}".replace(".", ",")
            if number == 41:
                target = "25. Mai"
            asin = "307474278" if number == 1_207 else f"B0{rng.randrange(10**8):08d}"
            writer.writerow((asin, rng.choice(COUNTRIES), target, f"Shoe {number}"))


def run(
    folder: str, emulator: ThreadedEmulator, stream: pyte.Stream, screen: pyte.Screen
) -> tuple[list[Text], list[Text]]:
    """What stands in the terminal in the middle of an upload, and at its end."""
    environment = {
        **os.environ,
        "QUARTILE_BASE_URL": emulator.url,
        "QUARTILE_SUBSCRIPTION_KEY": emulator.subscription_key,
        "QUARTILE_ACCESS_TOKEN": emulator.access_token,
        "TERM": "xterm-256color",
    }
    environment.pop("COLUMNS", None)
    arguments = ["upload", "catalogue.csv", "--account", "acme-de", "--report", "report.html"]
    shown: pexpect.spawn[str] = pexpect.spawn(
        sys.executable,
        ["-m", "quartile_async", *arguments, "--results", "results.csv", "--retry-file", "retry.csv"],
        cwd=folder,
        env=environment,
        encoding="utf-8",
        dimensions=(LINES, COLUMNS),
        timeout=60,
    )
    shown.expect("Send .*: ")
    stream.feed((shown.before or "") + str(shown.after))
    shown.sendline("y")
    half: list[Text] | None = None
    while True:
        try:
            stream.feed(shown.read_nonblocking(4_096, timeout=30))
        except pexpect.EOF:
            break
        done = next(filter(None, (re.search(r"(\d+)/(\d+)", line) for line in screen.display)), None)
        if half is None and done and int(done[1]) * 2 > int(done[2]) > int(done[1]):
            half = lines_of(screen)
    shown.wait()
    end = lines_of(screen)
    return half or end, end


def lines_of(screen: pyte.Screen) -> list[Text]:
    """The lines of the screen, with their colours."""
    lines = []
    for number in range(screen.lines):
        chars = [screen.buffer[number][column] for column in range(screen.columns)]
        line = Text()
        for (fg, bold), alike in itertools.groupby(chars, key=lambda char: (char.fg, char.bold)):
            line.append("".join(char.data for char in alike), Style(color=colour(fg), bold=bold))
        line.rstrip()
        lines.append(line)
    while lines and not lines[-1].plain:
        lines.pop()
    return lines


def colour(name: str) -> str | None:
    """A colour of the terminal, as rich names it."""
    if name == "default":
        return None
    return {"brown": "yellow"}.get(name.removeprefix("bright"), name if len(name) != 6 else f"#{name}")


def place_of_the_bar(lines: list[Text]) -> int:
    """Which line is the progress bar."""
    return next(place for place, line in enumerate(lines) if re.search(r"━.*\d+/\d+", line.plain))


def picture(middle: list[Text], end: list[Text], url: str, path: Path) -> None:
    """Draws the end, with the bar as it was in the middle above the one that is full."""
    bar = place_of_the_bar(middle)
    under_way = middle[bar : bar + 2]
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    console.print(Text("$ quartile-async upload catalogue.csv --account acme-de --report report.html …", "bold"))
    bar = place_of_the_bar(end)
    for line in end[:bar] + under_way + end[bar:]:
        console.print(line if url not in line.plain else Text(line.plain.replace(url, "https://api.quartile.com")))
    path.write_text(console.export_svg(title="quartile-async"), encoding="utf-8")


if __name__ == "__main__":
    main()
