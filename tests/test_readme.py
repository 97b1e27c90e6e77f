"""The manual is true: each block of code in it runs."""

from __future__ import annotations

import html
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import openpyxl
import pytest

import quartile_async.dask  # noqa: F401  # a scheduler in this process would import it on its event loop
from quartile_async.emulator import ThreadedEmulator

from . import pictures
from .dask.cluster import running_cluster
from .redis.server import REDIS, RedisServer

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = [
    (README[: found.start()].count("\n") + 2, found[1], found[2])
    for found in re.finditer(r"^```(\w*)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
]
PROFILES = "".join(text for _, kind, text in BLOCKS if kind == "toml")
CATALOGUE = "asin,countryCode,percACoS\nB01N5IB20Q,US,27.5\nB07FZ8S74R,DE,18\nB0,US,12\n"


def blocks(language: str, *, tests: bool = False) -> list[object]:
    return [
        pytest.param(text, id=f"line {line}", marks=[pytest.mark.slow] if "import distributed" in text else [])
        for line, kind, text in BLOCKS
        # Applications run on a server, and are tested with the rest of theirs.
        if kind == language and ("def test_" in text) is tests and "app = " not in text
    ]


def environment(emulator: ThreadedEmulator) -> dict[str, str]:
    return {
        **os.environ,
        "QUARTILE_BASE_URL": emulator.url,
        "QUARTILE_SUBSCRIPTION_KEY": emulator.subscription_key,
        "QUARTILE_ACCESS_TOKEN": emulator.access_token,
        "QUARTILE_USERNAME": emulator.username,
        "QUARTILE_PASSWORD": emulator.password,
        "PYTHONWARNINGS": "error",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }


LOCAL_REDIS, SCHEDULER = "redis://localhost:6379/0", "tcp://scheduler:8786"


@contextmanager
def cluster_for(script: str, environment: dict[str, str]) -> Iterator[str]:
    """The address of a cluster of its own, for a script that needs one."""
    if SCHEDULER not in script:
        yield ""
        return
    secrets = {name: value for name, value in environment.items() if name.startswith("QUARTILE_")}
    with running_cluster(secrets, workers=1, threads=2) as cluster:
        yield cluster.scheduler_address


@contextmanager
def redis_for(script: str) -> Iterator[str]:
    """The address of a Redis of its own, for a script or a line that needs one."""
    if LOCAL_REDIS not in script:
        yield ""
        return
    if REDIS is None:
        pytest.skip("redis-server is not installed (Debian: apt-get install redis-server)")
    with RedisServer() as server:
        yield server.url


@pytest.mark.parametrize("script", blocks("python"))
def test_each_script_runs(script: str, quartile_emulator: ThreadedEmulator, tmp_path: Path) -> None:
    (tmp_path / "catalogue.csv").write_text(CATALOGUE)

    settings = environment(quartile_emulator)
    with redis_for(script) as url, cluster_for(script, settings) as scheduler:
        (tmp_path / "script.py").write_text(script.replace(LOCAL_REDIS, url).replace(SCHEDULER, scheduler))
        done = subprocess.run(
            [sys.executable, "script.py"],
            cwd=tmp_path,
            env=settings,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert quartile_emulator.requests, "it talked to the API"


@pytest.mark.parametrize("tests", blocks("python", tests=True))
def test_each_example_of_a_test_passes(tests: str, pytester: pytest.Pytester) -> None:
    pytester.makepyfile(tests)
    pytester.makeini("[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\n")

    result = pytester.runpytest_subprocess("--strict-markers", "-W", "error", "-p", "no:looptime_plugin")

    assert result.ret == 0


def command_lines() -> list[object]:
    lines = [(number, line) for number, kind, text in BLOCKS if kind == "console" for line in text.splitlines()]
    return [pytest.param(line, id=line[:50]) for _, line in lines if line.startswith("quartile-async ")]


@pytest.mark.parametrize("line", command_lines())
def test_each_command_line_runs(line: str, quartile_emulator: ThreadedEmulator, tmp_path: Path) -> None:
    (tmp_path / "catalogue.csv").write_text(CATALOGUE)
    write_workbook(tmp_path / "catalogue.xlsx")
    if " emulator" in line:
        line = line.replace("--port 8080", "--port 0")  # that one may be in use
        line = f"timeout --signal=INT 2 {line} || [ $? -eq 124 ] || [ $? -eq 130 ]"
    if " batch " in line:
        results = "quartile-async upload catalogue.csv --no-journal --results results.csv"
        line = f"{results}; {re.sub('[0-9a-f]{24}', '$(grep -m1 succeeded results.csv | cut -d, -f7)', line)}"
    line = line.replace("quartile-async login", 'echo "$QUARTILE_PASSWORD" | quartile-async login --password-stdin')
    profiles = PROFILES.replace('"..."', f'"{quartile_emulator.subscription_key}"')
    (tmp_path / "profiles.toml").write_text(profiles.replace("https://api.quartile.com", quartile_emulator.url))
    if " journal" in line:
        line = f"quartile-async upload catalogue.csv; {line}"

    with redis_for(line) as url:
        done = subprocess.run(
            ["bash", "-c", line.replace("demo", "demo --items 200").replace(LOCAL_REDIS, url)],
            cwd=tmp_path,
            env=environment(quartile_emulator)
            | {"QUARTILE_PROFILES": str(tmp_path / "profiles.toml"), "XDG_DATA_HOME": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    assert done.returncode in (0, 1), done.stderr  # 1: the catalogue has a bad row, on purpose
    assert "Error" not in done.stderr


def write_workbook(path: Path) -> None:
    book = openpyxl.Workbook(write_only=True)
    sheet = book.create_sheet()
    for line in CATALOGUE.splitlines():
        sheet.append(line.split(","))
    book.save(path)


def test_the_picture_of_an_upload_is_there_and_can_be_drawn_anew(tmp_path: Path) -> None:
    (link,) = re.findall(r"!\[.*\]\((.*)\)", README)
    pictures.draw(tmp_path / "upload.svg", 1_500)

    for path in (ROOT / link, tmp_path / "upload.svg"):
        picture = html.unescape(path.read_text(encoding="utf-8")).replace("\xa0", " ")
        for seen in ("quartile-async upload", "Send the ", "B0", "batches in flight", "items/s): done.", "https://api"):
            assert seen in picture, seen
        assert "127.0.0.1" not in picture


def line_under(mark: str) -> str:
    return next(text.strip() for _, kind, text in BLOCKS if kind == "console" and mark in README.split(text)[0][-60:])


def test_the_two_lines_set_up_all_they_need_and_are_one_line_each() -> None:
    demo, tests = line_under("<!-- demo line -->"), line_under("<!-- test line -->")

    for line in (demo, tests):
        assert "\n" not in line
        assert line.startswith("python3 -m venv .venv && .venv/bin/pip install ")
    assert demo.endswith("/quartile-async demo")
    assert "pytest" in tests


def test_ci_runs_the_very_test_line_of_the_manual() -> None:
    script = (ROOT / ".ci" / "run").read_text()

    assert "<!-- test line -->" in script
    assert "pytest" not in script.split("test_line=")[1].split("\n")[0]


def test_every_block_is_of_a_kind_that_is_run() -> None:
    assert {kind for _, kind, _ in BLOCKS} <= {"python", "console", "toml", ""}


def test_every_link_within_the_manual_leads_somewhere() -> None:
    titles = {
        re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
        for title in re.findall(r"^#+ (.+)$", README, re.MULTILINE)
    }

    assert set(re.findall(r"\]\(#([\w-]+)\)", README)) <= titles
