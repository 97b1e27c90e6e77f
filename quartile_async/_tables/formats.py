"""What a file is, by its name. No I/O."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from pathlib import Path

from .._errors import ConfigurationError


class Format(enum.Enum):
    """How records are written; the values are the suffixes of such files."""

    CSV = (".csv", ".tsv", ".txt", ".tab")
    JSON_LINES = (".jsonl", ".ndjson")
    JSON = (".json",)
    EXCEL = (".xlsx", ".xlsm")
    PARQUET = (".parquet", ".pq")


class Compression(enum.Enum):
    """How a file is compressed; the values are the suffixes that such files have behind that of their format."""

    NONE = ()
    GZIP = (".gz", ".gzip")
    ZSTD = (".zst", ".zstd")


@dataclass(slots=True, frozen=True)
class Kind:
    """What a file is."""

    format: Format
    compression: Compression = Compression.NONE


TEXT = (Format.CSV, Format.JSON_LINES, Format.JSON)
"""The formats that are text, in some encoding, and may be compressed."""

OTHERS_ADVICE = {
    ".xls": "Save it as an Excel workbook (.xlsx).",
    ".xlsb": "Save it as an Excel workbook (.xlsx).",
    ".ods": "Save it as an Excel workbook (.xlsx) or as CSV.",
    ".numbers": "Export it as an Excel workbook (.xlsx) or as CSV.",
    ".zip": "Unpack it first.",
}


def kind_of(path: Path) -> Kind:
    """What a file is, by its suffixes.

    Raises:
        ConfigurationError: they say nothing of the format.
    """
    name = path.name.lower()
    compression = next((each for each in Compression if name.endswith(each.value) and each.value), Compression.NONE)
    if compression is not Compression.NONE:
        name = name.rpartition(".")[0]
    suffix = Path(name).suffix
    found = next((each for each in Format if suffix in each.value), None)
    if found is None:
        advice = OTHERS_ADVICE.get(suffix, f"Give a file that ends in one of {listed_suffixes()}.")
        raise ConfigurationError(f"{path.name}: the suffix {suffix!r} is none that can be read. {advice}")
    if compression is not Compression.NONE and found not in TEXT:
        raise ConfigurationError(f"{path.name}: such a file is compressed by itself. Unpack it first.")
    return Kind(found, compression)


def listed_suffixes() -> str:
    """The suffixes that can be read, for people."""
    plain = ", ".join(suffix for each in Format for suffix in each.value)
    return f"{plain} (text also with {', '.join(suffix for each in Compression for suffix in each.value)})"
