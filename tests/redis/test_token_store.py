"""Tokens in Redis: who may change them when, what a crash or a restart leaves of them, and that none is ever shown."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import anyio
import pytest
import redis.asyncio
from blockbuster import BlockBuster

from quartile_async import (
    MASTERLIST,
    AuthenticationError,
    ConfigurationError,
    LoginAuth,
    QuartileClient,
    RefreshAuth,
    StoredTokens,
    TokenStore,
)
from quartile_async._token_store import OvertakenError
from quartile_async.emulator import Emulator, Fault
from quartile_async.redis import RedisTokenStore

from .server import RedisServer, free_port

OLD = StoredTokens("0ld-acc3ss", 1000.0, 60.0, "0ld-r3fresh", "https://api.quartile.com", "abc")
NEW = StoredTokens("n3w-acc3ss", 2000.0, 60.0, "n3w-r3fresh", "https://api.quartile.com", "abc")
ITEM = {"asin": "B01N5IB20Q", "countryCode": "US", "percACoS": 25.0}
KEY = "quartile:tokens:{default}"


@pytest.fixture
def store(server: RedisServer) -> RedisTokenStore:
    return RedisTokenStore(server.url, lease=1.0)


def test_it_fulfils_the_public_protocol() -> None:
    assert isinstance(RedisTokenStore("redis://localhost"), TokenStore)


@pytest.mark.parametrize("tokens", [OLD, StoredTokens("acc3ss"), StoredTokens("acc3ss", 1.0, 2.0, None)])
async def test_what_is_saved_is_loaded_by_another_store(server: RedisServer, tokens: StoredTokens) -> None:
    assert await RedisTokenStore(server.url).load() is None
    await RedisTokenStore(server.url).save(tokens)
    assert await RedisTokenStore(server.url).load() == tokens
    assert await RedisTokenStore(server.url, name="another").load() is None


def test_a_store_can_be_used_in_one_loop_after_another(store: RedisTokenStore) -> None:
    asyncio.run(store.save(OLD))
    assert asyncio.run(store.load()) == OLD


NO_TOKENS = (b"", b"\xff\xfe s3cret", b"s3cret", b'{"version": 2, "tokens": {"access_token": "s3cret"}}', b"[" * 9_999)


@pytest.mark.parametrize("content", NO_TOKENS)
async def test_what_is_no_token_is_set_aside_without_being_quoted(
    server: RedisServer, store: RedisTokenStore, caplog: pytest.LogCaptureFixture, content: bytes
) -> None:
    caplog.set_level(logging.DEBUG)
    async with redis.asyncio.Redis.from_url(server.url) as client:
        await client.hset(KEY, mapping={"tokens": content, "mark": "7:x"})  # type: ignore[misc]  # redis-py's own
        assert await store.load() is None
        (aside,) = await client.keys(f"{KEY}:unreadable-*")
        assert await client.hget(aside, "tokens") == content  # type: ignore[misc]  # redis-py's own
    assert "could not be read" in caplog.text
    assert aside.decode() in caplog.text
    assert "s3cret" not in caplog.text
    async with store.lock():
        await store.save(NEW)
    assert await store.load() == NEW


# ---- the lock


async def test_one_task_at_a_time_has_the_lock_in_whichever_store(server: RedisServer) -> None:
    inside, entered = 0, 0

    async def enter() -> None:
        nonlocal inside, entered
        async with RedisTokenStore(server.url).lock():
            inside += 1
            assert inside == 1
            await asyncio.sleep(0.002)
            inside -= 1
            entered += 1

    async with asyncio.timeout(20):
        await asyncio.gather(*(enter() for _ in range(20)))
    assert entered == 20


async def test_the_lock_lasts_for_as_long_as_it_is_held(server: RedisServer) -> None:
    short = RedisTokenStore(server.url, lease=0.2)
    async with short.lock():
        await asyncio.sleep(0.7)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2), RedisTokenStore(server.url).lock():
                raise AssertionError("it was held")
        await short.save(NEW)


async def test_who_waits_is_told_and_does_not_ask_again_and_again(server: RedisServer, store: RedisTokenStore) -> None:
    def commands() -> int:
        return int(server.say("INFO", "stats").split(b"total_commands_processed:")[1].split(b"\r\n")[0])

    async def enter() -> float:
        async with RedisTokenStore(server.url).lock():
            return asyncio.get_running_loop().time()

    async with RedisTokenStore(server.url, lease=30.0).lock():
        waiting = asyncio.ensure_future(enter())
        await asyncio.sleep(0.1)
        before = commands()
        await asyncio.sleep(0.5)
        assert commands() - before <= 2
        left = asyncio.get_running_loop().time()
    assert await waiting - left < 0.3


@pytest.mark.parametrize("when", ["waiting", "holding", "an error"])
async def test_who_leaves_in_whatever_way_leaves_the_lock_free(store: RedisTokenStore, when: str) -> None:
    entered = asyncio.Event()

    async def hold() -> None:
        async with store.lock():
            entered.set()
            if when == "an error":
                raise KeyError
            await asyncio.Event().wait()

    if when == "waiting":
        async with store.lock():
            for number in range(5):
                task = asyncio.ensure_future(hold())
                await asyncio.sleep(0.01 * number)
                task.cancel()
                await asyncio.wait([task])
            assert not entered.is_set()
    else:
        task = asyncio.ensure_future(hold())
        await entered.wait()
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled():
            assert isinstance(task.exception(), KeyError)
    async with asyncio.timeout(0.5), store.lock():
        pass


async def test_a_lock_that_is_held_for_too_long_is_an_error_that_names_it(server: RedisServer) -> None:
    async with Emulator(processing=0.0) as emulator, RedisTokenStore(server.url).lock():
        impatient = RedisTokenStore(server.url, lock_timeout=0.2)
        async with client_for(emulator, LoginAuth(emulator.username, emulator.password, store=impatient)) as client:
            with pytest.raises(AuthenticationError, match=r"default\}:lock"):
                await client.upload(MASTERLIST, [ITEM]).collect()
        assert emulator.requests == []


# ---- the fence


async def test_who_was_overtaken_while_its_lock_ran_out_saves_nothing(
    server: RedisServer, store: RedisTokenStore
) -> None:
    slow = RedisTokenStore(server.url, lease=0.3)
    await store.save(StoredTokens("first"))
    async with slow.lock():
        await slow.load()
        server.say("DEL", f"{KEY}:lock")  # as if it had run out
        async with store.lock():
            await store.save(NEW)
        with pytest.raises(OvertakenError):
            await slow.save(OLD)
        assert await store.load() == NEW


async def test_who_is_not_overtaken_yet_saves_what_it_got_and_the_next_holder_is_told(
    server: RedisServer, store: RedisTokenStore
) -> None:
    """A refresh token was spent for it: the one who has the lock by now can only get less."""
    slow = RedisTokenStore(server.url, lease=0.3)
    await store.save(StoredTokens("first"))

    async def second() -> None:
        async with store.lock():
            await store.load()
            has_it.set()
            await saved.wait()
            with pytest.raises(OvertakenError):
                await store.save(OLD)
            assert await store.load() == NEW
            await store.save(OLD)  # it knows now what it replaces

    has_it, saved = asyncio.Event(), asyncio.Event()
    async with slow.lock():
        server.say("DEL", f"{KEY}:lock")
        other = asyncio.create_task(second())
        await has_it.wait()
        await slow.save(NEW)
        saved.set()
        await other
    assert await store.load() == OLD


async def test_a_client_that_was_overtaken_goes_on_with_the_newer_tokens(
    server: RedisServer, store: RedisTokenStore
) -> None:
    async with Emulator(processing=0.0, faults=[Fault(on="login", delay=0.5)]) as emulator:
        async with client_for(emulator, LoginAuth(emulator.username, emulator.password, store=store)) as client:
            upload = asyncio.ensure_future(client.upload(MASTERLIST, [ITEM]).collect())
            await asyncio.sleep(0.2)
            server.say("DEL", f"{KEY}:lock")
            auth = LoginAuth(emulator.username, emulator.password, store=RedisTokenStore(server.url))
            async with client_for(emulator, auth) as other:
                assert (await other.upload(MASTERLIST, [ITEM]).summary()).succeeded == 1
            newer = await store.load()
            assert [result.ok for result in await upload] == [True]
            assert await store.load() == newer


# ---- processes

HOLDER = """
import asyncio, sys
from quartile_async import StoredTokens
from quartile_async.redis import RedisTokenStore

