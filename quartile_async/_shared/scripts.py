"""The scripts that run within Redis, and the names of what they keep."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from .._errors import ConfigurationError


@dataclass(slots=True, frozen=True)
class Script:
    """A script and the digest by which Redis knows it."""

    text: str
    digest: str = field(init=False)

    def __post_init__(self) -> None:
        # Redis names scripts by SHA-1; it protects nothing.
        object.__setattr__(self, "digest", hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest())


def script_of(*files: str, folder: Path = Path(__file__).parent) -> Script:
    """The script that these files of a folder are, one after the other."""
    return Script("\n".join((folder / f"{file}.lua").read_text(encoding="utf-8") for file in files))


RESERVE: Final = script_of("quota_common", "quota_reserve")
SYNC: Final = script_of("quota_common", "quota_line", "quota_sync")
CLOSE: Final = script_of("quota_common", "quota_close")
LEAVE: Final = script_of("quota_common", "quota_line", "quota_leave")
LOCK: Final = script_of("tokens_lock")
RENEW: Final = script_of("tokens_renew")
UNLOCK: Final = script_of("tokens_unlock")
SAVE: Final = script_of("tokens_save")
JOURNAL_OPEN: Final = script_of("journal_common", "journal_open")
JOURNAL_WRITE: Final = script_of("journal_common", "journal_write")
JOURNAL_RENEW: Final = script_of("journal_common", "journal_renew")
JOURNAL_CLOSE: Final = script_of("journal_common", "journal_close")
JOURNAL_ITEMS: Final = script_of("journal_common", "journal_items")
JOURNAL_BATCHES: Final = script_of("journal_common", "journal_batches")
JOURNAL_LOOK: Final = script_of("journal_common", "journal_look")
JOURNAL_REMOVE: Final = script_of("journal_common", "journal_remove")
JOURNAL_SETTINGS: Final = script_of("journal_settings")


def checked_name(name: object) -> str:
    """A name that can stand in a key's braces. Raises ConfigurationError where it cannot."""
    if not isinstance(name, str) or not name or not name.isprintable() or set(name) & set("{}"):
        raise ConfigurationError(f"name={name!r} cannot be used: give a word without braces and line breaks.")
    return name


def journal_keys(name: str) -> tuple[str, ...]:
    """What is kept of one journal: how it stands; items read; batches, by their places; their ids; their ends."""
    stem = f"quartile:journal:{{{name}}}"
    return (stem, *(f"{stem}:{part}" for part in ("read", "intended", "taken", "ends")))


class Keys:
    """The names of what is kept for one quota.

    The subscription key is not in them, only a digest of it. What stands in braces puts all of them into one slot of
    a cluster.
    """

    def __init__(self, subscription_key: str) -> None:
        digest = hashlib.sha256(f"quartile quota {subscription_key}".encode()).hexdigest()[:32]
        self._stem = f"quartile:{{{digest}}}"
        names = ("state", "times", "leases", "members", "line", "wants", "sent", "news")
        self.all: tuple[str, ...] = tuple(f"{self._stem}:{name}" for name in names)

    @property
    def news(self) -> str:
        """A stream, in which each state of the quota says that it is new; its entry is named as the state."""
        return self.all[7]

    @property
    def inbox(self) -> str:
        """What the names of all inboxes begin with; a process's id follows."""
        return f"{self._stem}:inbox:"
