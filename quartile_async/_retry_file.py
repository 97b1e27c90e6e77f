"""The records that did not succeed, in a file like the one that they came from."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pydantic_core import to_json

from ._errors import ConfigurationError
from ._results import ItemResult

CSV_SUFFIXES, JSON_LINES_SUFFIXES = (".csv", ".tsv", ".txt"), (".jsonl", ".ndjson")


class RetryWriter:
    """Writes the records that did not succeed as they stood in their file, to be mended and uploaded again.

    A record that could not be read is written as it is, byte for byte. Use it with `with`.

    Args:
        path: ends like a file of the input's format. An existing file is replaced.
        columns: of the input.
        delimiter: of the input, where it is CSV; None: it is JSON Lines.
        header: the columns' names in the input, where they were read under others.

    Raises:
        ConfigurationError: the suffix is that of another format.
        OSError: the file cannot be written.
    """

    def __init__(
        self, path: str | Path, columns: Sequence[str], delimiter: str | None, header: Sequence[str] | None = None
    ) -> None:
        self._path = Path(path)
        self._columns = columns
        self._is_csv = delimiter is not None
        suffixes = CSV_SUFFIXES if self._is_csv else JSON_LINES_SUFFIXES
        if self._path.suffix.lower() not in suffixes:
            raise ConfigurationError(
                f"{self._path.name}: the rows to mend are written in the input's own format. Name a file that ends in "
                f"one of {', '.join(suffixes)}."
            )
        # What is not UTF-8 was read as surrogates, and becomes what it was.
        self._file = self._path.open("w", encoding="utf-8", errors="surrogateescape", newline="")
        self._csv = csv.writer(self._file, delimiter=delimiter or ",", lineterminator="\n")
        self.written: int = 0
        """How many records have been written."""
        if self._is_csv:
            self._csv.writerow(header or columns)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def write(self, results: Iterable[ItemResult[Any]]) -> None:
        """Writes the records of those results that are no successes, and sees to it that they are in the file."""
        for result in results:
            if not result.ok:
                self._write_record(result.item)
                self.written += 1
        self._file.flush()

    def _write_record(self, item: Any) -> None:
        if isinstance(item, Mapping):
            if self._is_csv:
                self._csv.writerow([item.get(column, "") for column in self._columns])
            else:
                self._file.write(to_json(dict(item)).decode() + "\n")
            return
        record: str = item.record
        self._file.write(record if record.endswith(("\n", "\r")) else f"{record}\n")
