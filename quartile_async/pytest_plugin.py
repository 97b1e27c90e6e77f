"""The embedded emulator as a pytest fixture; active wherever the package is installed.

    def test_my_upload(quartile_emulator):
        my_code(quartile_emulator.url, quartile_emulator.subscription_key, quartile_emulator.access_token)
        assert quartile_emulator.applied["B01N5IB20Q", "US"]["percACoS"] == 27.5

    @pytest.mark.quartile_emulator(processing=0.0, fail_share=0.5)
    async def test_failures(quartile_emulator): ...

It works in synchronous and asynchronous tests alike, because its server runs on a loop and thread of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from .emulator import ThreadedEmulator

MARKER = "quartile_emulator"


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", f"{MARKER}(**settings): settings of the emulator that the fixture quartile_emulator gives"
    )


@pytest.fixture
def quartile_emulator(request: pytest.FixtureRequest) -> Iterator[ThreadedEmulator]:
    """An emulator of Quartile's batch API, a new one for each test.

    Batches end at once unless the marker `quartile_emulator` says otherwise. Of several markers the one nearest to
    the test wins, setting by setting.
    """
    from .emulator import ThreadedEmulator  # here, so that pytest's start does not import a web server

    settings: dict[str, Any] = {"processing": 0.0}
    for marker in reversed(list(request.node.iter_markers(MARKER))):
        if marker.args:
            raise pytest.UsageError(f"the marker {MARKER} takes keywords, such as processing=0.1")
        settings.update(marker.kwargs)
    with ThreadedEmulator(**settings) as emulator:
        yield emulator
