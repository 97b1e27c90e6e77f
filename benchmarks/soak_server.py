"""The emulator in a process of its own, flaky in every way."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection

from quartile_async.emulator import Fault, Lognormal, ThreadedEmulator

FAULTS = (
    Fault(on="any", times=None, share=0.01, drop="before"),
    Fault(on="any", times=None, share=0.01, drop="after"),
    Fault(on="submit", times=None, share=0.01, status=502, body="<html>Bad Gateway</html>", taken=True),
    Fault(on="poll", times=None, share=0.02, status=503),
    Fault(on="any", times=None, share=0.001, status=429, headers={"Retry-After": "1"}),
    Fault(on="poll", times=None, share=0.01, status=200, body="<html>maintenance</html>"),
    Fault(on="poll", times=None, share=0.01, rewrite=lambda told: {**told, "batchId": "f" * 24}),
    Fault(on="any", times=None, share=0.01, delay=0.5),
)


@dataclass(slots=True)
class Server:
    """The running emulator, from another process.

    Attributes:
        users: their names and passwords.
    """

    url: str
    subscription_key: str
    users: list[tuple[str, str]]
    pipe: Connection

    def forget(self) -> list[str]:
        """Has the emulator forget what it took; gives the requests that the contract forbids."""
        self.pipe.send("forget")
        violations: list[str] = self.pipe.recv()
        return violations


@contextmanager
def running_server(seed: int, users: int) -> Iterator[Server]:
    """Serves until the block ends."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_serve, args=(theirs, seed, users), daemon=True)
    process.start()
    theirs.close()  # so that a child that dies is an EOFError here, and no wait for ever
    try:
        url, subscription_key, people = ours.recv()
        yield Server(url, subscription_key, people, ours)
    finally:
        process.terminate()
        process.join()


def _serve(pipe: Connection, seed: int, users: int) -> None:
    with ThreadedEmulator(
        seed=seed,
        processing=Lognormal(0.2, 0.5),
        submit_latency=0.01,
        fail_share=0.01,
        failed_batch_share=0.01,
        refuse=lambda item: "It is discontinued." if str(item["asin"]).endswith("7777") else None,
        shuffle_rows=True,
        missing_row_share=0.001,
        visible_after=0.02,
        token_lifetime=20.0,
        faults=FAULTS,
    ) as emulator:
        people = [(emulator.username, emulator.password)]
        for number in range(1, users):
            people.append((f"user-{number}@example.com", f"password-{number}"))
            emulator.add_user(*people[-1])
        pipe.send((emulator.url, emulator.subscription_key, people))
        while pipe.recv() == "forget":
            violations = [str(violation) for violation in emulator.violations[:5]]
            _forget(emulator)  # before the answer: the next uploads begin with it
            pipe.send(violations)


def _forget(emulator: ThreadedEmulator) -> None:
    # It keeps everything for tests to look at, which is not meant for hours: its own rooms are cleared here.
    with emulator._lock:
        emulator.requests.clear()
        emulator.batches.clear()
        # A poll that was cancelled may still be on its way here: it is no breach.
        emulator._service._promised.update(emulator._processor.by_id)
        emulator._processor.by_id.clear()
        emulator._processor.catalogue = type(emulator._processor.catalogue)()
        emulator._service.ledger._by_body.clear()
        emulator.resubmitted.clear()
        emulator.overlaps.clear()
