"""Secrets stay in: whatever a server quotes back, whatever is printed, logged or raised, and whoever listens."""

from __future__ import annotations

import asyncio
import json
import logging
import shutil
import ssl
import subprocess
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from quartile_async import (
    MASTERLIST,
    APIError,
    AuthenticationError,
    ConfigurationError,
    FileTokenStore,
    LoginAuth,
    QuartileClient,
    QuartileError,
    RefreshAuth,
    TransportError,
)
from quartile_async._http import proxy_for
from quartile_async._tokens import StoredTokens

from .server import Asked, RawServer, Reply, chunked, http
from .test_answers import ID, ITEMS, SETTINGS, TAKEN, ended, little_patience, row, then_closes

__all__ = ["little_patience"]  # the fixture holds here, too

KEY = "k3yabcdefghijklmnopqrstuvwxyz012"
# As long as real ones are: an excerpt of an answer may end in the middle of them.
ACCESS = "acc." + "eyJhbGciOiJIUzI1NiJ9" * 20 + ".sig"
REFRESH = "ref." + "eyJqdGkiOiIwMTIzNDU2" * 20 + ".sig"
NEXT_REFRESH = "nxt." + "bGV0IG1lIGluIGFnYWlu" * 20 + ".sig"
PASSWORD = "pa55-w0rd-that-nobody-guesses"
SECRETS = {
    "key": KEY,
    "access token": ACCESS,
    "refresh token": REFRESH,
    "next refresh token": NEXT_REFRESH,
    "password": PASSWORD,
}
TELLING = 12
"""So many characters of a secret in a row are a leak, too."""

TOKENS = {
    "authorization": {"token": ACCESS, "type": "Bearer", "expiresIn": 43200},
    "refresh": {"token": NEXT_REFRESH, "expiresIn": 1209600},
}


def leaks(text: str, secrets: dict[str, str] = SECRETS) -> set[str]:
    """The names of the secrets of which a part stands in a text."""
    return {
        name
        for name, secret in secrets.items()
        if any(secret[at : at + TELLING] in text for at in range(len(secret) - TELLING + 1))
    }


def test_the_search_for_leaks_finds_one() -> None:
    assert leaks(f"… {ACCESS[200:220]} …") == {"access token"}
    assert leaks("nothing of the kind") == set()


def shown_by(error: BaseException) -> str:
    """All that an error tells, and those behind it."""
    texts = ["".join(traceback.format_exception(error))]
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        each = waiting.pop()
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        texts += [str(each), repr(each), repr(each.args)]
        if isinstance(each, QuartileError):
            texts.append(repr(vars(each)))
        waiting += [each.__cause__, each.__context__]
    return "\n".join(texts)


def logged(caplog: pytest.LogCaptureFixture) -> str:
    """Messages and every `extra` of the library's own records."""
    records = [record for record in caplog.records if record.name.startswith("quartile_async")]
    return "\n".join(f"{record.getMessage()} {vars(record)!r}" for record in records)


@pytest.fixture(autouse=True)
def everything_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="quartile_async")


def echo_of(asked: Asked, *more: str) -> str:
    """What a careless server repeats: the request's head and body, and what it knows of the user."""
    return " ".join([asked.head.decode("latin-1"), asked.body.decode(), *more]).replace("\r\n", " ")


def echoing(asked: Asked, *more: str) -> tuple[str, str]:
    """The echo, and a header with the most of it that fits."""
    echo = echo_of(asked, *more)
    return echo, f"{asked.headers.get('authorization', '')} {KEY} {' '.join(more)}"


async def fixed_then_another() -> str:
    return ACCESS


AUTHS: dict[str, Callable[[], Any]] = {
    "a fixed token": lambda: ACCESS,
    "a function": lambda: fixed_then_another,
    "a login": lambda: LoginAuth("seller@example.com", PASSWORD),
    "a refresh token": lambda: RefreshAuth(REFRESH),
}


