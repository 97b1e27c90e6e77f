"""What Redis's settings mean for a journal: whether what it has answered is still there after a crash. No I/O."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from .._errors import ConfigurationError, JournalError

Durability = Literal["always", "aof", "none"]
"""What is asked of Redis: each record on its disk before it is answered; at least a file; nothing."""


@dataclass(slots=True, frozen=True)
class Settings:
    """What Redis says of itself; None: it does not say.

    Attributes:
        appends: whether it writes what it does to a file (`appendonly`).
        syncs: when that is written to the disk (`appendfsync`): "always", "everysec" or "no".
        pauses: whether it is not, while the file is rewritten (`no-appendfsync-on-rewrite`).
        evicts: whether it throws away keys that have no time to live, when its memory is full.
    """

    appends: bool | None = None
    syncs: str | None = None
    pauses: bool | None = None
    evicts: bool | None = None


def settings_from(config: Mapping[str, str], info: str) -> Settings:
    """From what `CONFIG GET` and `INFO` say; both may be empty, for want of the right to ask."""
    informed = dict(re.findall(r"^(\w+):(.*?)\r?$", info, re.MULTILINE))
    appends = config.get("appendonly", {"1": "yes", "0": "no"}.get(informed.get("aof_enabled", "")))
    pauses = config.get("no-appendfsync-on-rewrite")
    most = config.get("maxmemory", informed.get("maxmemory"))
    policy = config.get("maxmemory-policy", informed.get("maxmemory_policy"))
    return Settings(
        appends=None if appends is None else appends == "yes",
        syncs=config.get("appendfsync"),
        pauses=None if pauses is None else pauses == "yes",
        evicts=None if policy is None else policy.startswith("allkeys") and most != "0",
    )


def checked_durability(durability: object) -> Durability:
    """Raises ConfigurationError where it is none."""
    if durability not in get_args(Durability):
        raise ConfigurationError(f"durability={durability!r} is unknown. Give 'always', 'aof' or 'none'.")
    return durability  # type: ignore[return-value]  # checked above


def warning_about(settings: Settings, durability: Durability, redis: str) -> str:
    """What may be lost with such settings, in words; empty where nothing may.

    `redis`: its name, for the words.

    Raises:
        JournalError: it cannot keep a journal, or not as is asked.
    """
    if settings.evicts:
        raise JournalError(
            f"Redis at {redis} throws away keys when its memory is full (maxmemory-policy allkeys-...), and with them "
            f"a journal. {_NOTHING_SENT} Set maxmemory-policy noeviction there, or give another Redis."
        )
    if durability == "none":
        return ""
    if not settings.appends:
        raise JournalError(f"Redis at {redis} {_why_no_file(settings)} {_NOTHING_SENT} {_WITHOUT}")
    if settings.syncs == "always" and not settings.pauses:
        return ""
    if durability == "always":
        raise JournalError(f"Redis at {redis} {_why_not_always(settings)} {_NOTHING_SENT} {_ALWAYS}")
    return f"Redis at {redis} {_why_not_always(settings)} {_MAY_BE_LOST} {_ALWAYS}"


def _why_no_file(settings: Settings) -> str:
    if settings.appends is None:
        return "does not say whether it writes its data to a file: neither CONFIG nor INFO may be used."
    return "does not write what it does to a file (appendonly no): a restart would lose the journal."


def _why_not_always(settings: Settings) -> str:
    if settings.syncs is None:
        return "does not say when it writes to its disk: CONFIG may not be used."
    if settings.syncs == "always":
        return "does not write to its disk while it rewrites its file (no-appendfsync-on-rewrite yes)."
    return f"writes to its disk {_WHEN.get(settings.syncs, 'now and then')} (appendfsync {settings.syncs})."


_WHEN = {"everysec": "once a second", "no": "when its system does, which may be half a minute later"}

_NOTHING_SENT = "Nothing was sent."

_MAY_BE_LOST = (
    "A power cut of its machine may lose what was journaled since; with everysec that is the last second or two, of "
    "which a crash of Redis alone loses next to nothing. The upload then ends with a JournalError, and its next run "
    "sends the batches whose records were lost once more, without saying so."
)

_WITHOUT = (
    "Set appendonly yes there: redis-cli CONFIG SET appendonly yes, and the same in its redis.conf, or it is off again "
    "after a restart; or start a new one by redis-server --appendonly yes. In Python, durability='none' does without, "
    "where such a loss is taken into account."
)

_ALWAYS = "To lose nothing, set appendfsync always and no-appendfsync-on-rewrite no there."
