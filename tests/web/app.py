"""The application of the workers in tests."""

from __future__ import annotations

import os

from fastapi import FastAPI

from quartile_async.fastapi import quartile_lifespan, uploads_router

from .conftest import current_user

app = FastAPI(lifespan=quartile_lifespan())
app.include_router(uploads_router(folder=os.environ["UPLOADS_FOLDER"], owner=current_user), prefix="/uploads")
