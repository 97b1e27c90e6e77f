"""The terminal: commands over the public client."""

from ._commands import app
from ._faults import run

__all__ = ["app", "run"]