@asynccontextmanager
async def client_of(server: RawServer, auth: Any, **settings: Any) -> AsyncIterator[QuartileClient]:
    async with (
        asyncio.timeout(10.0),
        QuartileClient(
            subscription_key=KEY, auth=auth, base_url=server.url, **{**SETTINGS, "max_tries": 1, **settings}
        ) as client,
    ):
        yield client


async def upload_shown(client: QuartileClient) -> str:
    """Runs an upload, and gives all that its user sees of it but the server's own rows."""
    upload = client.upload(MASTERLIST, ITEMS)
    shown: list[Any] = []
    try:
        async for result in upload:
            shown += [result.message, replace(result, row=None)]
    except QuartileError as error:
        shown += [shown_by(error), *error.unaccounted]
    shown += [upload.unaccounted, upload.progress, upload, client]
    return "\n".join(each if isinstance(each, str) else repr(each) for each in shown)


def quoting(
    status: int, form: Callable[[str], Any], *, to: str, before: str = "", secrets: tuple[str, ...] = ()
) -> Callable[[Asked], Reply]:
    """A server that gives tokens, and answers requests of one method with the echo of them."""

    def answer(asked: Asked) -> Reply:
        if asked.method == "POST":
            return http(201, TOKENS)
        if asked.method == "PATCH" and to == "GET":
            return TAKEN
        echo, header = echoing(asked, *secrets)
        return http(
            status,
            form(before + echo),
            f"x-request-id: {header}",
            f"Location: /{header}",
            f"WWW-Authenticate: {header}",
        )

    return answer


FORMS: dict[str, Callable[[str], Any]] = {
    "a message": lambda echo: {"message": echo},
    "details": lambda echo: {"detail": [{"loc": ["body", 0, echo], "msg": echo, "type": echo}]},
    "a page": lambda echo: f"<html>{echo}</html>".encode(),
    "an id": lambda echo: {"batchId": echo, "status": "SUCCESS", "data": []},
    "a status": lambda echo: {"status": echo, "data": "none"},
}

