"""Files that are no journal, or no longer one: an error that names the file and what to do, never a wrong result."""

from __future__ import annotations

import asyncio
import random
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from quartile_async import MASTERLIST, ItemResult, JournalError
from quartile_async._journal import Subject
from quartile_async._journal_sqlite import APPLICATION_ID, JournalFile
from quartile_async.emulator import Emulator

from ..behaviour.conftest import client_for, items
from ..simulation.virtual import EPOCH, run_virtually
from .checks import check_ordeal, check_whole
from .machine import NAME, Ordeal

pytestmark = pytest.mark.usefixtures("no_task_is_left")


def _text(path: Path) -> None:
    path.write_text("index,outcome\n0,succeeded\n" * 200)


def _short_text(path: Path) -> None:
    path.write_text("{}")


def _other_database(path: Path) -> None:
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE shopping (what TEXT)")
    database.close()


def _newer_version(path: Path) -> None:
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE records (something TEXT)")
        database.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        database.execute("PRAGMA user_version = 7")
    database.close()


def _emptied_with_a_log(path: Path) -> None:
    path.touch()
    path.with_name(f"{path.name}-wal").write_bytes(b"x" * 5_000)


def _folder(path: Path) -> None:
    path.mkdir()


def _nothing_but_marks(path: Path) -> None:
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE records (something TEXT)")
        database.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        database.execute("PRAGMA user_version = 1")
    database.close()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (_text, "is not a journal"),
        (_short_text, "is not a journal"),
        (_other_database, "is a database, but not a journal"),
        (_newer_version, "has version 7, and this quartile_async knows version 1"),
        (_emptied_with_a_log, "is damaged: it is empty, but its write-ahead log is there"),
        (_folder, "is a folder"),
        (_nothing_but_marks, "cannot be used"),
    ],
)
async def test_what_is_no_journal_is_named_and_left_as_it_is(
    tmp_path: Path, make: Callable[[Path], None], words: str
) -> None:
    path = tmp_path / NAME
    make(path)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir() if file.is_file()}

    async with Emulator() as emulator, client_for(emulator) as client:
        with pytest.raises(JournalError, match=words) as failure:
            await client.upload(MASTERLIST, items(5), journal=path).collect()
        assert not emulator.requests

    assert str(path) in str(failure.value)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir() if file.is_file()} == before


async def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    path = tmp_path / "nowhere" / NAME
    async with Emulator() as emulator, client_for(emulator) as client:
        with pytest.raises(JournalError, match="No such file or directory") as failure:
            await client.upload(MASTERLIST, items(5), journal=path).collect()
        assert not emulator.requests
    assert str(path) in str(failure.value)


async def test_a_journal_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """Permissions do not stop an administrator: a file of the kernel's that cannot be written stands for all."""
    async with Emulator() as emulator, client_for(emulator) as client:
        with pytest.raises(JournalError, match="/proc/version") as failure:
            await client.upload(MASTERLIST, items(5), journal="/proc/version").collect()
        assert not emulator.requests
    assert "name another journal" in str(failure.value)


def test_errors_of_the_disk_say_what_to_do(tmp_path: Path) -> None:
    file = JournalFile(tmp_path / NAME)
    for code, words in (
        ("SQLITE_FULL", "the disk is full. Nothing more is sent"),
        ("SQLITE_IOERR_WRITE", "the disk may be full or failing"),
        ("SQLITE_READONLY_DIRECTORY", "is read-only"),
        ("SQLITE_CORRUPT_VTAB", "is damaged"),
        ("SQLITE_SOMETHING", "cannot be used"),
    ):
        error = sqlite3.OperationalError("as SQLite says")
        error.sqlite_errorname = code
        with pytest.raises(JournalError, match=words), file._explained():
            raise error


def test_a_record_that_was_changed_is_found_though_sqlite_finds_nothing(tmp_path: Path) -> None:
    path, subject = tmp_path / NAME, Subject("r", "s", "a")
    file = JournalFile(path)
    file.open(subject)
    file.close(finished=True)
    with sqlite3.connect(path) as database:
        database.execute("UPDATE records SET at = at + 1 WHERE seq = 2")
    database.close()

    with pytest.raises(JournalError, match="record 2 is not what was written"):
        JournalFile(path).open(subject)


def test_a_record_that_is_missing_is_found_though_sqlite_finds_nothing(tmp_path: Path) -> None:
    path, subject = tmp_path / NAME, Subject("r", "s", "a")
    for _ in range(3):
        file = JournalFile(path)
        file.open(subject)
        file.append([])
        file.close(finished=True)
    with sqlite3.connect(path) as database:
        database.execute("DELETE FROM records WHERE seq = 2")
    database.close()

    with pytest.raises(JournalError, match="record 3 is not what was written"):
        JournalFile(path).open(subject)


@pytest.mark.usefixtures("disk_on_the_loop")
@pytest.mark.parametrize("seed", range(4))
def test_a_torn_or_flipped_file_gives_a_resume_or_an_error_and_never_a_wrong_result(seed: int, tmp_path: Path) -> None:
    outcomes = {"resumed": 0, "refused": 0}

    async def main() -> None:
        rng = random.Random(seed)
        for number in range(60):
            folder = tmp_path / f"{number}"
            folder.mkdir()
            now = asyncio.get_running_loop().time
            emulator = Emulator(processing=0.2, clock=now, wall_clock=lambda now=now: EPOCH + now())
            catalogue = [{"asin": f"B0{n % 230:08d}", "countryCode": "US", "percACoS": 1.0 + n} for n in range(330)]
            ordeal = Ordeal(emulator, MASTERLIST, catalogue, folder, {"max_in_flight": 2})
            # Some die in the middle and leave a log behind; some finish, and all is in the file itself.
            run = await ordeal.run(dies_after=rng.choice([8, 20, 40, None]))
            _damage(rng, run.disk)
            again = await ordeal.run()
            if again.error is not None:
                assert isinstance(again.error, JournalError), again.error
                assert not again.requests
                assert NAME in str(again.error)
                outcomes["refused"] += 1
                continue
            await asyncio.sleep(60.0)
            check_whole(again, ordeal.items)
            # What a lost tail forgot may have been sent twice without a word: README says so.
            for result in again.results:
                result.resent = True
            for earlier in ordeal.runs[:-1]:
                earlier.results.clear()
            check_ordeal(ordeal)
            outcomes["resumed"] += 1

    run_virtually(main)
    assert min(outcomes.values()) > 0, outcomes


