"""Whose data it is: profiles in a file without passwords, and where the tokens of a login are kept."""

from __future__ import annotations

import asyncio
import hashlib
import os
import shlex
import stat
import sys
import time
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any, Literal

import platformdirs
import pydantic

from .. import (
    APIError,
    AuthenticationError,
    ConfigurationError,
    FileTokenStore,
    LoginAuth,
    QuartileError,
    RefreshAuth,
    StoredTokens,
)
from .._answers import is_about_the_key
from .._client import BASE_URL
from .._dask.results import PartsFailedError
from .._http import checked_base_url
from .._token_store import LoginStore
from .._tokens import Freshness, digest_of, freshness_of
from ._faults import fault_of, hide

APP = "quartile-async"
SECRETS = ("password", "passwd", "token", "secret")
"""A key of a profile with one of these words in it is refused."""

MOST_PROBLEMS = 5
"""Problems of a profile, and names of profiles, that are shown."""

OTHERS = stat.S_IRWXG | stat.S_IRWXO


class Profile(pydantic.BaseModel):
    """What a table of the file of profiles may hold."""

    model_config = pydantic.ConfigDict(extra="forbid", strict=True, frozen=True)

    subscription_key: pydantic.SecretStr | None = pydantic.Field(default=None, min_length=1)
    base_url: str | None = None
    batch_paths: Literal["example", "table"] | None = None
    username: str | None = pydantic.Field(default=None, min_length=1)
    max_in_flight: int | None = pydantic.Field(default=None, ge=1)

    def settings(self) -> dict[str, Any]:
        """The client's settings that it names."""
        key = self.subscription_key.get_secret_value() if self.subscription_key is not None else None
        found = {"subscription_key": key} | self.model_dump(include={"base_url", "batch_paths", "max_in_flight"})
        return {name: value for name, value in found.items() if value is not None}


@dataclass(slots=True, frozen=True)
class Account:
    """Which account of which server is meant.

    Attributes:
        profile: its name; None: the one that has none.
        server: the base URL.
        username: where it is known.
        settings: of the client, but for `auth`.
        typed_url: whether the base URL stands on the command line.
    """

    profile: str | None
    server: str
    username: str | None
    settings: dict[str, Any]
    typed_url: bool = False

    @property
    def store(self) -> Path:
        """The file of its tokens. Those of one server never stand where another one's are looked for."""
        name = self.profile if self.profile is not None else "default"
        safe = "".join(char if char.isascii() and (char.isalnum() or char in "-_") else "_" for char in name)
        digest = hashlib.sha256(f"{self.server}\n{self.profile!r}".encode(errors="surrogatepass")).hexdigest()
        return tokens_folder() / f"{safe[:40]}-{digest[:12]}.json"

    def command(self, name: str) -> str:
        """What to type for it, such as `quartile-async login --profile acme-de`."""
        options = [] if self.profile is None else ["--profile", self.profile]
        options += ["--base-url", self.server] if self.typed_url else []
        return shlex.join([APP, name, *options])

    def __str__(self) -> str:
        return self.server if self.profile is None else f"profile {self.profile!r} at {self.server}"


class StoredLogin(RefreshAuth):
    """Goes on from `quartile-async login`.

    Attributes:
        path: the file with its tokens.
        user: a digest of the user's name.
        again: what to type when it has ended.
    """

    def __init__(self, refresh_token: str, *, path: Path, user: str, again: str) -> None:
        super().__init__(refresh_token, store=LoginStore(path, user))
        self.path = path
        self.user: str = user
        self.again: str = again


def account_for(
    name: str | None, options: Mapping[str, Any], typed: frozenset[str], *, warn: Callable[[str], None]
) -> Account:
    """The account that is meant, and the client's settings for it, all but `auth`.

    What is typed comes before the profile, and the profile before the environment and the defaults.

    Args:
        name: of the profile; None: there is none.
        options: of the command, from whatever source; None stands for what is not given.
        typed: the names of those that stand on the command line.
        warn: is told what is wrong and does not stop anything.

    Raises:
        ConfigurationError: the profile or a setting cannot be used.
    """
    given = {option: value for option, value in options.items() if value is not None}
    if name is None:
        profile, settings, username = Profile(), given, os.environ.get("QUARTILE_USERNAME") or None
    else:
        if "account" in typed:
            raise ConfigurationError(
                f"--account and --profile exclude each other: the label is the profile's name, {name!r}. Leave out "
                "one of them."
            )
        profile = profile_named(name, warn=warn)
        typed_ones = {option: value for option, value in given.items() if option in typed}
        settings = given | profile.settings() | typed_ones | {"account": name}
        username = profile.username
    hide(settings.get("subscription_key"))
    base_url = settings.get("base_url") or os.environ.get("QUARTILE_BASE_URL") or BASE_URL
    return Account(name, checked_base_url(base_url), username, settings, "base_url" in typed)


