"""The files that are written: that they can be, and are none of those that are read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from .._errors import ConfigurationError
from .formats import Format


def part_of(path: Path) -> Path:
    """Where results stand until they are written as Parquet."""
    return path.with_name(f"{path.name}.part.jsonl")


def check_results_format(path: Path) -> None:
    """Raises ConfigurationError where results cannot be written to a file of this name."""
    if path.suffix.lower() not in (*Format.CSV.value, *Format.JSON_LINES.value, *Format.PARQUET.value):
        raise ConfigurationError(f"{path.name}: results are written as .csv or .jsonl, or as .parquet.")


def check_are_different(inputs: Iterable[Path], outputs: Mapping[str, Path]) -> None:
    """Raises ConfigurationError where a file would be written over an input, or over another output.

    Args:
        inputs: what is read.
        outputs: what is said -> what is written.
    """
    inputs, written = list(inputs), list(outputs.items())
    for place, (name, path) in enumerate(written):
        if any(is_same(path, file) for file in inputs):
            raise ConfigurationError(f"{name} {path} is the input itself. Name another file.")
        for other, other_path in written[place + 1 :]:
            if is_same(path, other_path):
                raise ConfigurationError(f"{name} and {other} are both {path}. Name two files.")


def is_same(one: Path, other: Path) -> bool:
    """Whether these are one file, whatever it is called."""
    return one.resolve() == other.resolve() or (one.exists() and other.exists() and one.samefile(other))
