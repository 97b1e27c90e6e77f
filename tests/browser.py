"""A headless Chromium for tests of pages."""

from __future__ import annotations

import contextlib
import json
import shutil
import tempfile
from collections.abc import Iterator
from typing import Any, Literal

import pytest
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@contextlib.contextmanager
def browser() -> Iterator[Chrome]:
    """A browser with a profile of its own, which is gone afterwards; the test is skipped where there is none."""
    binary, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if binary is None or driver is None:
        pytest.skip("chromium and chromedriver are not installed (Debian packages chromium, chromium-driver)")
    with tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True) as profile:
        options = ChromeOptions()
        options.binary_location = binary
        for flag in (*FLAGS, f"--user-data-dir={profile}"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        options.add_argument("about:blank")  # not the page for a new tab, which is a program of its own
        chrome = Chrome(options=options, service=Service(driver))
        try:
            yield chrome
        finally:
            chrome.quit()


def size(chrome: Chrome, width: int, height: int = 900) -> None:
    """Makes the page so wide, also below the least width of a window."""
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    chrome.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def theme(chrome: Chrome, name: Literal["light", "dark"], media: Literal["screen", "print"] = "screen") -> None:
    """Shows pages as to somebody who prefers light or dark ones, on a screen or on paper."""
    features = [{"name": "prefers-color-scheme", "value": name}]
    chrome.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": media, "features": features})


def console(chrome: Chrome) -> list[str]:
    """What the console has said since it was asked last."""
    return [entry["message"] for entry in chrome.get_log("browser")]


def requests(chrome: Chrome) -> list[str]:
    """The addresses that pages have asked for since this was asked last."""
    entries: list[dict[str, Any]] = chrome.get_log("performance")
    events = [json.loads(entry["message"])["message"] for entry in entries]
    return [event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"]
