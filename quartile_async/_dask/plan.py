"""The plan of a distributed upload: into which parts its input is divided, and which of them wait for others.

It is kept with the journal: an upload that is run again has the same parts, however large they would be made today.
"""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import TypeAdapter, ValidationError

from .._errors import JournalError
from .._tables.places import START, Place
from .inputs import Files, Input
from .parts import OtherInputError, Part, Partition, Records, SourceFile


@dataclass(slots=True, frozen=True)
class Origin:
    """Which input it is, as far as that can be told without looking at it.

    Attributes:
        files: account and path of each file, in order; none for a collection.
        collection: "a bag of 20 partitions", for example; "" for files.
        resource: the path of the resource, and the fields of its key.
        reading: how files were said to be read, as JSON.
    """

    files: tuple[tuple[str | None, str], ...]
    collection: str
    resource: tuple[str, ...]
    reading: str


@dataclass(slots=True, frozen=True)
class Plan:
    """An input, divided.

    Attributes:
        origin: which input.
        files: its files, each once.
        part_items: the most items that a part has, where its file can be divided.
        parts: in the order of the input; the place of each is its number.
        chains: numbers of parts. Those in one chain share keys, and are uploaded one after the other in this order;
            each part is in exactly one.
    """

    origin: Origin
    files: tuple[SourceFile, ...]
    part_items: int
    parts: tuple[Part, ...]
    chains: tuple[tuple[int, ...], ...]

    def to_json(self) -> bytes:
        """The plan as text, to be kept."""
        place_of = {file.path: place for place, file in enumerate(self.files)}
        parts = tuple(_kept(part, place_of) for part in self.parts)
        return _KEPT.dump_json(_Kept(self.origin, self.files, self.part_items, parts, self.chains))

    @classmethod
    def from_json(cls, content: bytes | str) -> Plan:
        """The plan that was kept.

        Raises:
            JournalError: this is none.
        """
        try:
            kept = _KEPT.validate_json(content)
            parts = tuple(_part(number, part, kept.files) for number, part in enumerate(kept.parts))
            return cls(kept.origin, kept.files, kept.part_items, parts, kept.chains)
        except (ValidationError, IndexError) as error:
            raise JournalError(
                "The plan of the parts into which the input was divided, which is kept with the journal, cannot be "
                "read: another version of quartile_async may have written it. What has been sent is in the journals of "
                "the parts. Use the version that began the upload, or give the journal a new name to begin a new one."
            ) from error


def check_is_the_same_input(plan: Plan, origin: Origin) -> None:
    """Raises OtherInputError where an input is not the one that was divided, and says in what."""
    then, now = plan.origin, origin
    if then == now:
        return
    if then.resource != now.resource:
        what = f"it went to {_resource(*then.resource)}, and now goes to {_resource(*now.resource)}"
    elif then.collection != now.collection:
        what = f"it was {then.collection or 'files'}, and now is {now.collection or 'files'}"
    elif then.files != now.files:
        what = _parting(then.files, now.files)
    else:
        what = f"its files were read with {then.reading}, and now would be with {now.reading}"
    raise OtherInputError(
        f"The journal is of an upload of another input: {what}. Give the same input again to go on with it, or give "
        "the journal a new name to begin a new upload."
    )


def check_forms(plan: Plan, given: Input) -> None:
    """Raises OtherInputError where a file that was opened before would be read otherwise than when it was divided."""
    then = {file.path: file.form for file in plan.files}
    for file in given.files if isinstance(given, Files) else ():
        if file.form is not None and file.form != then[file.path]:
            raise OtherInputError(
                f"{file.path} was opened with other settings than when this upload was begun, so that its items could "
                "be others. Open it with the same ones to go on with it, or give the journal a new name to begin a new "
                "upload."
            )


def _resource(path: str, *key: str) -> str:
    return f"{path} (key: {', '.join(key) or 'the whole object'})"


def _parting(then: tuple[tuple[str | None, str], ...], now: tuple[tuple[str | None, str], ...]) -> str:
    if sorted(map(str, then)) == sorted(map(str, now)):
        return "its files come in another order now"
    missing, new = ([each for each in these if each not in others] for these, others in ((then, now), (now, then)))
    told = [f"{_named(*each)} was among its files, and is not now" for each in missing[:1]]
    told += [f"{_named(*each)} was not among its files, and is now" for each in new[:1]]
    return "; ".join(told) or f"it had {len(then)} files, and now has {len(now)}, some of which are the same"


def _named(account: str | None, path: str) -> str:
    return path if account is None else f"{path} of the account {account}"


@dataclass(slots=True, frozen=True)
class _KeptPart:
    """A part, with the place of its file among the files; without one, it is the partition with this number."""

    account: str | None
    file: int | None
    first: Place = START
    stop: int | None = None
    partition: int = 0


@dataclass(slots=True, frozen=True)
class _Kept:
    origin: Origin
    files: tuple[SourceFile, ...]
    part_items: int
    parts: tuple[_KeptPart, ...]
    chains: tuple[tuple[int, ...], ...]


_KEPT = TypeAdapter(_Kept)


def _kept(part: Part, place_of: dict[str, int]) -> _KeptPart:
    match part.items:
        case Records(file, first, stop):
            return _KeptPart(part.account, place_of[file.path], first, stop)
        case Partition(number):
            return _KeptPart(part.account, None, partition=number)


def _part(number: int, kept: _KeptPart, files: tuple[SourceFile, ...]) -> Part:
    if kept.file is None:
        return Part(number, kept.account, Partition(kept.partition))
    return Part(number, kept.account, Records(files[kept.file], kept.first, kept.stop))
