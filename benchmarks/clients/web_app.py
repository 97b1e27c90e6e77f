"""An application with a trivial handler beside the router of uploads."""

from __future__ import annotations

import os

from fastapi import FastAPI

from quartile_async.fastapi import quartile_lifespan, uploads_router

app = FastAPI(lifespan=quartile_lifespan(max_in_flight=32))
app.include_router(uploads_router(folder=os.environ["UPLOADS_FOLDER"], owner=lambda: "everybody"), prefix="/uploads")


@app.get("/ping")
async def ping() -> str:
    """Does nothing."""
    return "pong"
