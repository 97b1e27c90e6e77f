"""What has been applied."""

from __future__ import annotations

from ._schema import MASTERLIST, SCHEMAS, Item, Items, Key


class _Shelf:
    """One resource's items as they were last applied, by their natural keys with the letters that were sent."""

    def __init__(self) -> None:
        self.latest: dict[Key, Item] = {}
        self.writes: Items = []
        # Only where a key's letters are not those of its identity, which keeps it small.
        self._spelling: dict[Key, Key] = {}

    def process(self, identity: Key) -> str:
        """What a write to an item is: "INSERT" for the first, "UPDATE" after."""
        return "UPDATE" if self._spelling.get(identity, identity) in self.latest else "INSERT"

    def apply(self, identity: Key, key: Key, item: Item) -> str:
        process = self.process(identity)
        before = self._spelling.pop(identity, identity)
        if before != key:
            self.latest.pop(before, None)
        if key != identity:
            self._spelling[identity] = key
        self.latest[key] = item
        self.writes.append(item)
        return process


class Catalogue:
    """All resources' items."""

    def __init__(self) -> None:
        self._shelves = {path: _Shelf() for path in SCHEMAS}

    @property
    def applied(self) -> dict[Key, Item]:
        return self._shelves[MASTERLIST].latest

    def writes(self, resource: str) -> Items:
        if resource not in self._shelves:
            raise ValueError(f"there is no resource {resource!r}; there are {', '.join(self._shelves)}")
        return self._shelves[resource].writes

    def write(self, resource: str, identity: Key, item: Item, *, fails: bool) -> str:
        """Applies an item unless it fails, and says what was done or tried."""
        shelf = self._shelves[resource]
        return shelf.process(identity) if fails else shelf.apply(identity, SCHEMAS[resource].key(item), item)
