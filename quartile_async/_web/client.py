"""One client for each application."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection

from .._client import QuartileClient
from .._errors import ConfigurationError
from .problems import SHUTTING_DOWN

Lifespan = Callable[[Any], AbstractAsyncContextManager[None]]

PLACE = "quartile_client"
"""The name under which an application's `state` has its client."""


def quartile_lifespan(**options: Any) -> Lifespan:
    """A lifespan that opens one client for the application, and closes it at the end.

    In a lifespan of one's own: `async with quartile_lifespan()(app): yield`.

    Args:
        options: those of `QuartileClient`; what is not given comes from the environment, as for `from_env`.

    Raises:
        ConfigurationError: at start-up, where a setting is missing or cannot be used.
    """

    @asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[None]:
        async with QuartileClient.from_env(**options) as client:
            setattr(app.state, PLACE, client)
            yield

    return lifespan


def client_of(connection: HTTPConnection) -> QuartileClient:
    """The client of the application that a request or a websocket belongs to.

    Raises:
        ConfigurationError: the application has no `quartile_lifespan`.
        HTTPException: 503, the application is shutting down.
    """
    client = getattr(connection.app.state, PLACE, None)
    if client is None:
        raise ConfigurationError(NO_CLIENT)
    if client._closed:  # one package
        raise HTTPException(SHUTTING_DOWN.status, SHUTTING_DOWN.detail, SHUTTING_DOWN.headers)
    found: QuartileClient = client
    return found


NO_CLIENT = (
    "The application has no Quartile client. Give it one: FastAPI(lifespan=quartile_lifespan()), or, in a lifespan of "
    "your own, async with quartile_lifespan()(app): yield."
)
