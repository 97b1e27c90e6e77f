"""One HTTP exchange, once; the only file that opens aiohttp."""

from __future__ import annotations

import ipaddress
import ssl
import urllib.request
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import aiohttp
from yarl import URL

from ._answers import EXCERPT, Answer, excerpt
from ._errors import ClientClosedError, ConfigurationError, ProtocolError, TransportError

MOST_BODY = 8 * 1024 * 1024
"""The most bytes of an answer, decompressed: far more than a batch takes, and JSON of it still fits into memory."""

LONGEST_CONNECT = 4.0
"""Seconds for connecting: with the default number of tries, a host that is not there is reported in 30 s."""


class TimedOutError(TransportError):
    """The time for an answer ran out."""


class _Body(aiohttp.BytesPayload):
    """A body that tells when it begins to go out; what is told may prevent it by an exception."""

    def __init__(self, value: bytes, goes_out: Callable[[], object]) -> None:
        super().__init__(b"", content_type="application/json")
        # aiohttp warns of large bodies that are given to it, for which a user can do nothing.
        self._value, self._size = value, len(value)
        self._goes_out = goes_out

    async def write_with_length(self, writer: Any, content_length: int | None) -> None:
        self._goes_out()
        await super().write_with_length(writer, content_length)


class Http:
    """The connections of a client, to one base URL.

    Raises:
        ConfigurationError: the base URL cannot be used.
    """

    def __init__(
        self,
        *,
        base_url: str,
        headers: Mapping[str, str],
        timeout: float,
        ssl_context: ssl.SSLContext | None,
        trust_env: bool,
    ) -> None:
        self.base_url: str = checked_base_url(base_url)
        self._headers = headers
        self._timeout = aiohttp.ClientTimeout(total=timeout, sock_connect=min(LONGEST_CONNECT, timeout))
        self._ssl: ssl.SSLContext | bool = True if ssl_context is None else ssl_context
        self._proxy = proxy_for(self.base_url) if trust_env else None
        self._session: aiohttp.ClientSession | None = None
        self.watched: bool = True
        """Whether an instrumentation of aiohttp sees the requests; or might, before the first of them."""
        self._closed = False

    async def exchange(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str],
        body: bytes | None = None,
        goes_out: Callable[[], object] = lambda: None,
    ) -> Answer:
        """Sends one request and reads its answer, whatever it says.

        `path` begins with a slash and is put behind the base URL as it is; `goes_out` is called when the body begins
        to go out.

        Raises:
            TransportError: no answer came; with `may_have_been_sent` where there was a body that may have arrived.
            ProtocolError: the answer is too long; likewise.
            ClientClosedError: the client was closed.
        """
        url = self.base_url + path
        name = f"{method} {url}"
        session = self._open_session()
        try:
            async with session.request(
                method,
                _url(url),
                data=None if body is None else _Body(body, goes_out),
                # Not the session's: those would also go to a proxy, unencrypted.
                headers={**self._headers, **headers},
                allow_redirects=False,
            ) as response:
                content = await _limited_body(response, name, submits=body is not None)
                return Answer(name, response.status, response.headers, content)
        except (aiohttp.ClientError, OSError, RuntimeError) as error:  # a TimeoutError is an OSError
            if self._closed:  # what is raised under a session that is being closed varies
                raise ClientClosedError("The client was closed during the request.") from error
            failure = _transport_error(name, error, submits=body is not None)
            if not isinstance(error, aiohttp.ClientResponseError):
                raise failure from error
        raise failure  # out here, not chained: a ClientResponseError carries the request's headers

    async def aclose(self) -> None:
        self._closed = True
        if self._session is not None:
            await self._session.close()

    def _open_session(self) -> aiohttp.ClientSession:
        if self._closed:
            raise ClientClosedError("The client is closed. Open a new one.")
        if self._session is None:
            self._session = aiohttp.ClientSession(
                # The slots are the limit: a limit here would queue requests behind the gate that they passed.
                connector=aiohttp.TCPConnector(limit=0, ssl=self._ssl),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=self._timeout,
                proxy=self._proxy,
            )
            self.watched = bool(self._session.trace_configs)
        return self._session


