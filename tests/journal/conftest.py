"""What tests of the journal need."""

from __future__ import annotations

import pytest
from blockbuster import BlockBuster


@pytest.fixture
def disk_on_the_loop(blocking_calls_are_caught: BlockBuster) -> None:
    """In virtual time the journal's thread is played by the event loop itself, and may use the disk there."""
    blocking_calls_are_caught.deactivate()
