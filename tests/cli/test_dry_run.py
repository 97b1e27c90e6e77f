"""`upload --dry-run`: the whole file is checked, and nothing is sent."""

from __future__ import annotations

import json
import re
import statistics
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quartile_async.cli._dry_run import Findings
from quartile_async.emulator import ThreadedEmulator

from .test_commands import HEADER, catalogue, environment, read_csv, run

MESS = ("B0BADROW01,US,0.4\n", "B0BADROW02,US\n", "B0GOODROW1,DE,12\n")


def test_a_valid_file_exits_0_and_needs_no_credentials(tmp_path: Path) -> None:
    done = run("upload", catalogue(tmp_path / "c.csv", 1_200), "--dry-run", "--json")

    assert done.returncode == 0, done.stderr
    counts = json.loads(done.stdout)
    assert counts.pop("seconds") > 0
    assert counts == {"items": 1_200, "valid": 1_200, "invalid": 0}
    assert "1,200 records checked" in done.stderr
    assert "/s). Nothing was sent." in done.stderr
    assert "percACoS: from 27.5 to 27.5, the median is 27.5" in done.stderr


def test_what_is_invalid_is_told_and_written_and_nothing_is_sent(
    tmp_path: Path, quartile_emulator: ThreadedEmulator
) -> None:
    path, results, retry = catalogue(tmp_path / "c.csv", 700, *MESS), tmp_path / "r.csv", tmp_path / "retry.csv"

    done = run("upload", path, "--dry-run", "--results", results, "--retry-file", retry, emulator=quartile_emulator)

    assert done.returncode == 1
    assert "record 701 (line 702): percACoS: " in done.stderr
    assert "record 702 (line 703): The record has 2 cells, the header 3." in done.stderr
    assert [(row["index"], row["outcome"]) for row in read_csv(results)] == [("700", "rejected"), ("701", "rejected")]
    assert retry.read_text() == HEADER + "".join(MESS[:2])
    assert not quartile_emulator.requests
    assert not path.with_name("c.csv.journal").exists()


def test_only_the_first_problems_are_shown_and_the_rest_counted(tmp_path: Path) -> None:
    done = run("upload", catalogue(tmp_path / "c.csv", 1_000, *MESS[:1] * 2_000), "--dry-run")

    assert done.returncode == 1
    assert len(done.stderr.splitlines()) <= 12
    assert done.stderr.rstrip().endswith("and 1,995 more")


MEASURED = """
import sys
from quartile_async.__main__ import main
try:
    main()
finally:
    status = open("/proc/self/status").read()
    print(status.split("VmHWM:")[1].split()[0])
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="there is no /proc to read the memory from")
def test_a_million_rows_are_checked_in_flat_memory_and_the_rate_is_told(tmp_path: Path) -> None:
    def peak(rows: int) -> tuple[int, str]:
        path = tmp_path / f"{rows}.csv"
        with path.open("w") as file:
            file.write(HEADER)
            file.writelines(f"b0{number:08d},us,27.5\n" for number in range(rows))
        done = subprocess.run(
            [sys.executable, "-c", MEASURED, "upload", str(path), "--dry-run"],
            capture_output=True,
            text=True,
            env=environment(None),
            timeout=100,
            check=False,
        )
        return int(done.stdout), done.stderr

    few, _ = peak(50_000)
    many, said = peak(1_000_000)

    assert "1,000,000 records checked in" in said
    assert re.search(r"\([\d,]+/s\)", said)
    assert many < few * 1.15


@pytest.mark.parametrize("name", ["missing.csv", "c.xyz"])
def test_a_file_that_cannot_be_used_exits_2(tmp_path: Path, name: str) -> None:
    (tmp_path / "c.xyz").write_text("x")

    done = run("upload", tmp_path / name, "--dry-run")

    assert done.returncode == 2
    assert name in done.stderr


@given(st.lists(st.sampled_from([1.0, 1.5, 2.0, 30.0, 99.99]), min_size=1, max_size=30))
def test_the_median_is_one_of_the_two_in_the_middle(targets: list[float]) -> None:
    findings = Findings(targets=Counter(targets))

    assert findings.quantile(0.0) == min(targets)
    assert findings.quantile(1.0) == max(targets)
    assert findings.quantile(0.5) in (statistics.median_low(targets), statistics.median_high(targets))
