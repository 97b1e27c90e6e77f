"""Why a journal in Redis cannot be used, as errors. No I/O."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .._errors import JournalError
from .connection import RefusedError, UnreachableError, text_of

_NOTHING_SENT = "Nothing was sent."
_NO_MORE = "This upload writes and sends nothing more; what was delivered stays true."
_AGAIN = "Run the same upload again to go on"


def refused(journal: str, reply: Sequence[Any]) -> JournalError:
    """What it means that a script has done nothing. It says why, and who has the journal or how many records it has."""
    why = text_of(reply[0])
    if why == "gone":
        what = f"The journal {journal} is not in Redis any more: it was removed, or Redis has lost what it held."
        return JournalError(f"{what} {_NO_MORE} {_AGAIN}: without a journal, every item is sent once more.")
    if why == "lost":
        what = (
            f"Redis has lost records of the journal {journal}, or has others than were written: it has {int(reply[1])}."
        )
        return JournalError(
            f"{what} {_NO_MORE} {_AGAIN}: batches whose records are lost are sent once more. With appendonly yes and "
            "appendfsync always, it loses none."
        )
    holder = text_of(reply[1])
    by = f" ({holder})" if holder else ""
    return JournalError(
        f"The journal {journal} was taken over by another upload{by}: this one had not renewed its hold in time, since "
        f"it was stopped or could not reach Redis. {_NO_MORE} The other one goes on with what this one has submitted."
    )


def not_taken(journal: str, reply: Sequence[Any]) -> JournalError:
    """What it means that a script has not given it to the caller: likewise."""
    why = text_of(reply[0])
    if why == "held":
        return JournalError(
            f"The journal {journal} is in use by another upload, or by one that has died ({text_of(reply[2])}): its "
            f"hold runs out in {int(reply[1]) / 1000:.1f} s, if it is not renewed. {_NOTHING_SENT} Wait for its end "
            "(wait=... does)."
        )
    if why == "version":
        return JournalError(
            f"The journal {journal} has version {text_of(reply[1])}, which this quartile_async does not know. "
            f"{_NOTHING_SENT} Go on with the version of quartile_async that made it, or name another journal."
        )
    return JournalError(
        f"The journal {journal} is damaged: a part of it is not in Redis any more, or is another program's. "
        f"{_NOTHING_SENT} Put a copy from before in its place; or remove it (`await journal.remove()`) and upload "
        "anew, which sends every item once more."
    )


def unusable(journal: str, redis: str, error: UnreachableError | RefusedError, seconds: float) -> JournalError:
    """Redis was not reached for so many seconds, or will not do it."""
    if isinstance(error, RefusedError):
        why = f"Redis at {redis} does not do its part: {error}. Check the address, the password and the rights."
    else:
        why = f"Redis at {redis} has not done its part for {seconds:.3g} s: {error}. Check the address and the server."
    return JournalError(
        f"The journal {journal} cannot be used: {why} Nothing more is sent without it, and what was delivered stays "
        f"true. {_AGAIN} once that is mended."
    )
