"""Credentials as an application would get them on its workers."""

from __future__ import annotations

import os
from typing import Any

from quartile_async._client import Auth


def credentials(account: str | None) -> Auth:
    """The access token of an account, from the environment."""
    return os.environ[f"TOKEN_OF_{account}"]


def refused(account: str | None) -> Auth:
    """A token that the server does not take."""
    return "refused"


def nothing(account: str | None) -> Any:
    """As a function that has forgotten to return."""
