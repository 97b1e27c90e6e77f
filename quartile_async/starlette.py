"""In a Starlette application, or another that takes its responses: one client, and results as they arrive.

It needs Starlette alone; `quartile_async.fastapi` has more.
"""

from __future__ import annotations

from ._web.client import client_of, quartile_lifespan
from ._web.streaming import stream_results

__all__ = ["client_of", "quartile_lifespan", "stream_results"]
