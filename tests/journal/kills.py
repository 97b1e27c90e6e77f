"""`python -m tests.journal.kills`: an upload whose process is killed again and again, and whose server lives on.

python -m tests.journal.kills --kills 30 --items 20000
"""

from __future__ import annotations

import argparse
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic_core import from_json

from quartile_async.emulator import Fault, Lognormal, ThreadedEmulator

REJECTED_EVERY, REPEATED_EVERY = 500, 997

UPLOAD = """
import asyncio, sys
from pydantic_core import to_json
from quartile_async import MASTERLIST, QuartileClient
from tests.journal.kills import catalogue

async def main(url, key, token, journal, results, count):
    async with QuartileClient(subscription_key=key, auth=token, base_url=url, max_in_flight=8) as client:
        with open(results, "ab", buffering=0) as file:
            async for r in client.upload(MASTERLIST, catalogue(int(count)), journal=journal):
                told = (r.index, r.outcome, r.message, r.process, r.id, r.batch_id, r.not_sent, r.resent, r.replayed)
                file.write(to_json(told) + b"\\n")

asyncio.run(main(*sys.argv[1:]))
"""


@dataclass
class Tale:
    """What came of it."""

    items: int
    kills: int = 0
    replayed: int = 0
    retold: int = 0
    sent_twice: int = 0
    runs: list[list[list[Any]]] = field(default_factory=list)

    def __str__(self) -> str:
        return (
            f"{self.items} items, {self.kills} kills: {self.sent_twice} batches sent twice, {self.replayed} results "
            f"replayed by the last run, {self.retold} of them told by an earlier one"
        )


def catalogue(count: int) -> list[dict[str, Any]]:
    """Items of which some are invalid, and some write a key again; each has a target of its own."""
    items = [{"asin": f"B0{n:08d}", "countryCode": "US", "percACoS": 1.0 + n} for n in range(count)]
    for place in range(REPEATED_EVERY, count, REPEATED_EVERY):
        items[place]["asin"] = items[place - 50]["asin"]
    for place in range(0, count, REJECTED_EVERY):
        items[place]["countryCode"] = "XX"
    return items


def killed_again_and_again(*, items: int, kills: int, seed: int, folder: Path) -> Tale:
    """Uploads, killing the process at random moments, until a run comes to its end; then checks all that was told.

    Raises:
        AssertionError: a promise was broken.
    """
    rng, tale = random.Random(seed), Tale(items)
    with ThreadedEmulator(
        processing=Lognormal(0.3, 0.6),
        submit_latency=0.02,
        fail=lambda item: "It is gone." if item["asin"].endswith("77") else None,
        faults=[Fault(on="poll", status=502, body="<html>a proxy</html>", share=0.02, times=None)],
    ) as emulator:
        while True:
            results = folder / f"{len(tale.runs)}.jsonl"
            process = _started(emulator, folder, results, items)
            alive = tale.kills < kills and _lives_on(process, results, rng.uniform(0.0, 0.35))
            if alive:
                process.send_signal(signal.SIGKILL)
                tale.kills += 1
            code = process.wait(timeout=120)
            tale.runs.append(
                [from_json(line) for line in results.read_bytes().splitlines(keepends=True) if line[-1:] == b"\n"]
            )
            if not alive:
                assert code == 0, f"a run that nobody killed ended with {code}"
                break
        time.sleep(2.0)  # what was sent twice ends, too
        _check(tale, emulator, catalogue(items))
    return tale


def _started(emulator: ThreadedEmulator, folder: Path, results: Path, items: int) -> subprocess.Popen[bytes]:
    results.touch()
    secrets = (emulator.url, emulator.subscription_key, emulator.access_token)
    return subprocess.Popen([sys.executable, "-c", UPLOAD, *secrets, str(folder / "journal"), str(results), str(items)])


def _lives_on(process: subprocess.Popen[bytes], results: Path, seconds: float) -> bool:
    """Waits until the process has begun to work, and for so long; whether it is still there."""
    while process.poll() is None and not results.stat().st_size:
        time.sleep(0.005)
        if seconds < 0.03:  # a few die before they have said anything
            break
    try:
        process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        return True
    return False


def _check(tale: Tale, emulator: ThreadedEmulator, items: list[dict[str, Any]]) -> None:
    *earlier, last = tale.runs
    assert sorted(told[0] for told in last) == list(range(len(items))), "not one result for each item"
    _check_retold(tale, earlier, {told[0]: told for told in last})
    assert Counter(told[1] for told in last)["rejected"] == len(range(0, len(items), REJECTED_EVERY))
    assert not any(told[1] == "unknown" for told in last)
    tale.sent_twice = sent_twice(emulator, {told[0]: told for told in last}, items)
    assert tale.sent_twice <= 8 * tale.kills


def _check_retold(tale: Tale, earlier: list[list[list[Any]]], last: dict[int, list[Any]]) -> None:
    told_before = {told[0]: told for run in earlier for told in run}
    for index, told in told_before.items():
        assert last[index][:8] == told[:8], f"told otherwise: {told}, {last[index]}"
        assert last[index][8], "told before, and not replayed"
    tale.retold = len(told_before)
    tale.replayed = sum(told[8] for told in last.values())


def sent_twice(emulator: ThreadedEmulator, last: dict[int, list[Any]], items: list[dict[str, Any]]) -> int:
    """How many batches came twice.

    `last`: by the index of each item, what was told of it, in the order of `UPLOAD`.

    Raises:
        AssertionError: results are not true to the batches, or the state is not that of the last writes.
    """
    assert emulator.violations == []
    batches = {batch.id: batch for batch in emulator.batches}
    takes = Counter(item["percACoS"] for batch in emulator.batches for item in batch.items)
    newest: dict[tuple[str, str], float] = {}
    for index, item in enumerate(items):
        _, outcome, _, _, _, batch_id, _, resent, _ = last[index]
        if outcome == "rejected":
            assert takes[item["percACoS"]] == 0
            continue
        batch = batches[batch_id]
        place = next(place for place, each in enumerate(batch.items) if each["percACoS"] == item["percACoS"])
        assert (outcome == "failed") == (place in batch.failures)
        assert resent or takes[item["percACoS"]] == 1, "sent twice, and nobody says so"
        if outcome == "succeeded":
            newest[item["asin"], item["countryCode"]] = item["percACoS"]
    state = {key: item["percACoS"] for key, item in emulator.applied.items()}
    # The first copy of a batch that came twice may end after a newer write of its key: nobody knows that it is there.
    others = {key for key in state.keys() | newest if state.get(key) != newest.get(key) and takes[state.get(key)] < 2}
    assert not others, _history(emulator, others)
    return len(emulator.batches) - len({batch.items[0]["percACoS"] for batch in emulator.batches})


def _history(emulator: ThreadedEmulator, keys: set[tuple[str, str]]) -> str:
    """What the server did with these keys, in which order."""
    writes = [
        (batch.ends_at, f"{key[0]} = {item['percACoS']}, taken at {batch.taken_at:.3f}, orphaned: {batch.orphaned}")
        for batch in emulator.batches
        for item in batch.items
        if (key := (item["asin"], item["countryCode"])) in keys
    ]
    return "; ".join(f"at {ended:.3f} {words}" for ended, words in sorted(writes))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.journal.kills", description=__doc__)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--items", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        tale = killed_again_and_again(items=options.items, kills=options.kills, seed=options.seed, folder=Path(folder))
    print(tale)
    return 0 if tale.kills == options.kills else 1


if __name__ == "__main__":
    sys.exit(main())
