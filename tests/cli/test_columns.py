"""Files whose columns are named as sellers name them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from quartile_async.emulator import ThreadedEmulator

from .test_commands import read_csv, run

SHEET = "Title;ASIN;Country;Target ACoS (%);Notes\nA shoe;B0SHOE0001;US;27.5;x\nA hat;B0HAT00001;DE;0.2;y\n"


@pytest.mark.quartile_emulator(processing=0.0)
def test_a_sellers_sheet_is_uploaded_and_its_rows_to_mend_have_its_own_columns(
    tmp_path: Path, quartile_emulator: ThreadedEmulator
) -> None:
    path, results, retry = tmp_path / "sheet.csv", tmp_path / "results.csv", tmp_path / "retry.csv"
    path.write_text(SHEET)

    done = run("upload", path, "--results", results, "--retry-file", retry, emulator=quartile_emulator)

    assert done.returncode == 1
    assert "'ASIN' is asin, 'Country' is countryCode, 'Target ACoS (%)' is percACoS" in done.stderr
    assert quartile_emulator.applied["B0SHOE0001", "US"]["percACoS"] == 27.5
    assert {row["asin"]: row["outcome"] for row in read_csv(results)} == {
        "B0SHOE0001": "succeeded",
        "B0HAT00001": "rejected",
    }
    assert retry.read_text() == SHEET.replace("A shoe;B0SHOE0001;US;27.5;x\n", "")

    retry.write_text(retry.read_text().replace("0.2", "12"))
    again = run("upload", retry, "--json", emulator=quartile_emulator)
    assert json.loads(again.stdout)["succeeded"] == 1


def test_a_column_of_any_name_may_be_named(tmp_path: Path) -> None:
    path = tmp_path / "blatt.csv"
    path.write_text("asin,Land,Ziel\nB0SHOE0001,US,27.5\n")

    unnamed = run("upload", path, "--dry-run")
    named = run("upload", path, "--dry-run", "--map", "Land=countryCode", "--map", "Ziel=percACoS")

    assert unnamed.returncode == 2
    assert "'Land'" in unnamed.stderr
    assert "--map COLUMN=FIELD" in unnamed.stderr
    assert len(unnamed.stderr.splitlines()) <= 12
    assert named.returncode == 0, named.stderr
    assert "'Land' is countryCode, 'Ziel' is percACoS" in named.stderr


def test_what_is_no_column_and_field_exits_2(tmp_path: Path) -> None:
    path = tmp_path / "c.csv"
    path.write_text("asin,countryCode,percACoS\n")

    done = run("upload", path, "--dry-run", "--map", "percACoS")

    assert done.returncode == 2
    assert "COLUMN=FIELD" in done.stderr
