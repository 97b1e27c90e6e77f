"""Where tokens are kept between runs and shared between processes."""

from __future__ import annotations

import errno
import functools
import logging
import math
import os
import stat
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

import anyio
import anyio.to_thread
import pydantic
from pydantic_core import to_json

from ._tokens import StoredTokens, checked_secret

if TYPE_CHECKING:
    import filelock

VERSION: Literal[1] = 1
LOOK_EVERY = 0.05
"""Seconds between two looks at a lock that another process holds."""

logger = logging.getLogger("quartile_async")


class OvertakenError(Exception):
    """The tokens that were to be saved are not the newest any more: others have been saved since the last look."""


@runtime_checkable
class TokenStore(Protocol):
    """Keeps the tokens of one user, for any number of clients.

    Whatever these functions raise ends the uploads that need a token, with an `AuthenticationError`.
    """

    async def load(self) -> StoredTokens | None:
        """The tokens saved last; None where there are none."""
        ...

    async def save(self, tokens: StoredTokens) -> None:
        """Keeps these instead. When it returns, they must survive a crash."""
        ...

    def lock(self) -> AbstractAsyncContextManager[Any]:
        """Entered while tokens are loaded, replaced and saved: by one task of all processes at a time."""
        ...


class MemoryTokenStore:
    """For one client, and no longer than it lives."""

    def __init__(self) -> None:
        self._tokens: StoredTokens | None = None
        self._lock = anyio.Lock()

    async def load(self) -> StoredTokens | None:
        return self._tokens

    async def save(self, tokens: StoredTokens) -> None:
        self._tokens = tokens

    def lock(self) -> AbstractAsyncContextManager[Any]:
        return self._lock


class FileTokenStore:
    """Keeps tokens in a file that only its owner can read, for any number of processes on this machine.

    No password is in it. A file that cannot be read as a token store is set aside beside it, with a warning in the
    log; a login then makes a new one.

    Args:
        path: the file; `path.lock` beside it is the lock between processes.
        lock_timeout: seconds after which a lock that another process holds is an error.
    """

    def __init__(self, path: str | os.PathLike[str], *, lock_timeout: float = 60.0) -> None:
        self._path = Path(path).absolute()
        self._lock_timeout = lock_timeout

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self._path)!r})"

    async def load(self) -> StoredTokens | None:
        return await anyio.to_thread.run_sync(_load, self._path)

    async def save(self, tokens: StoredTokens) -> None:
        await anyio.to_thread.run_sync(_save, self._path, tokens)

    @asynccontextmanager
    async def lock(self) -> AsyncIterator[None]:
        import filelock  # not needed by most, and slow to import

        # A new one each time: one that is held already would be entered again by anyone who shares it. Never waited
        # for in a thread: two clients of one process would use up the threads that release it.
        lock = filelock.FileLock(f"{self._path}.lock", mode=0o600, thread_local=False)
        give_up_at = time.monotonic() + self._lock_timeout
        try:
            while not await anyio.to_thread.run_sync(_taken, lock):
                if time.monotonic() > give_up_at:
                    raise TimeoutError(
                        f"another process has held {lock.lock_file} for {self._lock_timeout:g} s; end that process "
                        "if it hangs"
                    )
                await anyio.sleep(LOOK_EVERY)
            yield
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(lock.release)


class LoginStore(FileTokenStore):
    """The tokens of one login; a refresh does not make it forget whose they are.

    Args:
        path: the file.
        user: a digest of the user's name; see `StoredTokens.user`.
    """

    def __init__(self, path: str | os.PathLike[str], user: str) -> None:
        super().__init__(path)
        self._user = user

    async def save(self, tokens: StoredTokens) -> None:
        await super().save(replace(tokens, user=tokens.user or self._user))


def tokens_in_file(path: str | os.PathLike[str]) -> StoredTokens | None:
    """What `FileTokenStore.load` gives, for callers that are not on an event loop, or may block it for a moment."""
    return _load(Path(path))


def _taken(lock: filelock.BaseFileLock) -> bool:
    import filelock

    folder = Path(lock.lock_file).parent
    if not folder.is_dir():  # filelock would make it, open to others as the umask has it
        raise FileNotFoundError(errno.ENOENT, "There is no such folder", str(folder))
    try:
        lock.acquire(blocking=False)
    except filelock.Timeout:
        return False
    return True


@dataclass(slots=True, frozen=True)
class Content:
    """What is kept, as JSON."""

    version: Literal[1]
    tokens: StoredTokens


@functools.cache  # not made at import: that takes longer than importing this
def _content() -> pydantic.TypeAdapter[Content]:
    return pydantic.TypeAdapter(Content)


def content_of(tokens: StoredTokens) -> Content:
    """What is kept of tokens."""
    return Content(VERSION, tokens)


def tokens_in(content: bytes) -> StoredTokens:
    """Raises ValueError where the JSON of what was kept is no token store."""
    # From JSON, because strictly a dict in Python is no dataclass.
    tokens = _content().validate_json(content, strict=True).tokens
    checked_secret(tokens.access_token, "access token")
    if tokens.refresh_token is not None:
        checked_secret(tokens.refresh_token, "refresh token")
    if not all(number is None or math.isfinite(number) for number in (tokens.expires_at, tokens.lifetime)):
        raise ValueError("a time that is no number")
    return tokens


def _load(path: Path) -> StoredTokens | None:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        path.chmod(0o600)
        logger.warning("The token store %s could be read by others; it no longer can.", path)
    try:
        return tokens_in(content)
    except ValueError as error:  # pydantic's ValidationError is one, and so is ConfigurationError
        aside = path.with_name(f"{path.name}.unreadable-{time.time_ns()}")
        path.replace(aside)
        # Not the error's text: it may quote a token.
        logger.warning(
            "The token store %s could not be read (%s). It was set aside as %s.", path, type(error).__name__, aside
        )
        return None


def _save(path: Path, tokens: StoredTokens) -> None:
    """Replaces the file as a whole: whenever the machine stops, it holds the old tokens or the new ones."""
    content = to_json(content_of(tokens))
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # made with mode 0600
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        with suppress(OSError):
            Path(name).unlink()
        raise
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """Makes the new name of the file survive a power cut, too."""
    with suppress(PermissionError):  # where folders cannot be opened, as on Windows
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