def settings_for(account: Account) -> dict[str, Any]:
    """The client's settings, with where its access tokens come from.

    Without a profile these are, in this order: QUARTILE_ACCESS_TOKEN, QUARTILE_USERNAME with QUARTILE_PASSWORD, the
    stored login. With a profile, the first is another account's for all that is known, and so is a password that
    stands beside another user name: none of them counts.

    Raises:
        ConfigurationError: there are no credentials, or they are another user's.
    """
    auth: str | LoginAuth | StoredLogin | None = _auth_from_environment(account)
    if auth is None and (tokens := stored_tokens(account)) is not None:
        auth = _auth_from(tokens, account)
    if auth is None and account.profile is None and _missing_key(account):
        raise ConfigurationError(
            "Set QUARTILE_SUBSCRIPTION_KEY and QUARTILE_ACCESS_TOKEN (or QUARTILE_USERNAME and QUARTILE_PASSWORD) in "
            f"the environment. Instead of a token, a stored login does, too. Run: {account.command('login')}"
        )
    check_key(account)
    if auth is None:
        raise ConfigurationError(_missing_auth(account))
    return account.settings | {"auth": auth}


def check_key(account: Account) -> None:
    """Raises ConfigurationError where no subscription key is known."""
    if missing := _missing_key(account):
        raise ConfigurationError(missing)


def _missing_key(account: Account) -> str:
    if "subscription_key" in account.settings or os.environ.get("QUARTILE_SUBSCRIPTION_KEY"):
        return ""
    into_profile = "put subscription_key into the profile, or " if account.profile is not None else ""
    return f"There is no subscription key: {into_profile}set QUARTILE_SUBSCRIPTION_KEY in the environment."


def advice_on(error: Exception, settings: Mapping[str, Any]) -> str | None:
    """What is to be typed after an error, and whose fault it is where nobody expected it."""
    auth = settings.get("auth")
    if isinstance(auth, StoredLogin) and _is_about_the_login(error):
        return f"The stored login does not work any more. Run: {auth.again}"
    if isinstance(error, APIError) and error.status == HTTPStatus.NOT_FOUND and "batch_paths" not in str(error):
        return "The server knows nothing of this. Check the id, --base-url and --batch-paths."
    return None if isinstance(error, QuartileError | OSError) else fault_of()


def _is_about_the_login(error: Exception) -> bool:
    if isinstance(error, PartsFailedError):
        named = AuthenticationError.__name__
        return any(end.error.startswith(named) and not is_about_the_key(end.error) for end in error.ends)
    return isinstance(error, AuthenticationError) and not is_about_the_key(error.message)


def _auth_from_environment(account: Account) -> str | LoginAuth | None:
    token, username, password = (
        os.environ.get(f"QUARTILE_{name}") for name in ("ACCESS_TOKEN", "USERNAME", "PASSWORD")
    )
    if account.profile is None and token:
        return token
    if password and account.username and username in (None, "", account.username):
        return LoginAuth(account.username, password)
    return None


def _auth_from(tokens: StoredTokens, account: Account) -> str | StoredLogin:
    again = account.command("login")
    if tokens.user and account.username and tokens.user != digest_of(account.username):
        raise ConfigurationError(
            f"The stored login for {account} is another user's, not that of {account.username!r}. Run: {again}"
        )
    if tokens.refresh_token is not None:
        return StoredLogin(tokens.refresh_token, path=account.store, user=tokens.user, again=again)
    if freshness_of(tokens, time.time()) is Freshness.EXPIRED:
        raise ConfigurationError(f"The stored login for {account} has ended. Run: {again}")
    return tokens.access_token


def _missing_auth(account: Account) -> str:
    words = f"There is no stored login for {account}. Run: {account.command('login')}"
    if account.profile is None:
        return (
            f"{words} (or set QUARTILE_ACCESS_TOKEN, or QUARTILE_USERNAME and QUARTILE_PASSWORD, in the environment)."
        )
    if os.environ.get("QUARTILE_ACCESS_TOKEN"):
        words += " (QUARTILE_ACCESS_TOKEN may be another account's, and does not count with a profile.)"
    if os.environ.get("QUARTILE_PASSWORD"):
        whose = "has no username" if account.username is None else f"is of {account.username!r}"
        words += (
            f" (QUARTILE_PASSWORD counts with a profile only for the profile's own username; this one {whose}, and "
            "QUARTILE_USERNAME may name no other.)"
        )
    return words


