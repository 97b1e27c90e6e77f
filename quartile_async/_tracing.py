"""The seam for traces: whoever follows the work puts a tracer here, as `quartile_async.opentelemetry` does.

Without one nothing is made. It is looked for where an upload starts and where a request goes out, never for an item.
What it hands out is used in one task, and its end is told there, whatever ends it.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ._traces import Tracer, Wait

active: Tracer | None = None
"""Set and unset as a whole: what has begun with a tracer ends with it."""


def waiting(what: Wait) -> AbstractContextManager[object]:
    """Around a wait; for where there is one, not where there may be one."""
    return nullcontext() if active is None else active.waiting(what)
