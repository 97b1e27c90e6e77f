"""An asyncio client for Quartile's batch API: any stream of items in, one honest result for each out."""

__version__ = "0.1.0"

import logging
from typing import TYPE_CHECKING

from ._account import Account
from ._client import QuartileClient
from ._credentials import LoginAuth, RefreshAuth
from ._errors import (
    APIError,
    AuthenticationError,
    ClientClosedError,
    ConfigurationError,
    JournalError,
    PermissionDeniedError,
    ProtocolError,
    QuartileError,
    QuotaExceededError,
    RateLimitError,
    ServerError,
    SharedQuotaError,
    TransportError,
)
from ._journal import Journal
from ._resources import UNMANAGED_ASINS, UNMANAGED_CAMPAIGNS, Resource
from ._results import BatchStatus, ItemResult, Outcome, Progress, Summary
from ._token_store import FileTokenStore, TokenStore
from ._tokens import StoredTokens
from ._upload import Upload

if TYPE_CHECKING:
    from ._masterlist import MASTERLIST, MasterlistItem
    from ._upload_file import upload_file

__all__ = [
    "MASTERLIST",
    "UNMANAGED_ASINS",
    "UNMANAGED_CAMPAIGNS",
    "APIError",
    "Account",
    "AuthenticationError",
    "BatchStatus",
    "ClientClosedError",
    "ConfigurationError",
    "FileTokenStore",
    "ItemResult",
    "Journal",
    "JournalError",
    "LoginAuth",
    "MasterlistItem",
    "Outcome",
    "PermissionDeniedError",
    "Progress",
    "ProtocolError",
    "QuartileClient",
    "QuartileError",
    "QuotaExceededError",
    "RateLimitError",
    "RefreshAuth",
    "Resource",
    "ServerError",
    "SharedQuotaError",
    "StoredTokens",
    "Summary",
    "TokenStore",
    "TransportError",
    "Upload",
    "upload_file",
]

logging.getLogger(__name__).addHandler(logging.NullHandler())


if not TYPE_CHECKING:  # a type checker would take any name for one that is there

    def __getattr__(name: str) -> object:
        if name == "upload_file":
            from ._upload_file import upload_file  # when it is asked for: it needs the masterlist, too

            globals()[name] = upload_file
            return upload_file
        if name not in ("MASTERLIST", "MasterlistItem"):
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from . import _masterlist  # when it is asked for: see there

        for each in ("MASTERLIST", "MasterlistItem"):
            globals()[each] = getattr(_masterlist, each)
        _show_public_names()
        return globals()[name]


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def _show_public_names() -> None:
    """Users see, and pickle, the public names."""
    for name in __all__:
        if isinstance(value := globals().get(name), type):
            value.__module__ = __name__


_show_public_names()
