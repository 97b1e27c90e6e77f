"""What fails in telemetry fails there: an upload goes on."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import ParamSpec

P = ParamSpec("P")

logger: logging.Logger = logging.getLogger("quartile_async")


def harmless(method: Callable[P, None]) -> Callable[P, None]:
    """Logs what is raised, by a sampler or a processor of somebody's own, say: the work goes on."""

    @functools.wraps(method)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            method(*args, **kwargs)
        except Exception:
            logger.exception("A trace has failed; the work goes on.")

    return guarded
