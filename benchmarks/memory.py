"""Does the library's memory grow with the upload? With a consumer that is quick, and with one that is slow."""

from __future__ import annotations

from statistics import median

from .questions import Answer, Verdict, spread
from .report import row
from .runner import Setting, client, run_client, running_server

CLIENTS = (client("library"), client("library-slow", "library_slow"), client("naive"))
SIZES, QUICK_SIZES = (100_000, 1_000_000), (20_000, 200_000)
RUNS = 9
IN_FLIGHT = 32


def answer(quick: bool) -> Answer:
    sizes, runs = (QUICK_SIZES, 1) if quick else (SIZES, RUNS)
    peaks: dict[str, dict[int, list[float]]] = {each.name: {size: [] for size in sizes} for each in CLIENTS}
    with running_server(Setting(sizes[-1], IN_FLIGHT, runs)) as server:
        for _ in range(runs):
            for size in sizes:
                for each in CLIENTS:
                    run = run_client(server, each, Setting(size, IN_FLIGHT, runs))
                    peaks[each.name][size].append(run.figures.peak_mb)
    lines = [row("peak memory, MB", *(f"{size:,} items" for size in sizes))]
    lines += [row(f"  {name}", *(spread(of[size]) for size in sizes)) for name, of in peaks.items()]
    medians = {name: {size: median(values) for size, values in of.items()} for name, of in peaks.items()}
    return Answer("\n".join(lines), {"peaks": peaks, "runs": runs}, list(_verdicts(medians, sizes)))


def _verdicts(medians: dict[str, dict[int, float]], sizes: tuple[int, int]) -> list[Verdict]:
    few, many = sizes
    verdicts = []
    for name in ("library", "library-slow"):
        of = medians[name]
        verdicts.append(Verdict(f"peak memory, {name}, {many:,} items against {few:,}", of[many] / of[few], 1.1))
        verdicts.append(Verdict(f"peak memory, {name}, {many:,} items, MB", of[many], 80.0))
    return verdicts
