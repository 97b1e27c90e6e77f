"""Dividing files into ranges of records. `examined` runs on a worker, and reads each file once at most."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .._errors import ConfigurationError
from .._resources import Resource
from .._tables.places import Places, is_enterable
from ..files import read_items
from .forms import Form, form_of, opened_as
from .inputs import FileInput
from .parts import Part, Records, SourceFile

PART_ITEMS = 50_000
"""The most items of a part, where nobody has said another number."""


@dataclass(slots=True, frozen=True)
class Examined:
    """A file, and where it can be entered; None: nowhere, it is one part."""

    file: SourceFile
    places: Places | None


def examined(
    path: str, form: Form | None, resource: Resource[Any], reading: Mapping[str, Any], part_items: int
) -> Examined:
    """Looks at a file, on a worker: how it is read, and where its parts begin.

    Args:
        path: absolute.
        form: how it is read, where that is known.
        resource: what its records are.
        reading: options of `read_items`, for a file of which it is not known.
        part_items: the most records of a part.

    Raises:
        ConfigurationError: it cannot be used, or not by this worker.
        OSError: it is damaged.
    """
    if Path(path).is_dir():
        raise ConfigurationError(f"{path} is a folder. Give the files in it: sorted(Path({path!r}).glob('*.parquet'))")
    try:
        found = Path(path).stat()  # before it is read: what changes meanwhile is another file then
        form = form or form_of(read_items(path, resource=resource, **reading))
        table = opened_as(path, form).table
        places = table.places(part_items) if is_enterable(table) else None
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"{path} cannot be read by a worker without the package {error.name}. On the machines of the workers: "
            "pip install 'quartile-async[cli,dask]'"
        ) from error
    except (FileNotFoundError, PermissionError) as error:
        raise ConfigurationError(
            f"{path} cannot be opened by a worker: {error.strerror}. Files are read by the workers: put it where all "
            "of them see it under this path."
        ) from error
    return Examined(SourceFile(path, found.st_size, found.st_mtime_ns, form), places)


def parts_of_files(files: Sequence[FileInput], found: Iterable[Examined]) -> tuple[Part, ...]:
    """The parts of these files, in order, by what was found when they were looked at."""
    by_path = {each.file.path: each for each in found}
    ranges = [(file.account, records) for file in files for records in _ranges_of(by_path[file.path])]
    return tuple(Part(number, account, records) for number, (account, records) in enumerate(ranges))


def _ranges_of(found: Examined) -> list[Records]:
    if found.places is None:
        return [Records(found.file)]
    starts, records = found.places.starts, found.places.records
    stops = [*(place.record for place in starts[1:]), records]
    return [Records(found.file, first, stop) for first, stop in zip(starts, stops, strict=False)]