async def main() -> None:
    store = RedisTokenStore(sys.argv[1], lease=0.5)
    async with store.lock():
        await store.load()
        print("held", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        try:
            await store.save(StoredTokens("of-the-holder"))
        except Exception as error:
            print(type(error).__name__, flush=True)
        else:
            print("saved", flush=True)

asyncio.run(main())
"""


@pytest.fixture
def holder(server: RedisServer) -> Iterator[subprocess.Popen[str]]:
    """Another process, which holds the lock until it is told to save and to let go."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, server.url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def told(process: subprocess.Popen[str]) -> str:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("go\n")
    process.stdin.flush()
    return process.stdout.readline().strip()


async def test_a_process_waits_for_another_one(store: RedisTokenStore, holder: subprocess.Popen[str]) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.8), store.lock():  # longer than the lease: it is renewed
            raise AssertionError("it was held")
    assert await anyio.to_thread.run_sync(told, holder) == "saved"
    async with asyncio.timeout(1), store.lock():
        assert await store.load() == StoredTokens("of-the-holder")


async def test_the_lock_of_a_process_that_was_killed_is_soon_free(
    store: RedisTokenStore, holder: subprocess.Popen[str]
) -> None:
    holder.send_signal(signal.SIGKILL)
    await anyio.to_thread.run_sync(holder.wait)
    async with asyncio.timeout(1.5), store.lock():
        await store.save(NEW)


