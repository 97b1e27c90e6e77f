"""The answers as pictures; the only file that opens matplotlib."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import matplotlib as mpl

mpl.use("svg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes

OURS, OTHERS, GOAL = "#1f6f8b", "#b8b8b8", "#c0392b"


def draw(figures: Mapping[str, Mapping[str, Any]], folder: Path) -> None:
    """Draws those answers that are there, each into a file of its own."""
    for name, drawn in (("speed", _speed), ("memory", _memory), ("growth", _growth), ("waiting", _waiting)):
        if name in figures:
            drawn(figures[name], folder / f"{name}.svg")


def _speed(figures: Mapping[str, Any], file: Path) -> None:
    """CPU for each item and throughput, as ratios to raw aiohttp, with the spread."""
    figure, panels = plt.subplots(1, 2, figsize=(10, 3.4), sharey=True, layout="constrained")
    for axes, measure, goal, goal_says in zip(
        panels, ("CPU per item", "throughput"), (2.0, 0.5), ("at most", "at least"), strict=True
    ):
        ratios = [each for each in figures["ratios"] if each["measure"] == measure and each["against"] == "raw"]
        names = [each["client"].replace("raw-again", "raw again (control)") for each in ratios]
        middles = [each["median"] for each in ratios]
        spans = [
            [middle - each["least"] for middle, each in zip(middles, ratios, strict=True)],
            [each["greatest"] - middle for middle, each in zip(middles, ratios, strict=True)],
        ]
        colours = [OURS if name.startswith("library") else OTHERS for name in names]
        axes.barh(names, middles, xerr=spans, color=colours, capsize=3)
        axes.axvline(1.0, color="black", linewidth=0.8)
        axes.axvline(goal, color=GOAL, linestyle="--", linewidth=1.2, label=f"goal: {goal_says} {goal:g}")
        axes.set_xlabel(f"{measure}, × raw aiohttp")
        axes.legend(frameon=False, fontsize=8, loc="lower right")
    panels[0].invert_yaxis()
    _save(figure, file)


def _memory(figures: Mapping[str, Any], file: Path) -> None:
    figure, axes = plt.subplots(figsize=(6, 3.6), layout="constrained")
    for (name, by_size), style in zip(figures["peaks"].items(), ("o-", "s--", "^:"), strict=False):
        sizes = [int(size) for size in by_size]
        colour = OURS if name.startswith("library") else OTHERS
        axes.plot(sizes, [median(values) for values in by_size.values()], style, color=colour, label=name)
    axes.axhline(80.0, color=GOAL, linestyle="--", linewidth=1.0, label="goal for the library: at most 80 MB")
    axes.set(xscale="log", xlabel="items", ylabel="peak memory, MB", ylim=(0, None))
    axes.legend(frameon=False, fontsize=8)
    _save(figure, file)


def _growth(figures: Mapping[str, Any], file: Path) -> None:
    figure, (by_size, by_slots) = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
    _log_log(by_size, figures["sizes"], "items", "seconds")
    _log_log(by_slots, figures["slots"], "batches in flight", "items a second")
    _save(figure, file)


def _log_log(axes: Axes, runs: Mapping[Any, Sequence[Sequence[float]]], across: str, upwards: str) -> None:
    places = [int(place) for place in runs]
    middles = [median(run[0] for run in of) for of in runs.values()]
    axes.plot(places, middles, "o-", color=OURS, label="the library")
    straight = [middles[0] * place / places[0] for place in places]
    axes.plot(places, straight, ":", color="black", linewidth=0.9, label="in proportion")
    axes.set(xscale="log", yscale="log", xlabel=across, ylabel=upwards)
    axes.minorticks_off()
    axes.set_xticks(places, [f"{place:,}" for place in places])
    axes.legend(frameon=False, fontsize=8)


def _waiting(figures: Mapping[str, Any], file: Path) -> None:
    """Mean delay over the number of questions: the oracle's curve, and the library."""
    figure, panels = plt.subplots(1, len(figures), figsize=(3.2 * len(figures), 3.4), layout="constrained")
    for axes, (world, of) in zip(panels, figures.items(), strict=True):
        curve = [point for point in of["oracle of the first run"] if point["polls"] <= 20.0]
        axes.plot(
            [point["polls"] for point in curve],
            [point["delay"] for point in curve],
            "-",
            color=OTHERS,
            label="oracle (knows the distribution)",
        )
        axes.plot(of["runs"]["polls"], of["runs"]["delay"], "o", color=OURS, markersize=4, label="the library")
        axes.set(title=world, xlabel="questions for each batch", ylim=(0, None))
    panels[0].set_ylabel("mean delay, s")
    panels[0].legend(frameon=False, fontsize=8)
    _save(figure, file)


def _save(figure: Any, file: Path) -> None:
    figure.savefig(file)
    plt.close(figure)