def _damage(rng: random.Random, disk: Path) -> None:
    files = [file for file in disk.iterdir() if file.stat().st_size]
    path = rng.choice(files)
    content = bytearray(path.read_bytes())
    if rng.random() < 0.5:
        del content[rng.randrange(len(content)) :]
    else:
        for _ in range(rng.choice([1, 1, 5])):
            place = rng.randrange(len(content))
            content[place] ^= 1 << rng.randrange(8)
    path.write_bytes(content)


FILLS_UP = """
import asyncio, resource, signal, sys
from quartile_async import MASTERLIST, JournalError, QuartileClient

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[4]), resource.RLIM_INFINITY))
items = [{"asin": f"B0{n:08d}", "countryCode": "US", "percACoS": 25.0} for n in range(20_000)]

async def main():
    seen, begun = set(), asyncio.Event()

    async def read():
        for index, item in enumerate(items):
            if index == 500:  # what is asked first must be: that something was delivered before the disk is full
                await begun.wait()
            yield item

    async with QuartileClient(subscription_key=sys.argv[2], auth=sys.argv[3], base_url=sys.argv[1]) as client:
        try:
            async for result in client.upload(MASTERLIST, read(), journal=sys.argv[5]):
                seen.add(result.index)
                if len(seen) == 500:
                    begun.set()
        except JournalError as error:
            assert not seen & {result.index for result in error.unaccounted}
            print(len(seen), len(error.unaccounted), error, sep="|")

asyncio.run(main())
"""


def _fills_up(emulator: Emulator, path: Path, most: int) -> tuple[int, int, str]:
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            FILLS_UP,
            emulator.url,
            emulator.subscription_key,
            emulator.access_token,
            str(most),
            str(path),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    delivered, unaccounted, words = done.stdout.strip().split("|", 2)
    return int(delivered), int(unaccounted), words


async def test_a_disk_that_fills_up_stops_the_upload_and_it_goes_on_once_there_is_room(tmp_path: Path) -> None:
    path = tmp_path / NAME
    async with Emulator(processing=0.01) as emulator:
        delivered, unaccounted, words = await asyncio.to_thread(_fills_up, emulator, path, 1_000_000)
        assert delivered >= 500
        assert unaccounted > 0
        assert str(path) in words
        assert "Run the same upload again to go on once" in words
        taken = emulator.items_received
        assert taken < 20_000

        async with client_for(emulator) as client:
            catalogue = [{"asin": f"B0{n:08d}", "countryCode": "US", "percACoS": 25.0} for n in range(20_000)]
            results = await client.upload(MASTERLIST, catalogue, journal=path).collect()

        assert all(result.ok for result in results)
        assert len(results) == 20_000
        assert sum(result.replayed for result in results) >= delivered
        # At most what was in flight is sent again.
        assert emulator.items_received <= 20_000 + 16 * 100


async def test_a_disk_without_room_for_a_beginning_sends_nothing(tmp_path: Path) -> None:
    path = tmp_path / NAME
    async with Emulator(processing=0.01) as emulator:
        delivered, _, words = await asyncio.to_thread(_fills_up, emulator, path, 4_096)
        assert delivered == 0
        assert str(path) in words
        assert not emulator.requests


def _mounts(*arguments: str) -> bool:
    if shutil.which(arguments[0]) is None:
        return False
    return subprocess.run(arguments, capture_output=True, check=False).returncode == 0


async def test_a_full_file_system_stops_the_upload_and_it_goes_on_once_there_is_room(tmp_path: Path) -> None:
    folder = tmp_path / "small"
    folder.mkdir()
    if not _mounts("mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(folder)):
        pytest.skip("this machine allows no mount; the limit of a file's size above stands for it")
    try:
        catalogue: list[Any] = items(20_000)
        async with Emulator(processing=0.01) as emulator, client_for(emulator) as client:
            begun, seen = asyncio.Event(), list[ItemResult]()

            async def read() -> AsyncIterator[Any]:
                for index, item in enumerate(catalogue):
                    if index == 500:
                        await begun.wait()
                    yield item

            with pytest.raises(JournalError, match="the disk is full") as failure:
                async for result in client.upload(MASTERLIST, read(), journal=folder / NAME):
                    seen.append(result)
                    if len(seen) == 500:
                        begun.set()
            told = len(seen) + len(failure.value.unaccounted)
            assert {result.index for result in [*seen, *failure.value.unaccounted]} == set(range(told))
            assert _mounts("mount", "-o", "remount,size=20m", str(folder))
            results = await client.upload(MASTERLIST, catalogue, journal=folder / NAME).collect()
            assert all(result.ok for result in results)
            assert sum(result.replayed for result in results) >= len(seen) >= 500
            assert emulator.items_received <= 20_000 + 16 * 100
    finally:
        assert _mounts("umount", str(folder))