@lru_cache(maxsize=256)
def _url(url: str) -> URL:
    # A submit's is always the same, and a batch's is asked for several times.
    return URL(url, encoded=True)


def checked_base_url(base_url: str) -> str:
    """The base URL without a slash at its end.

    Raises:
        ConfigurationError: it is no http(s) URL, has parts that a base URL cannot have, or would carry the
            credentials unencrypted to another machine.
    """
    try:
        url = URL(base_url)
        host = url.host or ""
    except (ValueError, TypeError):
        url, host = URL(), ""
    if url.scheme not in ("http", "https") or not host:
        shown = "" if "@" in str(base_url) else f"={base_url!r}"  # what stands before an @ may be a password
        raise ConfigurationError(f"base_url{shown} is not a URL. Give one such as 'https://api.quartile.com'.")
    if url.user is not None or url.password is not None or url.query_string or url.fragment:
        raise ConfigurationError("base_url may not have a user, a password, a query or a fragment.")
    if url.scheme == "http" and not _is_loopback(host):
        raise ConfigurationError(
            f"base_url={base_url!r} would send the credentials unencrypted. Use https://; http:// is for this "
            "machine only."
        )
    return str(url).rstrip("/")


def proxy_for(base_url: str) -> str | None:
    """The proxy that the environment names for a base URL.

    aiohttp's own `trust_env` is not used: it would also take credentials from ~/.netrc, and send what is meant for
    this machine, unencrypted, to a proxy on another one.
    """
    url = URL(base_url)
    if url.scheme == "http" or urllib.request.proxy_bypass(f"{url.host}:{url.port}"):
        return None
    proxies = urllib.request.getproxies()
    return proxies.get(url.scheme) or proxies.get("all")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


async def _limited_body(response: aiohttp.ClientResponse, name: str, *, submits: bool) -> bytes:
    content = await response.content.readany()
    if not response.content.at_eof():  # the usual answer is there as a whole, and needs no copy
        parts = bytearray(content)
        while len(parts) <= MOST_BODY and (part := await response.content.readany()):
            parts += part
        content = bytes(parts)
    if len(content) > MOST_BODY:
        response.close()
        raise ProtocolError(
            f"The answer to {name} is longer than {MOST_BODY} bytes, and was not read on: "
            f"{excerpt(repr(content[:EXCERPT]))}",
            may_have_been_sent=submits,
        )
    return content


NEVER_SENT = (
    aiohttp.ClientConnectorError,  # refused, no such host, TLS, a proxy that is not there
    aiohttp.ConnectionTimeoutError,
    aiohttp.ClientHttpProxyError,  # the proxy refused the tunnel
)
"""Failures before anything of a request could reach the server."""


def _transport_error(name: str, error: Exception, *, submits: bool) -> TransportError:
    in_doubt = submits and not isinstance(error, NEVER_SENT)
    outcome = "The server may have taken it all the same. " if in_doubt else ""
    # Not all of a ClientResponseError: it has the proxy's URL in it, and with that its password.
    words = f"{error.status} {error.message}" if isinstance(error, aiohttp.ClientResponseError) else str(error)
    what = "the time ran out" if isinstance(error, TimeoutError) else excerpt(words) or "the connection was lost"
    advice = "Check base_url and the network."
    if isinstance(error, aiohttp.ClientSSLError | aiohttp.ClientConnectorCertificateError):
        advice = "Check base_url; for a private certificate authority, give an ssl_context."
    kind = TimedOutError if isinstance(error, TimeoutError) else TransportError
    return kind(
        f"{name} got no answer ({type(error).__name__}): {what}. {outcome}{advice}", may_have_been_sent=in_doubt
    )
