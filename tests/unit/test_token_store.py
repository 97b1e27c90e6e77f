"""The file that keeps tokens: who can read it, what a crash leaves of it, and who may change it when."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import filelock
import pytest
from pydantic_core import from_json, to_json

from quartile_async import MASTERLIST, AuthenticationError, FileTokenStore, LoginAuth, QuartileClient, TokenStore
from quartile_async._token_store import MemoryTokenStore
from quartile_async._tokens import StoredTokens
from quartile_async.emulator import Emulator

OLD = StoredTokens("0ld-acc3ss", 1000.0, 60.0, "0ld-r3fresh", "https://api.quartile.com", "abc")
NEW = StoredTokens("n3w-acc3ss", 2000.0, 60.0, "n3w-r3fresh", "https://api.quartile.com", "abc")


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tokens.json"


@pytest.fixture
def store(path: Path) -> FileTokenStore:
    return FileTokenStore(path)


@pytest.fixture(autouse=True)
def files_are_open_to_all_by_default() -> Any:
    """What is private is so by the store's doing, not by the umask of whoever runs the tests."""
    before = os.umask(0)
    yield
    os.umask(before)


def test_both_stores_fulfil_the_public_protocol(store: FileTokenStore) -> None:
    assert isinstance(store, TokenStore)
    assert isinstance(MemoryTokenStore(), TokenStore)


@pytest.mark.parametrize(
    "tokens", [OLD, StoredTokens("acc3ss"), StoredTokens("acc3ss", expires_at=1, lifetime=2, refresh_token=None)]
)
async def test_what_is_saved_is_loaded_by_another_store(path: Path, tokens: StoredTokens) -> None:
    await FileTokenStore(path).save(tokens)
    assert await FileTokenStore(str(path)).load() == tokens


async def test_a_store_without_a_file_is_empty_and_makes_none_by_looking(store: FileTokenStore, tmp_path: Path) -> None:
    assert await store.load() is None
    assert list(tmp_path.iterdir()) == []


def test_a_relative_path_stays_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    store = FileTokenStore("tokens.json")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    asyncio.run(store.save(OLD))
    assert (tmp_path / "tokens.json").exists()


