"""Batches on their way: it takes them, ends them in the order of their ends, and makes their rows."""

from __future__ import annotations

import heapq
import random
from typing import Any

from ._batches import Batch, Behaviour
from ._catalogue import Catalogue
from ._schema import Item, Items, Key


class Processor:
    """Ends are a matter of the clock: there are no timers, and `settle` does what is due.

    Everything random comes from a stream of its own for each batch and purpose: how requests interleave, and what
    else is random, changes nothing.
    """

    def __init__(self, behaviour: Behaviour, seed: int) -> None:
        self._behaviour = behaviour
        self._seed = seed
        self._running: list[tuple[float, int, Batch, list[Key]]] = []
        self.batches: list[Batch] = []
        self.by_id: dict[str, Batch] = {}
        self.catalogue = Catalogue()

    def take(self, resource: str, items: Items, identities: list[Key], now: float) -> Batch:
        """Takes a batch whose items have been checked."""
        number = len(self.batches)
        batch = Batch(
            id=f"{self._stream(number, 'id').getrandbits(96):024x}",
            number=number,
            resource=resource,
            items=items,
            taken_at=now,
            ends_at=now + self._behaviour.seconds(self._stream(number, "processing"), items),
            failures=self._behaviour.failures(self._stream(number, "failures"), items),
        )
        self.batches.append(batch)
        self.by_id[batch.id] = batch
        heapq.heappush(self._running, (batch.ends_at, number, batch, identities))
        return batch

    def settle(self, now: float) -> None:
        """Ends what has ended by now, in that order: items are applied when their batch's processing ends."""
        while self._running and self._running[0][0] <= now:
            _, _, batch, identities = heapq.heappop(self._running)
            batch.processes = [
                self.catalogue.write(batch.resource, identity, item, fails=position in batch.failures)
                for position, (identity, item) in enumerate(zip(identities, batch.items, strict=True))
            ]

    def rows(self, batch: Batch) -> list[dict[str, Any]]:
        """The rows of a batch that has ended: the same at each call, and not kept, because uploads can be large."""
        rng = self._stream(batch.number, "rows")
        rows = [
            _row(item, batch.failures.get(position), process, rng)
            for position, (item, process) in enumerate(zip(batch.items, batch.processes or (), strict=True))
        ]
        if share := self._behaviour.missing_row_share:
            rows = [row for row in rows if rng.random() >= share]
        if self._behaviour.shuffle_rows:
            rng.shuffle(rows)
        return rows

    def _stream(self, number: int, purpose: str) -> random.Random:
        return random.Random(f"{self._seed}/{purpose}/{number}")  # seeded on purpose


def _row(item: Item, failure: str | None, process: str, rng: random.Random) -> dict[str, Any]:
    """The item's fields, and how it fared (contract, "Ask for a batch")."""
    digits = f"{rng.getrandbits(128):032x}"
    return {
        **item,
        # A UUID of version 4, by hand: the standard library's takes as long as everything else here.
        "id": f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}",
        "status": {"success": failure is None, "message": failure or "successfully", "process": process},
    }