async def test_a_process_that_was_stopped_for_longer_than_its_lock_cannot_save_over_newer_tokens(
    store: RedisTokenStore, holder: subprocess.Popen[str]
) -> None:
    os.kill(holder.pid, signal.SIGSTOP)
    async with asyncio.timeout(2), store.lock():
        await store.save(NEW)
    os.kill(holder.pid, signal.SIGCONT)
    assert await anyio.to_thread.run_sync(told, holder) == "OvertakenError"
    assert await store.load() == NEW


WORKER = """
import asyncio, sys
from quartile_async import MASTERLIST, LoginAuth, QuartileClient
from quartile_async.redis import RedisTokenStore

async def main(url, key, user, password, redis) -> None:
    auth = LoginAuth(user, password, store=RedisTokenStore(redis))
    async with QuartileClient(subscription_key=key, auth=auth, base_url=url) as client:
        items = [{"asin": f"B0{n:08d}", "countryCode": "US", "percACoS": 25.0} for n in range(1_500)]
        summary = await client.upload(MASTERLIST, items).summary()
        assert summary.succeeded == 1_500, summary

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.slow
async def test_processes_that_share_a_store_log_in_once_and_spend_no_token_twice(server: RedisServer) -> None:
    async with Emulator(processing=0.4, token_lifetime=2.0) as emulator:
        secrets = (emulator.url, emulator.subscription_key, emulator.username, emulator.password, server.url)
        processes = [await asyncio.create_subprocess_exec(sys.executable, "-c", WORKER, *secrets) for _ in range(4)]
        assert [await process.wait() for process in processes] == [0] * 4
        assert sum(emulator.logins.values()) == 1
        refused = [each for each in emulator.requests if each.kind == "refresh" and each.status != 201]
        assert refused == []


# ---- Redis itself


def client_for(emulator: Emulator, auth: Any) -> QuartileClient:
    return QuartileClient(subscription_key=emulator.subscription_key, auth=auth, base_url=emulator.url)


async def test_tokens_survive_a_restart_of_redis_in_the_middle_of_a_refresh(own_server: RedisServer) -> None:
    async with Emulator(processing=0.0, faults=[Fault(on="refresh", delay=0.4)]) as emulator:
        store = RedisTokenStore(own_server.url)
        auth = RefreshAuth(emulator.issue_refresh_token(emulator.username), store=store)
        async with client_for(emulator, auth) as client:
            upload = asyncio.ensure_future(client.upload(MASTERLIST, [ITEM]).collect())
            await asyncio.sleep(0.2)
            await asyncio.to_thread(own_server.restart, 0.3)
            assert [result.ok for result in await upload] == [True]
        saved = await store.load()
        assert saved is not None
        assert saved.refresh_token is not None
        await asyncio.to_thread(own_server.restart)
        assert await store.load() == saved


async def test_a_redis_that_is_not_there_is_an_error_that_names_it_and_nothing_is_sent() -> None:
    port = free_port()
    store = RedisTokenStore(f"redis://:s3cret@127.0.0.1:{port}/0", lock_timeout=0.3)
    async with Emulator(processing=0.0) as emulator:
        async with client_for(emulator, LoginAuth(emulator.username, emulator.password, store=store)) as client:
            with pytest.raises(
                AuthenticationError, match=f"127.0.0.1:{port}/0 has not been reached for 0.3 s"
            ) as caught:
                await client.upload(MASTERLIST, [ITEM]).collect()
        assert emulator.requests == []
        assert "s3cret" not in str(caught.value)


async def test_a_wrong_password_of_redis_is_an_error_at_once(own_server: RedisServer) -> None:
    own_server.say("CONFIG", "SET", "requirepass", "s3cret")
    await RedisTokenStore(f"redis://:s3cret@127.0.0.1:{own_server.port}").save(NEW)
    wrong = RedisTokenStore(f"redis://:wr0ng@127.0.0.1:{own_server.port}")
    async with asyncio.timeout(2):
        with pytest.raises(ConnectionError, match="does not do its part") as caught:
            await wrong.load()
    assert "wr0ng" not in f"{caught.value!r}{wrong!r}"


async def test_no_token_is_logged_at_any_level(server: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with Emulator(processing=0.0) as emulator:
        store = RedisTokenStore(server.url)
        async with client_for(emulator, LoginAuth(emulator.username, emulator.password, store=store)) as client:
            await client.upload(MASTERLIST, [ITEM]).collect()
        tokens = await store.load()
    assert tokens is not None
    for secret in (tokens.access_token, tokens.refresh_token, emulator.password):
        assert secret
        assert secret not in caplog.text
        assert secret not in repr(store)


async def test_a_client_of_redis_py_may_be_given_and_stays_open(
    server: RedisServer, blocking_calls_are_caught: BlockBuster
) -> None:
    blocking_calls_are_caught.deactivate()  # redis-py looks up its own version
    async with redis.asyncio.Redis.from_url(server.url, decode_responses=True, protocol=3, socket_timeout=1.0) as given:
        store = RedisTokenStore(given)
        async with store.lock():
            await store.save(NEW)
        assert await store.load() == NEW
        assert await given.ping()  # type: ignore[misc]  # redis-py's own
    assert "redis-py" not in repr(store)


@pytest.mark.parametrize(
    ("url", "options"),
    [
        ("http://localhost", {}),
        ("localhost:6379", {}),
        ("redis://localhost", {"name": ""}),
        ("redis://localhost", {"name": "a{b}"}),
        ("redis://localhost", {"lease": 0.0}),
    ],
)
def test_what_cannot_be_used_is_refused_at_once(url: str, options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        RedisTokenStore(url, **options)
