"""The session manager: owns the HTTP session, the slots and the credentials, and opens uploads."""

from __future__ import annotations

import asyncio
import inspect
import os
import ssl
import time
import weakref
from collections.abc import Callable, Coroutine, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeAlias

import anyio

from . import __version__
from ._account import Account, Shared
from ._api import Api, BatchPaths, TokenApi, checked_paths, checked_prefix
from ._auth import TokenProvider, Tokens, tokens_from
from ._credentials import Credentials, LoginAuth, RefreshAuth
from ._errors import ClientClosedError, ConfigurationError
from ._http import Http
from ._numbers import check_at_least
from ._retrying import RetryLimits
from ._supervisor import Supervisor
from ._tokens import checked_secret, digest_of
from ._traffic import Traffic
from ._transport import Transport
from ._waiting import WaitLimits

if TYPE_CHECKING:
    from ._hook import Hook
    from ._quota import Quota, ShareOf
    from .events import Event

Auth: TypeAlias = str | LoginAuth | RefreshAuth | TokenProvider

wall_clock: Callable[[], float] = time.time
"""Unix time, by which tokens end. The loop's clock stands still while a machine sleeps."""

BASE_URL = "https://api.quartile.com"


class QuartileClient(Account):
    """A client of Quartile's batch API, for one subscription key.

    Use it with `async with`, or call `aclose` in the end. It opens no connection before the first request, and
    may be entered in one task and left in another.

    Args:
        subscription_key: sent as `Subscription-Key`.
        auth: an access token, `LoginAuth`, `RefreshAuth`, or an async function that returns an access token; it is
            called again when the server refuses the last one, once for all requests that wait.
        base_url: `https://`, or `http://` for this machine only.
        batch_paths: which of the documentation's two spellings of the paths is used: "example"
            (PATCH …/process/masterlist, GET …/batch/{id}) or "table" (PATCH …/process/masterlist/batch,
            GET …/process/masterlist/batch/{id}).
        path_prefix: what stands between the base URL and the resource.
        auth_prefix: what stands between the base URL and `login` or `refresh`.
        max_in_flight: how many batches may be submitted or polled at once, over all uploads and accounts of this
            client. When the server is congested there are fewer.
        account: a label for whose data this is; log records carry it, and key order is kept for each.
        linger: seconds after which a chunk leaves although a slow async input has not filled it.
        batch_deadline: seconds after which a batch that has not ended is given up (its items are UNKNOWN).
        not_visible_grace: seconds for which a 404 about a batch means that it is not visible yet.
        request_timeout: seconds for one exchange, from connecting to the last byte.
        max_tries: how often a request is tried, the first time included.
        max_retry_time: seconds after which no further try of a request starts.
        max_pause: seconds; a longer pause that the server asks for stops the upload with an error.
        outage_limit: seconds for which an upload waits while no request gets through at all.
        max_body_bytes: a batch whose JSON is longer is sent in parts; None: only when the server says 413.
        ssl_context: for a private certificate authority; None: what the machine trusts.
        trust_env: takes the proxy from the environment (HTTPS_PROXY, NO_PROXY).
        on_event: a function that is called with each event, for all uploads and accounts; see
            `quartile_async.events`. It is a plain one, not async, and called on the event loop: it has to be quick.
            What it raises is logged, and changes nothing.
        quota: requests per time and batches in flight that other processes share with this one, such as
            `quartile_async.redis.RedisQuota`; None: this client's own slots and gate are all.

    Raises:
        ConfigurationError: a setting cannot be used.
    """

    def __init__(
        self,
        *,
        subscription_key: str,
        auth: Auth,
        base_url: str = BASE_URL,
        batch_paths: BatchPaths = "example",
        path_prefix: str = "/amazon/v2",
        auth_prefix: str = "/auth/v2",
        max_in_flight: int = 16,
        account: str | None = None,
        linger: float = 0.2,
        batch_deadline: float = 3600.0,
        not_visible_grace: float = 10.0,
        request_timeout: float = 30.0,
        max_tries: int = 5,
        max_retry_time: float = 60.0,
        max_pause: float = 300.0,
        outage_limit: float = 300.0,
        max_body_bytes: int | None = None,
        ssl_context: ssl.SSLContext | None = None,
        trust_env: bool = False,
        on_event: Callable[[Event], object] | None = None,
        quota: Quota | None = None,
    ) -> None:
        check_at_least(1, max_in_flight=max_in_flight, max_tries=max_tries)
        check_at_least(0.0, linger=linger, not_visible_grace=not_visible_grace, max_pause=max_pause)
        check_at_least(0.001, batch_deadline=batch_deadline, request_timeout=request_timeout)
        check_at_least(0.001, max_retry_time=max_retry_time, outage_limit=outage_limit)
        if max_body_bytes is not None:
            check_at_least(1, max_body_bytes=max_body_bytes)
        key = checked_secret(subscription_key, "subscription key")
        self._paths = checked_paths(batch_paths, path_prefix)
        self._auth_prefix = checked_prefix(auth_prefix, "auth_prefix")
        self._most_bytes = max_body_bytes
        self._http = Http(
            base_url=base_url,
            headers={
                "Subscription-Key": key,
                "Content-Type": "application/json",
                "Accept": "application/json",
                "User-Agent": f"quartile-async/{__version__}",
            },
            timeout=request_timeout,
            ssl_context=ssl_context,
            trust_env=trust_env,
        )
        self._hook = _hook_from(on_event)
        share_of = None if quota is None else _share_of(quota, key)
        self._traffic = Traffic(
            max_in_flight=max_in_flight, outage_limit=outage_limit, hook=self._hook, share_of=share_of
        )
        limits = RetryLimits(tries=max_tries, seconds=max_retry_time, longest_pause=max_pause)
        self._transport = Transport(self._http, subscription_key=key, traffic=self._traffic, limits=limits)
        self._all_tokens: weakref.WeakSet[Tokens] = weakref.WeakSet()
        self._uploads: dict[asyncio.Task[None], Supervisor] = {}
        self._closed = False
        shared = Shared(
            linger=linger,
            wait_limits=WaitLimits(deadline=batch_deadline, grace=not_visible_grace),
            check_open=self._check_open,
            spawn=self._spawn,
        )
        self._key = key
        super().__init__(account, self._api_for(account, auth), shared, self._identity_of(auth))

    @classmethod
    def from_env(cls, **options: Any) -> Self:
        """A client with what the environment says; options that are given win.

        QUARTILE_SUBSCRIPTION_KEY; QUARTILE_ACCESS_TOKEN, or QUARTILE_USERNAME and QUARTILE_PASSWORD for a login;
        QUARTILE_BASE_URL where it is set; QUARTILE_REDIS_URL for a quota that all processes with this variable share,
        with QUARTILE_REDIS_RATE and QUARTILE_REDIS_MAX_IN_FLIGHT.

        Raises:
            ConfigurationError: a variable is missing, or a setting cannot be used.
        """
        return cls(**(settings_from_env(os.environ, given=options) | options))

    def __repr__(self) -> str:
        slots = self._traffic.slots
        state = "closed" if self._closed else f"{slots.in_use} of {slots.limit} in flight"
        account = f" for {self._account!r}" if self._account else ""
        return f"<QuartileClient{account} at {self._transport.base_url}, {state}>"

    async def __aenter__(self) -> Self:
        self._check_open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Ends the uploads that still run (their consumers get `ClientClosedError`) and closes the connections."""
        self._closed = True
        for supervisor in self._uploads.values():
            supervisor.fail(ClientClosedError("The client was closed while this upload was running."))
        with anyio.CancelScope(shield=True):
            if self._uploads:
                await asyncio.wait(list(self._uploads))
            for tokens in list(self._all_tokens):
                await tokens.aclose()
            self._traffic.outage.close()
            await self._http.aclose()
            if self._traffic.share is not None:
                await self._traffic.share.aclose()

    def for_account(self, label: str, *, auth: Auth) -> Account:
        """Another account under the same subscription key.

        It shares connections, gate, slots, quota and retry budget with this client, and has its own tokens. Key order
        is kept for each label and resource.

        Raises:
            ClientClosedError: the client is closed.
            ConfigurationError: `auth` cannot be used.
        """
        self._check_open()
        return Account(label, self._api_for(label, auth), self._shared, self._identity_of(auth))

    def _api_for(self, account: str | None, auth: Auth) -> Api:
        credentials = None
        if isinstance(auth, LoginAuth | RefreshAuth):
            user = digest_of(auth.username) if isinstance(auth, LoginAuth) else ""
            endpoint = TokenApi(self._transport, self._auth_prefix, user, wall_clock)
            credentials = Credentials(auth, endpoint, wall_clock=wall_clock)
            auth = ""
        hook = None if self._hook is None else self._hook.of(account)
        tokens = tokens_from(auth, credentials, wall_clock, hook)
        self._all_tokens.add(tokens)
        return Api(self._transport, self._paths, self._auth_prefix, tokens, self._most_bytes, hook=hook)

    def _identity_of(self, auth: Auth) -> str:
        user = auth.username if isinstance(auth, LoginAuth) else ""
        return f"of key and user {digest_of(f'{self._key} {user}')}"

    def _check_open(self) -> None:
        if self._closed:
            raise ClientClosedError("The client is closed. Open a new one.")

    def _spawn(self, supervisor: Supervisor, run: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        if self._closed:
            run.close()
            self._check_open()
        task = asyncio.get_running_loop().create_task(run, name="quartile_async upload")
        self._uploads[task] = supervisor
        task.add_done_callback(self._uploads.pop)
        return task


def _hook_from(function: object) -> Hook | None:
    if function is None:
        return None
    if not callable(function):
        raise ConfigurationError(f"on_event is a {type(function).__name__}. Give a function that takes an event.")
    if any(map(inspect.iscoroutinefunction, (function, type(function).__call__))):
        raise ConfigurationError("on_event is an async function. Give a plain one; it may start tasks.")
    from ._hook import Hook  # and with it the events' classes

    return Hook(function)


def settings_from_env(environ: Mapping[str, str], *, given: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that the environment names, but for those that are given.

    Raises:
        ConfigurationError: a variable is missing.
    """
    found = {
        "subscription_key": environ.get("QUARTILE_SUBSCRIPTION_KEY"),
        "auth": environ.get("QUARTILE_ACCESS_TOKEN") or _login_from(environ),
        "base_url": environ.get("QUARTILE_BASE_URL"),
    }
    settings: dict[str, Any] = {name: value for name, value in found.items() if value}
    if environ.get("QUARTILE_REDIS_URL") and "quota" not in given:
        settings["quota"] = _quota_from(environ)
    if missing := [what for name, what in NEEDED.items() if name not in settings and name not in given]:
        raise ConfigurationError(f"Set {' and '.join(missing)} in the environment.")
    return settings


NEEDED = {
    "subscription_key": "QUARTILE_SUBSCRIPTION_KEY",
    "auth": "QUARTILE_ACCESS_TOKEN (or QUARTILE_USERNAME and QUARTILE_PASSWORD)",
}


def _share_of(quota: object, subscription_key: str) -> ShareOf:
    from ._quota import Quota

    if not isinstance(quota, Quota):
        raise ConfigurationError(f"quota is a {type(quota).__name__}. Give a RedisQuota(...), or None.")
    return lambda closed_elsewhere: quota.share_of(subscription_key, closed_elsewhere=closed_elsewhere)


def _quota_from(environ: Mapping[str, str]) -> Quota:
    try:
        from ._shared.quota import quota_from_env  # which needs redis
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"QUARTILE_REDIS_URL is set, and {error.name} is not installed. Run: pip install 'quartile-async[redis]'"
        ) from error
    return quota_from_env(environ)


def _login_from(environ: Mapping[str, str]) -> LoginAuth | None:
    username, password = environ.get("QUARTILE_USERNAME"), environ.get("QUARTILE_PASSWORD")
    return LoginAuth(username, password) if username and password else None
