"""Lines for people, on a terminal of any width or in a file."""

from __future__ import annotations

import textwrap
import time

from rich.console import Console
from rich.text import Text

ERROR = "Error:"


def say(console: Console, line: str) -> None:
    """Prints one line, whatever is in it. On a terminal it is broken between words."""
    _print(console, Text(_broken(console, plain(line))))


def say_to_copy(console: Console, line: str) -> None:
    """Prints one line that has a command in it, which must not be broken."""
    _print(console, Text(plain(line)))


def say_error(console: Console, what: str) -> None:
    """Prints what is wrong, whatever is in it."""
    text = Text(_broken(console, plain(f"{ERROR} {what}")))
    text.stylize("red", 0, len(ERROR))
    _print(console, text)


def counted(count: int, one: str, many: str) -> str:
    """So many of something, in words."""
    return f"{count} {one if count == 1 else many}"


def moment(at: float) -> str:
    """A Unix time, as the clock on the wall had it."""
    return time.strftime("%Y-%m-%d at %H:%M:%S", time.localtime(at))


def plain(text: str) -> str:
    """A text without signs that a terminal would obey."""
    return "".join(char if char in "\n\t" or char.isprintable() else ascii(char)[1:-1] for char in text)


def _print(console: Console, text: Text) -> None:
    console.print(text, soft_wrap=True)


def _broken(console: Console, line: str) -> str:
    if not console.is_terminal:
        return line
    # Words that are longer than a line, such as paths, are left to the terminal: so they can be copied.
    lines = (
        textwrap.fill(part, console.width, break_long_words=False, break_on_hyphens=False, replace_whitespace=False)
        for part in line.splitlines()
    )
    return "\n".join(lines)
