"""The soak command, for some seconds: that it runs, and catches a client that loses something."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest

from benchmarks import soak
from benchmarks.soak_server import Server
from quartile_async import Upload


@pytest.fixture
def arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    few = ["--minutes", "0.05", "--every", "0.5", "--items-per-upload", "400"]
    monkeypatch.setattr(sys, "argv", ["soak", *few])


@pytest.mark.slow
def test_it_prints_what_the_client_holds_over_time(arguments: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert soak.main() == 0

    lines = capsys.readouterr().out.splitlines()
    assert sum(" min " in line for line in lines) >= 1
    assert lines[-3].startswith("first")
    assert lines[-2].startswith("last")
    for what in ("MB", "tasks", "descriptors", "connections"):
        assert what in lines[-2]


def test_a_client_that_loses_a_result_is_caught(
    arguments: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    iterate = Upload._iterate

    async def lossy(self: Upload[Any]) -> AsyncIterator[Any]:
        results = iterate(self)
        try:
            async for result in results:
                if result.index != 3:
                    yield result
        finally:
            await results.aclose()

    monkeypatch.setattr(Upload, "_iterate", lossy)

    assert soak.main() == 1
    assert "items were read" in capsys.readouterr().err


def test_a_breach_of_the_contract_is_caught(
    arguments: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Server, "forget", lambda self: ["GET /: there is no such path"])

    assert soak.main() == 1
    assert "there is no such path" in capsys.readouterr().err