async def test_no_file_of_the_store_can_ever_be_read_by_others(
    store: FileTokenStore, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []
    opened = os.open

    def watched(name: Any, flags: int, mode: int = 0o777, **options: Any) -> int:
        handle = opened(name, flags, mode, **options)
        if flags & os.O_CREAT and str(tmp_path) in str(name):
            made.append(stat.S_IMODE(os.fstat(handle).st_mode))  # before anything is in it
        return handle

    monkeypatch.setattr(os, "open", watched)
    async with store.lock():
        await store.save(OLD)
        await store.save(NEW)

    assert len(made) >= 3, "two temporary files and the lock"
    assert {mode & 0o077 for mode in made} == {0}
    assert {each.name: mode_of(each) for each in tmp_path.iterdir()} == {
        "tokens.json": 0o600,
        "tokens.json.lock": 0o600,
    }
    assert mode_of(path) == 0o600


async def test_a_readable_file_in_the_way_is_not_written_into_but_replaced(store: FileTokenStore, path: Path) -> None:
    path.write_bytes(b"")
    path.chmod(0o644)
    inode = path.stat().st_ino
    await store.save(NEW)
    assert path.stat().st_ino != inode
    assert mode_of(path) == 0o600


async def test_a_file_that_others_can_read_is_tightened_with_a_warning(
    store: FileTokenStore, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await store.save(OLD)
    path.chmod(0o644)
    assert await store.load() == OLD
    assert mode_of(path) == 0o600
    assert "could be read by others" in caplog.text
    assert str(path) in caplog.text


class CrashError(BaseException):
    """The machine stops here."""


@pytest.mark.parametrize("place", ["os.fsync", "Path.replace"])
@pytest.mark.parametrize("error", [CrashError, OSError])
async def test_whatever_stops_a_save_leaves_the_old_tokens_whole(
    store: FileTokenStore, path: Path, monkeypatch: pytest.MonkeyPatch, place: str, error: type[BaseException]
) -> None:
    await store.save(OLD)
    before = path.read_bytes()

    def crash(*_: Any, **__: Any) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(os if place == "os.fsync" else Path, place.partition(".")[2], crash)
        with pytest.raises(error):
            await store.save(NEW)

    assert path.read_bytes() == before
    assert await store.load() == OLD
    assert [each.name for each in path.parent.iterdir()] == [path.name], "no half-written file with tokens is left"


async def test_content_and_folder_are_on_the_disk_before_a_save_returns(
    store: FileTokenStore, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []
    synced, replaced = os.fsync, Path.replace

    def watched_fsync(handle: int) -> None:
        is_folder = stat.S_ISDIR(os.fstat(handle).st_mode)
        events.append("folder synced" if is_folder else f"{os.fstat(handle).st_size > 0 and 'content'} synced")
        synced(handle)

    def watched_replace(self: Path, target: Any) -> Path:
        events.append("replaced")
        return replaced(self, target)

    monkeypatch.setattr(os, "fsync", watched_fsync)
    monkeypatch.setattr(Path, "replace", watched_replace)
    await store.save(NEW)

    assert events == ["content synced", "replaced", "folder synced"]


def good(**changes: Any) -> dict[str, Any]:
    return {"version": 1, "tokens": {"access_token": "s3cret", "refresh_token": "s3cret", "server": "s"} | changes}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00" * 64,
        b"\xff\xfe s3cret",
        b"s3cret",
        to_json(good())[:-20],
        b"null",
        b"[]",
        b'"s3cret"',
        b"{}",
        b"[" * 100_000,
        to_json({"version": 1}),
        to_json({"version": 1, "tokens": None}),
        to_json({"version": 1, "tokens": "s3cret"}),
        to_json({"version": 1, "tokens": {"refresh_token": "s3cret"}}),
        to_json(good() | {"version": 2}),
        to_json(good() | {"version": "1"}),
        to_json(good() | {"version": "s3cret"}),
        to_json(good(access_token=["s3cret"])),
        to_json(good(access_token=5)),
        to_json(good(refresh_token={"s3cret": 1})),
        to_json(good(expires_at="s3cret")),
        to_json(good(lifetime="60")),
        to_json(good(server=None)),
        # What cannot stand in a header, or in JSON that anyone else wrote.
        to_json(good(access_token="s3cret\r\nX-Injected: 1")),
        to_json(good(access_token="")),
        to_json(good(refresh_token="s3cret\n")),
        to_json(good()).replace(b'"server":"s"', b'"expires_at":NaN'),
        to_json(good()).replace(b'"server":"s"', b'"expires_at":1e999'),
    ],
)
async def test_a_file_that_is_no_token_store_is_set_aside_without_being_quoted(
    store: FileTokenStore, path: Path, caplog: pytest.LogCaptureFixture, content: bytes
) -> None:
    caplog.set_level(logging.DEBUG)
    path.write_bytes(content)
    path.chmod(0o600)

    assert await store.load() is None

    aside = [each for each in path.parent.iterdir() if "unreadable" in each.name]
    assert [each.read_bytes() for each in aside] == [content]
    assert mode_of(aside[0]) == 0o600
    assert not path.exists()
    warning = next(record for record in caplog.records if record.levelno == logging.WARNING)
    assert str(path) in warning.getMessage()
    assert str(aside[0]) in warning.getMessage()
    assert "s3cret" not in caplog.text

    await store.save(NEW)
    assert await store.load() == NEW


async def test_fields_of_a_later_make_do_not_spoil_a_store(store: FileTokenStore, path: Path) -> None:
    path.write_bytes(to_json(good() | {"written_by": "a later make"}))
    path.chmod(0o600)
    tokens = await store.load()
    assert tokens is not None
    assert tokens.access_token == "s3cret"


async def test_files_set_aside_do_not_replace_each_other(store: FileTokenStore, path: Path) -> None:
    for content in (b"first", b"second"):
        path.write_bytes(content)
        assert await store.load() is None
    aside = [each.read_bytes() for each in path.parent.iterdir() if "unreadable" in each.name]
    assert sorted(aside) == [b"first", b"second"]


async def test_no_password_stands_in_the_file(path: Path) -> None:
    async with Emulator(processing=0.0) as emulator:
        auth = LoginAuth(emulator.username, emulator.password, store=FileTokenStore(path))
        async with client_for(emulator, auth) as client:
            await client.upload(MASTERLIST, [ITEM]).collect()
    content = path.read_text()
    assert emulator.password not in content
    assert emulator.username not in content
    assert from_json(content)["tokens"]["server"] == emulator.url


ITEM = {"asin": "B000000001", "countryCode": "US", "percACoS": 25.0}


def client_for(emulator: Emulator, auth: LoginAuth) -> QuartileClient:
    return QuartileClient(subscription_key=emulator.subscription_key, auth=auth, base_url=emulator.url)


def below_a_file(tmp_path: Path) -> Path:
    (tmp_path / "file").write_bytes(b"")
    return tmp_path / "file" / "tokens.json"


def a_folder(tmp_path: Path) -> Path:
    (tmp_path / "tokens.json").mkdir()
    (tmp_path / "tokens.json" / "something").write_bytes(b"")
    return tmp_path / "tokens.json"


def in_a_missing_folder(tmp_path: Path) -> Path:
    return tmp_path / "missing" / "tokens.json"


def in_a_read_only_folder(tmp_path: Path) -> Path:
    if os.geteuid() == 0:
        pytest.skip("the administrator may write everywhere")
    folder = tmp_path / "read-only"
    folder.mkdir(mode=0o500)
    return folder / "tokens.json"


@pytest.mark.parametrize("place", [below_a_file, a_folder, in_a_missing_folder, in_a_read_only_folder])
async def test_a_place_that_cannot_be_used_is_an_error_that_names_it(
    tmp_path: Path, place: Callable[[Path], Path]
) -> None:
    path = place(tmp_path)
    async with Emulator(processing=0.0) as emulator:
        auth = LoginAuth(emulator.username, emulator.password, store=FileTokenStore(path))
        async with client_for(emulator, auth) as client:
            with pytest.raises(AuthenticationError) as caught:
                await client.upload(MASTERLIST, [ITEM]).collect()
        assert str(path) in str(caught.value)
        assert emulator.requests == [], "nobody logs in to lose the tokens"
        assert [result.not_sent for result in caught.value.unaccounted] == [True]


async def test_a_file_that_may_not_be_written_is_an_error_that_names_it(
    tmp_path: Path, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(tempfile, "mkstemp", refuse)
    async with Emulator(processing=0.0) as emulator:
        auth = LoginAuth(emulator.username, emulator.password, store=FileTokenStore(path))
        async with client_for(emulator, auth) as client:
            with pytest.raises(AuthenticationError) as caught:
                await client.upload(MASTERLIST, [ITEM]).collect()
        assert str(path) in str(caught.value)
        assert "saved" in str(caught.value)
        assert [record.kind for record in emulator.requests] == ["login"]


# The lock


@pytest.mark.parametrize("same", [True, False])
async def test_two_who_use_one_path_in_one_loop_exclude_each_other(path: Path, same: bool) -> None:
    first = FileTokenStore(path)
    second = first if same else FileTokenStore(path)
    inside = 0
    order: list[str] = []

    async def change(store: FileTokenStore, name: str) -> None:
        nonlocal inside
        for _ in range(3):
            async with store.lock():
                inside += 1
                assert inside == 1
                order.append(name)
                await asyncio.sleep(0.01)
                inside -= 1
            await asyncio.sleep(0.06)

    async with asyncio.timeout(10):
        await asyncio.gather(change(first, "first"), change(second, "second"))
    assert sorted(order) == ["first"] * 3 + ["second"] * 3


async def test_more_who_wait_than_there_are_threads_do_not_block_each_other(path: Path) -> None:
    entered = 0

    async def enter() -> None:
        nonlocal entered
        async with FileTokenStore(path).lock():
            entered += 1

    async with asyncio.timeout(30):
        await asyncio.gather(*(enter() for _ in range(60)))
    assert entered == 60


@pytest.mark.parametrize("store_of", [FileTokenStore, lambda path: MemoryTokenStore()])
async def test_who_is_cancelled_while_waiting_leaves_the_lock_free(path: Path, store_of: Any) -> None:
    store = store_of(path)

    async def enter() -> None:
        async with store.lock():
            raise AssertionError("it was held")

    async with store.lock():
        waiting = [asyncio.ensure_future(enter()) for _ in range(5)]
        for number, task in enumerate(waiting):
            await asyncio.sleep(0.01 * number)  # while it looks, and between two looks
            task.cancel()
        ended = await asyncio.gather(*waiting, return_exceptions=True)
        assert all(isinstance(error, asyncio.CancelledError) for error in ended)

    async with asyncio.timeout(1), store.lock():
        pass


async def test_who_is_cancelled_while_holding_the_lock_lets_go(store: FileTokenStore) -> None:
    entered = asyncio.Event()

    async def hold() -> None:
        async with store.lock():
            entered.set()
            await asyncio.Event().wait()

    task = asyncio.ensure_future(hold())
    await entered.wait()
    task.cancel()
    await asyncio.wait([task])
    async with asyncio.timeout(1), store.lock():
        pass


async def test_an_error_within_the_lock_comes_out_and_lets_go(store: FileTokenStore) -> None:
    with pytest.raises(KeyError):
        async with store.lock():
            raise KeyError
    async with asyncio.timeout(1), store.lock():
        pass


async def test_a_lock_that_is_held_for_too_long_is_an_error_that_names_its_file(path: Path) -> None:
    async with Emulator(processing=0.0) as emulator:
        impatient = LoginAuth(emulator.username, emulator.password, store=FileTokenStore(path, lock_timeout=0.2))
        async with FileTokenStore(path).lock(), client_for(emulator, impatient) as client:
            with pytest.raises(AuthenticationError) as caught:
                await client.upload(MASTERLIST, [ITEM]).collect()
        assert f"{path}.lock" in str(caught.value)
        assert emulator.requests == []


HOLDER = """
import asyncio, sys
from quartile_async import FileTokenStore

async def main() -> None:
    async with FileTokenStore(sys.argv[1]).lock():
        print("held", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
    print("free", flush=True)

asyncio.run(main())
"""


@pytest.fixture
def holder(path: Path) -> Any:
    """Another process, which holds the lock until it is told to let go."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


async def test_a_process_waits_for_another_one(store: FileTokenStore, holder: subprocess.Popen[str]) -> None:
    entered = asyncio.Event()

    async def enter() -> None:
        async with store.lock():
            entered.set()

    task = asyncio.ensure_future(enter())
    await asyncio.sleep(0.2)
    assert not entered.is_set()
    assert holder.stdin is not None
    holder.stdin.write("go\n")
    holder.stdin.flush()
    async with asyncio.timeout(5):
        await task
    assert entered.is_set()


async def test_a_process_that_was_killed_holds_no_lock(store: FileTokenStore, holder: subprocess.Popen[str]) -> None:
    holder.send_signal(signal.SIGKILL)
    await anyio.to_thread.run_sync(holder.wait)
    async with asyncio.timeout(1), store.lock():
        await store.save(NEW)


async def test_the_lock_is_one_that_other_programs_can_take(store: FileTokenStore, path: Path) -> None:
    with filelock.FileLock(f"{path}.lock"):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2), store.lock():
                raise AssertionError("it was held")


COUNTER = """
import asyncio, sys
from pathlib import Path
from quartile_async import FileTokenStore

async def main() -> None:
    store, counter = FileTokenStore(sys.argv[1]), Path(sys.argv[1]).with_name("counter")
    for _ in range(10):
        async with store.lock():
            found = int(counter.read_text())
            await asyncio.sleep(0.002)
            counter.write_text(str(found + 1))

asyncio.run(main())
"""


def test_processes_that_take_turns_lose_nothing(path: Path) -> None:
    counter = path.with_name("counter")
    counter.write_text("0")
    processes = [subprocess.Popen([sys.executable, "-c", COUNTER, str(path)]) for _ in range(3)]
    assert [process.wait(60) for process in processes] == [0, 0, 0]
    assert counter.read_text() == "30"
