"""The applications of the manual, as pasted; the page in a real browser."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from selenium.webdriver.common.by import By

from quartile_async.emulator import ThreadedEmulator
from tests import browser

from .conftest import client, items, until

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
APPLICATIONS = [
    text for text in re.findall(r"^```python\n(.*?)^```$", README, re.MULTILINE | re.DOTALL) if "app = " in text
]


def application_with(words: str) -> str:
    (found,) = [text for text in APPLICATIONS if words in text]
    return found


@contextmanager
def running(code: str, emulator: ThreadedEmulator, folder: Path) -> Iterator[str]:
    (folder / "app.py").write_text(code)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = {
        **os.environ,
        "QUARTILE_BASE_URL": emulator.url,
        "QUARTILE_SUBSCRIPTION_KEY": emulator.subscription_key,
        "QUARTILE_ACCESS_TOKEN": emulator.access_token,
        "PYTHONWARNINGS": "error",
    }
    command = [sys.executable, "-m", "uvicorn", "app:app", "--port", str(port), "--log-level", "warning"]
    process = subprocess.Popen([*command, "--timeout-graceful-shutdown", "1"], cwd=folder, env=environment)
    try:
        until(lambda: process.poll() is not None or answers(port))
        assert process.poll() is None
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(20)


def answers(port: int) -> bool:
    try:
        httpx.get(f"http://127.0.0.1:{port}/")
    except httpx.TransportError:
        return False
    return True


def test_the_manual_has_four_applications() -> None:
    assert len(APPLICATIONS) == 4


@pytest.mark.parametrize("words", ["list[MasterlistItem], client: Client", "from starlette.applications"])
@pytest.mark.quartile_emulator(processing=0.1)
def test_the_handler_of_the_manual_streams_results(
    words: str, quartile_emulator: ThreadedEmulator, tmp_path: Path
) -> None:
    with running(application_with(words), quartile_emulator, tmp_path) as url, client(url) as http:
        lines = [json.loads(line) for line in http.post("/targets", json=items(120)).text.splitlines()]

    assert [line["type"] for line in lines] == ["result"] * 120 + ["summary"]
    assert len(quartile_emulator.applied) == 120


@pytest.mark.quartile_emulator(processing=0.0)
def test_the_settings_of_the_manual_work(quartile_emulator: ThreadedEmulator, tmp_path: Path) -> None:
    with running(application_with("BaseSettings"), quartile_emulator, tmp_path) as url, client(url) as http:
        answer = http.get("/batches/507f1f77bcf86cd799439011")

    assert answer.status_code == 500, "the emulator knows no such batch"
    assert quartile_emulator.requests


@pytest.mark.slow
@pytest.mark.quartile_emulator(processing=1.0)
def test_the_page_of_the_manual_shows_an_upload_as_it_goes(quartile_emulator: ThreadedEmulator, tmp_path: Path) -> None:
    with (
        running(application_with("<progress"), quartile_emulator, tmp_path) as url,
        browser.browser() as chrome,
    ):
        chrome.get(url)
        chrome.find_element(By.ID, "begin").click()
        seen: set[str] = set()

        def done() -> bool:
            seen.add(chrome.find_element(By.ID, "said").text)
            return "1000 of 1000 succeeded" in seen

        until(done)
        assert chrome.find_element(By.ID, "bar").get_attribute("value") == "1000"
        assert browser.console(chrome) == []
        asked = browser.requests(chrome)
        assert {address for address in asked if not address.startswith((url, "data:", "about:", "chrome:"))} == set()
    assert len(quartile_emulator.applied) == 1_000