def tokens_folder() -> Path:
    """Where the tokens of logins are kept."""
    return platformdirs.user_data_path(APP, appauthor=False) / "tokens"


def made_tokens_folder() -> Path:
    """The same, made where it is not there, for its owner alone.

    Raises:
        OSError: it cannot be made.
    """
    folder = tokens_folder()
    for each in (folder.parent, folder):
        each.mkdir(mode=0o700, parents=True, exist_ok=True)
        if stat.S_IMODE(each.stat().st_mode) & OTHERS:
            each.chmod(0o700)
    return folder


def stored_tokens(account: Account) -> StoredTokens | None:
    """The tokens of an account's login; None where there are none for this server.

    Raises:
        ConfigurationError: their file cannot be read.
    """
    path = account.store
    try:
        tokens = asyncio.run(FileTokenStore(path).load())
    except OSError as error:
        raise ConfigurationError(
            f"The stored login {path} cannot be read: {error.strerror}. Mend that, or run: {account.command('login')}"
        ) from error
    if tokens is None or tokens.server != account.server:
        return None
    hide(tokens.access_token, tokens.refresh_token)
    return tokens


def profiles_path() -> Path:
    """The file of profiles."""
    named = os.environ.get("QUARTILE_PROFILES")
    return Path(named) if named else platformdirs.user_config_path(APP, appauthor=False) / "profiles.toml"


def complete_profile(incomplete: str) -> list[str]:
    """The profiles whose names begin like this, for the shell; none where the file cannot be read."""
    try:
        tables = _tables(profiles_path())
    except (ConfigurationError, OSError):
        return []
    return [name for name in tables if name.startswith(incomplete)]


def profile_named(name: str, *, warn: Callable[[str], None]) -> Profile:
    """A profile of the file. What is wrong with the others does not matter.

    Raises:
        ConfigurationError: there is none of this name, or it cannot be used.
    """
    path = profiles_path()
    tables = _tables(path)
    if name not in tables:
        known = ", ".join(map(repr, sorted(tables)[: 4 * MOST_PROBLEMS])) or "none"
        raise ConfigurationError(f"There is no profile {name!r} in {path}. Name one that is there: {known}.")
    profile = _checked(name, tables[name], path)
    if profile.subscription_key is not None and _others_can_read(path):
        warn(f"Others can read {path}, which holds a subscription key. Run: chmod 600 {shlex.quote(str(path))}")
    return profile


def _tables(path: Path) -> dict[str, Any]:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise ConfigurationError(
            f"There is no file of profiles: make {path}, with a table for each profile, such as [acme-de] and below "
            'it username = "...".'
        ) from None
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}. Mend that, or name no profile.") from error
    try:
        return tomllib.loads(content.decode())
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigurationError(f"{path}, line {line}: this is no UTF-8. Save the file as UTF-8.") from None
    except tomllib.TOMLDecodeError as error:
        # Not chained: later Pythons keep the whole text in it.
        raise ConfigurationError(f"{path} is no valid TOML. Mend it: {error}.") from None


def _checked(name: str, table: object, path: Path) -> Profile:
    where = f"{path}, profile {name!r}:"
    if not isinstance(table, dict):
        raise ConfigurationError(f"{where} this is no table. Write it as [{name}], and its settings below.")
    if secrets := [key for key in table if any(word in key.lower() for word in SECRETS)]:
        raise ConfigurationError(
            f"{where} {', '.join(map(repr, secrets[:MOST_PROBLEMS]))} must not stand in this file, which is for no "
            f"passwords or tokens. Remove it, and run: {shlex.join([APP, 'login', '--profile', name])}"
        )
    try:
        profile = Profile.model_validate(table)
        if profile.base_url is not None:
            checked_base_url(profile.base_url)
    except ConfigurationError as error:
        raise ConfigurationError(f"{where} {error}") from None
    except pydantic.ValidationError as error:
        problems = error.errors(include_url=False, include_context=False, include_input=False)
        told = "\n".join(f"  {_problem(each['loc'], each['type'], each['msg'])}" for each in problems[:MOST_PROBLEMS])
        known = ", ".join(Profile.model_fields)
        # Not chained: pydantic's error quotes what it was given.
        raise ConfigurationError(f"{where}\n{told}\n  Mend that; the settings are {known}.") from None
    return profile


def _problem(place: tuple[int | str, ...], kind: str, message: str) -> str:
    setting = ".".join(map(str, place))
    return f"{setting!r} is no setting." if kind == "extra_forbidden" else f"{setting}: {message}."


def _others_can_read(path: Path) -> bool:
    return sys.platform != "win32" and bool(stat.S_IMODE(path.stat().st_mode) & OTHERS)
