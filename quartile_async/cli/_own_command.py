"""What to type to run this program, and to run it again."""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path


def own_command(invoked_as: str) -> str:
    """The words by which this program was called, to be pasted: it need not be on the PATH."""
    name = Path(invoked_as).name
    if name == "__main__.py":
        return f"{shlex.quote(sys.executable)} -m quartile_async"
    found = shutil.which(name)
    if found is None:
        return shlex.quote(invoked_as)
    # It may name no file: on Windows it lacks the suffix, and a program of one's own may say what it likes.
    invoked = Path(invoked_as)
    return name if not invoked.exists() or invoked.samefile(found) else shlex.quote(invoked_as)


def same_command() -> str:
    """What was typed, but for what must not be done twice, and for the limit of a first try."""
    return f"{own_command(sys.argv[0])} {shlex.join(without_what_is_done_once(sys.argv[1:]))}"


def without_what_is_done_once(arguments: Sequence[str]) -> list[str]:
    kept: list[str] = []
    coming = iter(arguments)
    for argument in coming:
        if argument == "--first":
            next(coming, None)
        elif argument not in ("--again", "--restart") and not argument.startswith("--first="):
            kept.append(argument)
    return kept
