"""The terminal: commands over the public client."""

from ._commands import app

__all__ = ["app"]