WHOLLY = f"{KEY} Bearer {ACCESS} "


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("status", [200, 302, 400, 401, 403, 422, 500])
@pytest.mark.parametrize("to", ["PATCH", "GET"])
async def test_what_went_out_with_a_request_is_blanked_in_whatever_quotes_it(
    form: str, status: int, to: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with RawServer(quoting(status, FORMS[form], to=to)) as server, client_of(server, ACCESS) as client:
        shown = await upload_shown(client)

    assert leaks(shown + logged(caplog)) == set()
    assert len(server.requests) > (to == "GET")


@pytest.mark.parametrize("auth", AUTHS)
@pytest.mark.parametrize("form", ["a message", "details"])
@pytest.mark.parametrize("to", ["PATCH", "GET"])
@pytest.mark.parametrize("status", [200, 401, 422])
async def test_all_that_the_server_knows_is_blanked_however_one_came_by_a_token(
    auth: str, form: str, to: str, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Password and refresh token do not go out with a batch, but the server has been told them before."""
    told = {"a login": (PASSWORD, NEXT_REFRESH), "a refresh token": (REFRESH, NEXT_REFRESH)}.get(auth, ())
    answer = quoting(status, FORMS[form], to=to, secrets=told)
    async with RawServer(answer) as server, client_of(server, AUTHS[auth]()) as client:
        shown = await upload_shown(client)

    assert leaks(shown + logged(caplog)) == set()


@pytest.mark.parametrize("to", ["PATCH", "GET"])
@pytest.mark.parametrize("status", [200, 400])
async def test_a_secret_in_which_an_excerpt_ends_is_blanked_as_well(to: str, status: int) -> None:
    """What is left of it is part of it all the same."""
    found = {}
    for filler in [*("x" * length for length in range(0, 220, 20)), " " * 700, " x" * 90 + " " * 500]:
        answer = quoting(status, lambda echo, filler=filler: f"{filler} {WHOLLY}".encode(), to=to)
        async with RawServer(answer) as server, client_of(server, ACCESS) as client:
            found[len(filler)] = leaks(await upload_shown(client))

    assert not any(found.values()), found


async def test_the_words_of_a_row_are_blanked_in_the_results_message() -> None:
    said = f"INSERT by {ACCESS} with {KEY}"
    verdicts = [{"success": success, "message": said, "process": said} for success in (True, False)]
    rows = ended(*(row(number, status=verdict, id=said) for number, verdict in enumerate(verdicts)))
    async with RawServer(lambda asked: TAKEN if asked.method == "PATCH" else rows) as server:
        async with client_of(server, ACCESS) as client:
            shown = await upload_shown(client)
            summary = await client.upload(MASTERLIST, ITEMS).summary()

    assert leaks(shown) == set()
    assert leaks(repr(summary.messages)) == set()


@pytest.mark.parametrize("auth", ["a login", "a refresh token"])
@pytest.mark.parametrize("status", [200, 201, 302, 400, 401, 403, 422, 429, 500])
async def test_a_login_or_refresh_that_is_refused_shows_nothing_of_what_it_sent(
    auth: str, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    found = {}
    for name, form in FORMS.items():
        for filler in (0, 120):

            def answer(asked: Asked, form: Callable[[str], Any] = form, filler: int = filler) -> Reply:
                echo, header = echoing(asked)
                return http(status, form("x" * filler + asked.body.decode() + echo), f"x-request-id: {header}")

            async with RawServer(answer) as server, client_of(server, AUTHS[auth]()) as client:
                found[name, filler] = leaks(await upload_shown(client))
            assert {asked.method for asked in server.requests} == {"POST"}

    assert not any(found.values()), found
    assert leaks(logged(caplog)) == set()


@pytest.mark.parametrize(
    "content",
    [
        {**TOKENS, "authorization": {"token": f"{ACCESS}\n"}},
        {**TOKENS, "refresh": {"token": f"{NEXT_REFRESH} "}},
        {"authorization": ACCESS, "refresh": NEXT_REFRESH},
        [TOKENS],
        json.dumps(TOKENS),
        json.dumps(TOKENS).encode()[:-1],
        json.dumps(TOKENS).encode() + b"x",
    ],
)
async def test_tokens_in_an_answer_that_cannot_be_used_are_not_shown(
    content: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async with (
        RawServer(lambda asked: http(201, content)) as server,
        client_of(server, AUTHS["a login"]()) as client,
    ):
        shown = await upload_shown(client)

    assert "usable" in shown or "JSON" in shown
    assert leaks(shown + logged(caplog)) == set()


@pytest.mark.parametrize(
    "reply",
    [
        then_closes(chunked(f"zz{WHOLLY}\r\n".encode())),
        then_closes(f"HTTP/1.1 200 OK\r\n{WHOLLY}\r\n\r\n".encode()),
        then_closes(f"HTTP/1.1 200 OK\r\nX: {WHOLLY}\x00\r\n\r\n".encode()),
        then_closes(f"HTTP/1.1 {WHOLLY}\r\n\r\n".encode()),
        then_closes(f"{WHOLLY}\r\n\r\n".encode()),
        then_closes(http(200, b"{}", f"Content-Encoding: {WHOLLY}")),
        then_closes(http(400, b"", f"Retry-After: {WHOLLY}", f"RateLimit-Remaining: {WHOLLY}")),
        then_closes(f"HTTP/1.1 401 {WHOLLY}\r\nContent-Length: 0\r\n\r\n".encode()),
    ],
    ids=[
        "a chunk's size",
        "a header's name",
        "a header's value",
        "a status line",
        "no HTTP",
        "coding",
        "pause",
        "reason",
    ],
)
@pytest.mark.parametrize("method", ["PATCH", "GET"])
async def test_no_error_of_the_http_library_carries_a_secret_along(
    reply: Reply, method: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with RawServer(lambda asked: reply) as server, client_of(server, ACCESS) as client:
        with pytest.raises(QuartileError) as caught:
            await (client.submit(MASTERLIST, ITEMS) if method == "PATCH" else client.get_batch(ID))

    assert leaks(shown_by(caught.value) + logged(caplog)) == set()


async def test_a_request_id_is_kept_and_a_secret_in_it_is_not() -> None:
    async with RawServer(lambda asked: http(400, b"", f"x-request-id: r-1 {KEY} {ACCESS}")) as server:
        async with client_of(server, ACCESS) as client:
            with pytest.raises(APIError) as caught:
                await client.get_batch(ID)

    assert caught.value.request_id is not None
    assert "r-1" in caught.value.request_id
    assert leaks(caught.value.request_id) == set()


def test_no_repr_shows_a_secret(tmp_path: Path) -> None:
    store = FileTokenStore(tmp_path / "tokens")
    tokens = StoredTokens(ACCESS, 1.0, 1.0, REFRESH, "https://api.quartile.com", "")
    auths = [ACCESS, fixed_then_another, LoginAuth("u", PASSWORD, store=store), RefreshAuth(REFRESH, store=store)]
    shown: list[object] = [store, tokens, *auths[2:]]
    for auth in auths:
        client = QuartileClient(subscription_key=KEY, auth=auth)
        account = client.for_account("acme", auth=auth)
        shown += [client, account, account._api._tokens, client._transport, client._http, client._api]

    assert leaks("\n".join(f"{each!r} {each!s}" for each in shown)) == set()


async def test_the_file_of_tokens_has_no_password_and_no_key_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    auth = LoginAuth("seller@example.com", PASSWORD, store=FileTokenStore(path))
    async with RawServer(lambda asked: http(201, TOKENS) if asked.method == "POST" else TAKEN) as server:
        async with client_of(server, auth) as client:
            await client.submit(MASTERLIST, ITEMS)

    assert leaks(path.read_text()) == {"access token", "next refresh token"}
    assert path.stat().st_mode & 0o077 == 0


async def test_an_error_of_a_store_shows_nothing_that_it_was_given(caplog: pytest.LogCaptureFixture) -> None:
    class Careless:
        """A store whose errors quote what they are about."""

        async def load(self) -> None:
            return None

        async def save(self, tokens: StoredTokens) -> None:
            raise ValueError(f"cannot keep {tokens.access_token} and {tokens.refresh_token}")

        @asynccontextmanager
        async def lock(self) -> AsyncIterator[None]:
            yield

    async with RawServer(lambda asked: http(201, TOKENS)) as server:
        async with client_of(server, LoginAuth("u", PASSWORD, store=Careless())) as client:
            with pytest.raises(AuthenticationError) as caught:
                await client.submit(MASTERLIST, ITEMS)

    # What the user's own code raised is told as the cause, for its author; the library does not repeat it.
    assert leaks(str(caught.value) + repr(caught.value) + logged(caplog)) == set()


UNUSABLE = ["\n", "\r\nX-Injected: 1", " ", "\x00", "é", "\t", "\u2028", "\x7f"]


@pytest.mark.parametrize("bad", UNUSABLE, ids=repr)
@pytest.mark.parametrize("where", ["before", "within", "behind"])
async def test_a_secret_that_cannot_stand_in_a_header_is_refused_and_not_shown(bad: str, where: str) -> None:
    def spoilt(secret: str) -> str:
        return {"before": bad + secret, "within": secret[:9] + bad + secret[9:], "behind": secret + bad}[where]

    async def function() -> str:
        return spoilt(ACCESS)

    makers: list[Callable[[], object]] = [
        lambda: QuartileClient(subscription_key=spoilt(KEY), auth=ACCESS),
        lambda: QuartileClient(subscription_key=KEY, auth=spoilt(ACCESS)),
        lambda: QuartileClient(subscription_key=KEY, auth=ACCESS).for_account("acme", auth=spoilt(ACCESS)),
        lambda: RefreshAuth(spoilt(REFRESH)),
    ]
    for make in makers:
        with pytest.raises(ConfigurationError) as caught:
            make()
        assert leaks(shown_by(caught.value)) == set()
    async with RawServer(lambda asked: TAKEN) as server, client_of(server, function) as client:
        with pytest.raises(ConfigurationError) as caught:
            await client.submit(MASTERLIST, ITEMS)
    assert leaks(shown_by(caught.value)) == set()
    assert server.requests == []


@pytest.mark.parametrize(
    "base_url",
    [
        f"https://user:{PASSWORD}@api.quartile.com",
        f"https://{PASSWORD}@api.quartile.com",
        f"http://user:{PASSWORD}@127.0.0.1",
        f"http://user:{PASSWORD}@api.quartile.com",
        f"https://:{PASSWORD}@api.quartile.com",
        f"ftp://user:{PASSWORD}@api.quartile.com",
        f"//user:{PASSWORD}@api.quartile.com",
        f"https://user:{PASSWORD}@",
        f"https://user:{PASSWORD}@api.quartile.com:99999",
        f"https://api.quartile.com/?key={PASSWORD}",
    ],
)
def test_an_address_with_a_password_is_refused_and_not_shown(base_url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        QuartileClient(subscription_key=KEY, auth=ACCESS, base_url=base_url)

    assert leaks(shown_by(caught.value)) == set()


@pytest.mark.parametrize(
    "host",
    [
        *("api.quartile.com", "10.0.0.1", "0.0.0.0", "[::]", "127.0.0.1.example.com", "localhost.example.com"),  # noqa: S104  # refused
        *("example.com#@127.0.0.1", "127.0.0.1@example.com", "128.0.0.1", "[::ffff:10.0.0.1]", "LOCALHOST.", "0x7f.1"),
    ],
)
def test_nothing_goes_unencrypted_to_another_machine(host: str) -> None:
    with pytest.raises(ConfigurationError):
        QuartileClient(subscription_key=KEY, auth=ACCESS, base_url=f"http://{host}")


@asynccontextmanager
async def listener(
    act: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[object]],
) -> AsyncIterator[int]:
    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await act(reader, writer)
        finally:
            writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


@pytest.fixture
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "netrc"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    return monkeypatch


@pytest.mark.parametrize("trusts", [True, False])
async def test_a_proxy_of_the_environment_is_used_only_where_that_was_asked_for(
    trusts: bool, clean_environment: pytest.MonkeyPatch
) -> None:
    seen: list[bytes] = []

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(f"HTTP/1.1 407 {KEY}\r\nContent-Length: 0\r\n\r\n".encode())
        await writer.drain()

    async with listener(refuse) as port:
        clean_environment.setenv("HTTPS_PROXY", f"http://user:{PASSWORD}@127.0.0.1:{port}")
        client = QuartileClient(
            # A name that no resolver knows: without the proxy, nothing is reached.
            subscription_key=KEY,
            auth=ACCESS,
            base_url="https://api.invalid",
            trust_env=trusts,
            max_tries=1,
        )
        async with client:
            with pytest.raises(TransportError) as caught:
                await client.submit(MASTERLIST, ITEMS)

    assert [request.split(b"\r\n")[0] for request in seen] == [b"CONNECT api.invalid:443 HTTP/1.1"] * trusts
    assert leaks(b"".join(seen).decode()) == set(), "the server's secrets are not the proxy's"
    assert not caught.value.may_have_been_sent
    assert leaks(shown_by(caught.value)) == set()


async def test_what_is_meant_for_this_machine_goes_to_no_proxy(clean_environment: pytest.MonkeyPatch) -> None:
    seen: list[bytes] = []

    async def record(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.read(100))

    async with listener(record) as port, RawServer(lambda asked: TAKEN) as server:
        for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY"):
            clean_environment.setenv(name, f"http://127.0.0.1:{port}")
        async with client_of(server, ACCESS, trust_env=True) as client:
            await client.submit(MASTERLIST, ITEMS)

    assert seen == []
    assert len(server.requests) == 1


def test_hosts_named_in_no_proxy_are_reached_directly(clean_environment: pytest.MonkeyPatch) -> None:
    clean_environment.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    assert proxy_for("https://api.quartile.com") == "http://proxy.example:3128"

    clean_environment.setenv("NO_PROXY", "quartile.com")
    assert proxy_for("https://api.quartile.com") is None


@pytest.mark.parametrize("trusts", [True, False])
async def test_the_netrc_file_is_never_read(
    trusts: bool, clean_environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    netrc = tmp_path / ".netrc"
    netrc.write_text(f"machine 127.0.0.1 login somebody password {PASSWORD}\ndefault login x password {PASSWORD}\n")
    netrc.chmod(0o600)
    clean_environment.setenv("NETRC", str(netrc))
    clean_environment.setenv("HOME", str(tmp_path))

    async with RawServer(lambda asked: http(201, TOKENS) if asked.method == "POST" else TAKEN) as server:
        async with client_of(server, LoginAuth("u", "another", store=None), trust_env=trusts) as client:
            await client.submit(MASTERLIST, ITEMS)

    login, submit = server.requests
    assert "authorization" not in login.headers
    assert submit.headers["authorization"] == f"Bearer {ACCESS}"
    assert leaks((login.head + submit.head).decode()) == {"key", "access token"}


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """One that signs itself, for this machine."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("there is no openssl here")
    folder = tmp_path_factory.mktemp("tls")
    key, chain = folder / "key.pem", folder / "chain.pem"
    made = f"{openssl} req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -keyout {key} -out {chain}".split()
    subprocess.run([*made, "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"], check=True, capture_output=True)
    return key, chain


@pytest.fixture
def tls(certificate: tuple[Path, Path]) -> ssl.SSLContext:
    key, chain = certificate
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, key)
    return context


async def test_an_unknown_certificate_is_refused_before_anything_is_sent_and_the_error_names_the_setting(
    tls: ssl.SSLContext,
) -> None:
    async with RawServer(lambda asked: TAKEN, tls) as server, client_of(server, ACCESS) as client:
        with pytest.raises(TransportError, match="ssl_context") as caught:
            await client.submit(MASTERLIST, ITEMS)

    assert server.requests == []
    assert not caught.value.may_have_been_sent
    assert leaks(shown_by(caught.value)) == set()


async def test_a_private_certificate_authority_works_with_a_context_of_ones_own(
    tls: ssl.SSLContext, certificate: tuple[Path, Path]
) -> None:
    context = ssl.create_default_context(cafile=certificate[1])
    async with RawServer(lambda asked: TAKEN, tls) as server, client_of(server, ACCESS, ssl_context=context) as client:
        assert await client.submit(MASTERLIST, ITEMS) == ID

    assert len(server.requests) == 1


async def test_a_certificate_of_another_host_is_refused_although_its_authority_is_known(
    certificate: tuple[Path, Path], tls: ssl.SSLContext
) -> None:
    context = ssl.create_default_context(cafile=certificate[1])
    async with RawServer(lambda asked: TAKEN, tls) as server:
        client = QuartileClient(
            subscription_key=KEY,
            auth=ACCESS,
            base_url=server.url.replace("127.0.0.1", "127.0.0.2"),
            ssl_context=context,
            max_tries=1,
        )
        async with client:
            with pytest.raises(TransportError):
                await client.submit(MASTERLIST, ITEMS)

    assert server.requests == []
