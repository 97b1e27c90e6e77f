"""What does it cost to read a row of a file, and to clean it, beside uploading it?

The same items as files of each format, read by processes of their own; beside them the library's upload of as many
mappings, against a server that answers at once. And the most memory that reading takes, for a file that is four times
as large.
"""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from .questions import Answer, Verdict, spread
from .report import row
from .runner import BenchmarkError, Setting, client, run_client, run_python, running_server
from .work import items

SIZE, QUICK_SIZE = 100_000, 4_000
RUNS, QUICK_RUNS = 9, 1
TIMES_AS_LARGE = 4
IN_FLIGHT = 32
LIBRARY = client("library")

GROWS = ("xlsx",)
"""Formats that need memory for the whole file: the texts of a workbook stand in a table of their own."""


def answer(quick: bool) -> Answer:
    size, runs = (QUICK_SIZE, QUICK_RUNS) if quick else (SIZE, RUNS)
    setting = Setting(size, IN_FLIGHT, runs)
    with TemporaryDirectory() as folder, running_server(setting) as server:
        small, large = (written(Path(folder), count) for count in (size, size * TIMES_AS_LARGE))
        rounds = []
        for _ in range(runs):
            upload = run_client(server, LIBRARY, setting).figures.cpu / size
            rounds.append({"upload": upload} | {name: _read(path, size)["cpu"] / size for name, path in small.items()})
        peaks = {
            name: (_read(small[name], size)["peak_mb"], _read(path, size * TIMES_AS_LARGE)["peak_mb"])
            for name, path in large.items()
        }
    return Answer("\n".join(_lines(rounds, peaks)), {"rounds": rounds, "peaks": peaks}, _verdicts(rounds, peaks))


def _lines(rounds: list[dict[str, float]], peaks: Mapping[str, tuple[float, float]]) -> list[str]:
    lines = [row("CPU, us a row", "", "x the upload's", "MB; for 4 x the rows")]
    for name in rounds[0]:
        cost = spread([each[name] * 1e6 for each in rounds])
        ratio = spread([each[name] / each["upload"] for each in rounds])
        peak = "{:.0f}, {:.0f}".format(*peaks[name]) if name in peaks else "-"
        lines.append(row(f"  {name}", cost, ratio, peak))
    return lines


def _verdicts(rounds: list[dict[str, float]], peaks: Mapping[str, tuple[float, float]]) -> list[Verdict]:
    ratio = median([each["csv"] / each["upload"] for each in rounds])
    return [Verdict("reading a row of CSV, against uploading it", ratio, 1.0)] + [
        Verdict(f"peak memory of {name}, four times the rows", many / few, 1.2)
        for name, (few, many) in peaks.items()
        if name not in GROWS
    ]


def _read(path: Path, rows: int) -> dict[str, float]:
    told: dict[str, float] = json.loads(
        run_python(path.name, ["-m", "benchmarks.clients.read_file", str(path)], limit=600.0)
    )
    if told["rows"] != rows:
        raise BenchmarkError(f"{path.name}: {told['rows']} of {rows} rows were read")
    return told


def written(folder: Path, count: int) -> dict[str, Path]:
    """Files with so many items, one of each format."""
    return {name: write(folder / f"{count}.{name}", count) for name, write in WRITERS.items()}


def _csv(path: Path, count: int) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        _rows(file, count)
    return path


def _gzip(path: Path, count: int) -> Path:
    with gzip.open(path, "wt", encoding="utf-8", newline="") as file:
        _rows(file, count)
    return path


def _rows(file: Any, count: int) -> None:
    writer = csv.writer(file)
    writer.writerow(("asin", "countryCode", "percACoS"))
    writer.writerows(item.values() for item in items(count))


def _json_lines(path: Path, count: int) -> Path:
    with path.open("w", encoding="utf-8") as file:
        file.writelines(f"{json.dumps(item)}\n" for item in items(count))
    return path


def _json(path: Path, count: int) -> Path:
    path.write_text(json.dumps(list(items(count))), encoding="utf-8")
    return path


def _excel(path: Path, count: int) -> Path:
    import openpyxl

    book = openpyxl.Workbook(write_only=True)
    sheet = book.create_sheet()
    sheet.append(["asin", "countryCode", "percACoS"])
    for item in items(count):
        sheet.append(list(item.values()))
    book.save(path)
    return path


def _parquet(path: Path, count: int) -> Path:
    import duckdb

    source = _csv(path.with_suffix(".source.csv"), count)
    with duckdb.connect() as database:
        database.execute(f"COPY (SELECT * FROM read_csv('{source}')) TO '{path}' (FORMAT parquet)")
    return path


WRITERS: Mapping[str, Callable[[Path, int], Path]] = {
    "csv": _csv,
    "csv.gz": _gzip,
    "jsonl": _json_lines,
    "json": _json,
    "parquet": _parquet,
    "xlsx": _excel,
}
