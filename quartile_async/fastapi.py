"""In a FastAPI application: one client, results as they arrive, and uploads that outlive their request.

    app = FastAPI(lifespan=quartile_lifespan())
    app.include_router(uploads_router(folder="uploads", owner=current_user), prefix="/uploads")

    @app.post("/targets")
    async def set_targets(items: list[MasterlistItem], client: Client):
        return stream_results(client.upload(MASTERLIST, items))

It needs the extra `fastapi`.
"""

from __future__ import annotations

from typing import Annotated, TypeAlias

from fastapi import Depends

from ._client import QuartileClient
from ._web.client import client_of, quartile_lifespan
from ._web.router import uploads_router
from ._web.streaming import stream_results

__all__ = ["Client", "quartile_lifespan", "stream_results", "uploads_router"]

Client: TypeAlias = Annotated[QuartileClient, Depends(client_of)]
"""The application's client, as a dependency."""
