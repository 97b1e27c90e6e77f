"""Wherever redis-py reaches Redis: by TLS, by a socket in a file, in a cluster, behind a Sentinel; by variables."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import fastapi
import pytest
from redis.asyncio import RedisCluster
from redis.asyncio.sentinel import Sentinel

from quartile_async import MASTERLIST, LoginAuth, QuartileClient
from quartile_async.emulator import Emulator, ThreadedEmulator
from quartile_async.fastapi import quartile_lifespan
from quartile_async.redis import RedisJournal, RedisQuota, RedisTokenStore

from ..behaviour.conftest import items, until
from .server import RedisServer, free_port


async def check(target: Any) -> None:
    """All works there: two clients hand slots to each other, and log in once; a journal is replayed."""
    async with Emulator(processing=0.02) as emulator:
        quota = RedisQuota(target, rate="500/second", max_in_flight=1)

        def client() -> QuartileClient:
            auth = LoginAuth(emulator.username, emulator.password, store=RedisTokenStore(target))
            key = emulator.subscription_key
            return QuartileClient(subscription_key=key, base_url=emulator.url, auth=auth, quota=quota)

        async with client() as one, client() as other:
            summaries = await asyncio.gather(*(each.upload(MASTERLIST, items(500)).summary() for each in (one, other)))
        assert [summary.succeeded for summary in summaries] == [500, 500]
        assert emulator.max_in_flight == 1
        assert sum(emulator.logins.values()) == 1
        async with client() as one:
            for _ in range(2):
                journal = RedisJournal(target, "catalogue")
                results = await one.upload(MASTERLIST, items(500), journal=journal).collect()
        assert all(result.replayed for result in results)
        await journal.remove()
        assert await journal.contents() is None


@pytest.mark.usefixtures("may_block")
@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
async def test_by_tls(tmp_path: Path) -> None:
    name = ("-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1")
    key, certificate = str(tmp_path / "key.pem"), str(tmp_path / "certificate.pem")
    made = ("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", certificate, *name)
    await asyncio.to_thread(subprocess.run, made, check=True, capture_output=True)
    port = free_port()
    files = ("--tls-cert-file", certificate, "--tls-key-file", key, "--tls-ca-cert-file", certificate)
    with RedisServer("--tls-port", str(port), "--tls-auth-clients", "no", *files):
        await check(f"rediss://127.0.0.1:{port}/0?ssl_ca_certs={certificate}")


async def test_by_a_socket_in_a_file_and_with_user_and_password(tmp_path: Path) -> None:
    path = tmp_path / "redis.sock"
    with RedisServer("--unixsocket", str(path)) as server:
        server.say("ACL", "SETUSER", "quartile", "on", ">s3cret", "~quartile:*", "+@all", "-@dangerous", "+info")
        await check(f"unix://quartile:s3cret@{path}?db=0")


@asynccontextmanager
async def cluster() -> AsyncIterator[RedisCluster]:
    with RedisServer("--cluster-enabled", "yes", "--cluster-port", str(free_port())) as server:
        server.say("CLUSTER", "ADDSLOTSRANGE", "0", "16383")
        await until(lambda: b"cluster_state:ok" in server.say("CLUSTER", "INFO"))
        client = RedisCluster.from_url(server.url)
        try:
            yield client
        finally:
            await client.aclose()


@asynccontextmanager
async def behind_a_sentinel() -> AsyncIterator[Any]:
    with RedisServer() as server:
        port = free_port()
        settings = server.folder / "sentinel.conf"
        settings.write_text(f"port {port}\nbind 127.0.0.1\nsentinel monitor mine 127.0.0.1 {server.port} 1\n")
        process = await asyncio.create_subprocess_exec(
            "redis-server", str(settings), "--sentinel", "--dir", str(server.folder), stdout=subprocess.DEVNULL
        )
        sentinel = Sentinel([("127.0.0.1", port)])
        try:
            async with asyncio.timeout(10):
                while not await knows(sentinel):
                    await asyncio.sleep(0.05)
            client = sentinel.master_for("mine")
            try:
                yield client
            finally:
                await client.aclose()
        finally:
            for each in sentinel.sentinels:
                await each.aclose()
            process.kill()
            await process.wait()


async def knows(sentinel: Sentinel) -> bool:
    try:
        await sentinel.discover_master("mine")
    except Exception:  # noqa: BLE001  # whatever it says, it is not there yet
        return False
    return True


@pytest.mark.usefixtures("may_block", "only_redis_server")
@pytest.mark.parametrize("place", [cluster, behind_a_sentinel])
async def test_with_a_client_of_redis_py(place: Callable[[], Any]) -> None:
    async with place() as client:
        await check(client)


# ---- the environment


def environment(emulator: ThreadedEmulator, **more: str) -> dict[str, str]:
    return {
        **os.environ,
        "QUARTILE_BASE_URL": emulator.url,
        "QUARTILE_SUBSCRIPTION_KEY": emulator.subscription_key,
        "QUARTILE_ACCESS_TOKEN": emulator.access_token,
        **more,
    }


@pytest.mark.slow
def test_two_terminals_share_a_quota_by_one_variable(server: RedisServer, tmp_path: Path) -> None:
    rows = "".join(f"B0{number:08d},US,25\n" for number in range(1_000))
    (tmp_path / "catalogue.csv").write_text("asin,countryCode,percACoS\n" + rows)
    command = [sys.executable, "-m", "quartile_async", "upload", "catalogue.csv", "--no-journal"]
    with ThreadedEmulator(processing=0.2) as emulator:
        more = {"QUARTILE_REDIS_URL": server.url, "QUARTILE_REDIS_RATE": "200/second"}
        environ = environment(emulator, QUARTILE_REDIS_MAX_IN_FLIGHT="3", **more)
        pipes: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
        terminals = [subprocess.Popen(command, cwd=tmp_path, env=environ, **pipes) for _ in range(2)]
        for terminal in terminals:
            told = terminal.communicate(timeout=60)[1]
            assert terminal.returncode == 0, told
        assert emulator.max_in_flight == 3


def test_a_variable_that_cannot_be_used_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "catalogue.csv").write_text("asin,countryCode,percACoS\nB000000001,US,25\n")
    command = [sys.executable, "-m", "quartile_async", "upload", "catalogue.csv", "--no-journal"]
    with ThreadedEmulator() as emulator:
        environ = environment(emulator, QUARTILE_REDIS_URL="redis://:s3cret@[::1")
        done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "The address of Redis cannot be used" in done.stderr
    assert "s3cret" not in done.stderr


async def test_an_application_of_fastapi_takes_the_variable_too(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Emulator(processing=0.0) as emulator:
        for name, value in (("URL", server.url), ("RATE", "100/second")):
            monkeypatch.setenv(f"QUARTILE_REDIS_{name}", value)
        options = {"subscription_key": emulator.subscription_key, "auth": emulator.access_token}
        app = fastapi.FastAPI(lifespan=quartile_lifespan(base_url=emulator.url, **options))
        async with app.router.lifespan_context(app):
            summary = await app.state.quartile_client.upload(MASTERLIST, items(100)).summary()
            assert summary.succeeded == 100
            assert b"quartile:{" in server.say("KEYS", "*")


def test_without_redis_py_the_variable_is_an_error_that_says_what_to_install() -> None:
    code = (
        "import sys; sys.modules['redis'] = None; from quartile_async import QuartileClient;"
        "QuartileClient.from_env(subscription_key='k', auth='t')"
    )
    environ = {**os.environ, "QUARTILE_REDIS_URL": "redis://localhost"}
    done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=False)
    assert "ConfigurationError" in done.stderr
    assert "pip install 'quartile-async[redis]'" in done.stderr
