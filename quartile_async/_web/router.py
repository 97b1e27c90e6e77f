"""The router of uploads: what can be asked for, and how it is answered."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Any, NoReturn

import anyio.to_thread
import pydantic
from fastapi import APIRouter, Depends, Header, HTTPException, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.requests import ClientDisconnect

from .._errors import ConfigurationError
from .._resources import UNMANAGED_ASINS, UNMANAGED_CAMPAIGNS, Resource
from .bodies import BodyTooLargeError, InvalidBodyError, UploadRequest, Wanted, parsed, read_body
from .client import NO_CLIENT, PLACE
from .lines import Form
from .problems import SHUTTING_DOWN, SOON
from .records import OtherItemsError, State, StoppingError, Stored, TooManyError
from .streaming import HEARTBEAT_EVERY, LineResponse
from .uploads import ClosingError, Uploads

MOST_POSITION = 10**12

UPLOADS_PLACE = "quartile_uploads"
"""The name under which an application's `state` has the uploads of its routers."""


class StartedUpload(pydantic.BaseModel):
    """An upload that goes on by itself."""

    id: str


class UploadProgress(pydantic.BaseModel):
    """The counts so far; `rate` is in items per second."""

    read: int
    done: int
    succeeded: int
    failed: int
    rejected: int
    unknown: int
    batches_submitted: int
    batches_finished: int
    in_flight: int
    rate: float


class UploadState(pydantic.BaseModel):
    """How an upload stands. `created` is Unix time; `last` the stream's last line, once it has ended."""

    id: str
    state: State
    resource: str
    items: int
    created: float
    progress: UploadProgress | None
    last: dict[str, Any] | None


class Detail(pydantic.BaseModel):
    """What is wrong."""

    detail: str


class Invalid(pydantic.BaseModel):
    """What is wrong with a body, in FastAPI's own shape: each with `loc`, `msg` and `type`."""

    detail: list[dict[str, Any]]


def _said(*statuses: HTTPStatus) -> dict[int | str, dict[str, Any]]:
    words = {
        HTTPStatus.NOT_FOUND: "There is no such upload of yours.",
        HTTPStatus.CONFLICT: "There is an upload of that id, with other items, or it is just being stopped.",
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "The body is too large.",
        HTTPStatus.TOO_MANY_REQUESTS: "As many uploads as may be are under way.",
        HTTPStatus.SERVICE_UNAVAILABLE: "The application is shutting down.",
    }
    return {int(status): {"model": Detail, "description": words[status]} for status in statuses}


@dataclass(slots=True, frozen=True, eq=False)
class Settings:
    """What a router takes.

    Attributes:
        folder: where uploads are kept.
        resources: name -> what can be uploaded.
        most_open: uploads that may not have ended at once.
        most_running: uploads that one process runs at once.
        most_bytes: of a body.
        heartbeat: seconds of silence after which a stream has a heartbeat.
    """

    folder: Path
    resources: Mapping[str, Resource[Any]]
    most_open: int
    most_running: int
    most_bytes: int
    heartbeat: float


@dataclass(slots=True, frozen=True)
class Context:
    """What a request is answered with."""

    settings: Settings
    uploads: Uploads
    owner: str


def uploads_router(
    *,
    folder: str | Path,
    owner: Callable[..., Any],
    resources: Mapping[str, Resource[Any]] | None = None,
    max_open: int = 1_000,
    max_running: int = 64,
    max_body_bytes: int = 8 * 1024 * 1024,
    heartbeat: float = HEARTBEAT_EVERY,
) -> APIRouter:
    """A router for uploads that outlive their request, and the application.

    `POST` begins one and answers 202; `GET /{id}` tells how it stands, `GET /{id}/results` streams its results,
    `DELETE /{id}` stops it, and `GET` lists them. The application needs `quartile_lifespan`. Uploads are written down
    in the folder, by which any number of workers share them: each answers for all, one runs each, and after a restart
    they are gone on with.

    Args:
        folder: where uploads are kept; made where it is not there. It holds the items that were uploaded.
        owner: a dependency that gives a string which says whose upload this is, or raises. Uploads are visible to their
            owner alone.
        resources: name -> what can be uploaded; None: masterlist, unmanaged-asins and unmanaged-campaigns.
        max_open: uploads that may not have ended at once, of all workers; above it a POST is refused with 429.
        max_running: uploads that one process runs at once; the others wait.
        max_body_bytes: above it a POST is refused with 413.
        heartbeat: seconds of silence after which a stream of results has a heartbeat.

    Raises:
        ConfigurationError: at start-up, where the application has no client.
    """
    known = dict(_default_resources() if resources is None else resources)
    settings = Settings(Path(folder), known, max_open, max_running, max_body_bytes, heartbeat)
    router = APIRouter(
        lifespan=_lifespan_of(settings), dependencies=[Depends(_context_of(settings, owner))], tags=["uploads"]
    )
    _add_routes(router)
    return router


def _lifespan_of(settings: Settings) -> Callable[[Any], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[None]:
        client = getattr(app.state, PLACE, None)
        if client is None:
            raise ConfigurationError(NO_CLIENT)
        async with Uploads(
            settings.folder,
            client,
            settings.resources,
            most_open=settings.most_open,
            most_running=settings.most_running,
        ) as uploads:
            setattr(app.state, UPLOADS_PLACE, getattr(app.state, UPLOADS_PLACE, {}) | {settings: uploads})
            yield

    return lifespan


def _context_of(settings: Settings, owner: Callable[..., Any]) -> Callable[..., Any]:
    async def remember(request: Request, owner: Any = Depends(owner)) -> None:  # noqa: B008  # as FastAPI has it
        uploads = getattr(request.app.state, UPLOADS_PLACE, {}).get(settings)
        if uploads is None:
            raise ConfigurationError("The uploads were not started: the application's lifespan has not run.")
        if not isinstance(owner, str) or not owner:
            raise ConfigurationError(f"The dependency `owner` has to give a string that is not empty, not {owner!r}.")
        request.state.quartile_uploads = Context(settings, uploads, owner)

    return remember


def _remembered(request: Request) -> Context:
    context: Context = request.state.quartile_uploads
    return context


TheContext = Annotated[Context, Depends(_remembered)]


async def _upload_of(id: str, context: TheContext) -> Stored:  # noqa: A002  # as the path has it
    stored = await context.uploads.find(context.owner, id)
    if stored is None:
        raise HTTPException(HTTPStatus.NOT_FOUND, "There is no such upload.")
    return stored


TheUpload = Annotated[Stored, Depends(_upload_of)]


async def begin_upload(request: Request, response: Response, context: TheContext) -> StartedUpload:
    """Begins an upload, or answers for the one of that id with the same items.

    One that was stopped or has failed is gone on with.
    """
    wanted = await _wanted(request, context.settings)
    stored = await _begun(context, wanted)
    response.headers["Location"] = f"{request.url.path.rstrip('/')}/{stored.info.id}"
    return StartedUpload(id=stored.info.id)


async def list_uploads(context: TheContext) -> list[UploadState]:
    """Yours, the newest first."""
    return [UploadState(**told) for told in await context.uploads.of(context.owner)]


async def get_upload(upload: TheUpload, context: TheContext) -> UploadState:
    """How an upload stands."""
    return UploadState(**await context.uploads.told(upload))


async def get_results(
    upload: TheUpload,
    context: TheContext,
    after: Annotated[
        int | None, Query(ge=-1, le=MOST_POSITION, description="The `position` of the last line that is known.")
    ] = None,
    last_event_id: Annotated[str | None, Header(include_in_schema=False)] = None,
) -> Response:
    """The results as they come: NDJSON, or server-sent events where Accept asks for them.

    They are lines with a `type`; the last one is a summary or an error.
    """
    lines = context.uploads.lines(upload, _next_position(after, last_event_id))
    return LineResponse(lines, heartbeat=context.settings.heartbeat)


async def stop_upload(upload: TheUpload, context: TheContext) -> UploadState:
    """Nothing more is submitted; what is in flight is finished. An upload that has ended stays as it is."""
    await context.uploads.stop(upload)
    return UploadState(**await context.uploads.told(upload))


def _add_routes(router: APIRouter) -> None:
    not_there = _said(HTTPStatus.NOT_FOUND)
    refused = _said(
        HTTPStatus.CONFLICT,
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        HTTPStatus.TOO_MANY_REQUESTS,
        HTTPStatus.SERVICE_UNAVAILABLE,
    ) | {422: {"model": Invalid, "description": "The body, or items in it, are invalid."}}
    body = {"required": True, "content": {"application/json": {"schema": UploadRequest.model_json_schema()}}}
    router.add_api_route(
        "",
        begin_upload,
        methods=["POST"],
        status_code=HTTPStatus.ACCEPTED,
        responses=refused,
        openapi_extra={"requestBody": body},
    )
    router.add_api_route("", list_uploads, methods=["GET"])
    router.add_api_route("/{id}", get_upload, methods=["GET"], responses=not_there)
    router.add_api_route(
        "/{id}/results",
        get_results,
        methods=["GET"],
        response_class=Response,
        responses=not_there | {200: {"description": "Lines.", "content": _CONTENT}},
    )
    router.add_api_route("/{id}", stop_upload, methods=["DELETE"], status_code=HTTPStatus.ACCEPTED, responses=not_there)


_CONTENT = {str(form): {"schema": {"type": "string"}} for form in Form}


def _default_resources() -> dict[str, Resource[Any]]:
    from .._masterlist import MASTERLIST

    return {
        "masterlist": MASTERLIST,
        "unmanaged-asins": UNMANAGED_ASINS,
        "unmanaged-campaigns": UNMANAGED_CAMPAIGNS,
    }


def _next_position(after: int | None, last_event_id: str | None) -> int:
    if after is not None:
        return after + 1
    known = last_event_id or ""
    return int(known) + 1 if known.isdecimal() and len(known) < len(str(MOST_POSITION)) else 0


async def _wanted(request: Request, settings: Settings) -> Wanted:
    try:
        body = await read_body(request.headers, request.stream(), settings.most_bytes)
        # Large bodies take a while, in which the loop has other things to do.
        return await anyio.to_thread.run_sync(parsed, body, settings.resources)
    except BodyTooLargeError:
        raise HTTPException(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            f"The body may have at most {settings.most_bytes} bytes. Send it in parts.",
        ) from None
    except ClientDisconnect:
        raise HTTPException(HTTPStatus.BAD_REQUEST, "The body has not come to its end.") from None
    except InvalidBodyError as error:
        raise RequestValidationError(error.problems) from None


async def _begun(context: Context, wanted: Wanted) -> Stored:
    # Shielded: a client that goes away leaves no upload half begun.
    beginning = asyncio.ensure_future(context.uploads.start(context.owner, wanted.id, wanted.resource, wanted.items))
    try:
        return await asyncio.shield(beginning)
    except OtherItemsError:
        raise HTTPException(HTTPStatus.CONFLICT, f"There is an upload {wanted.id!r} with other items.") from None
    except StoppingError:
        words = f"The upload {wanted.id!r} is being stopped: ask again when it has ended."
        raise HTTPException(HTTPStatus.CONFLICT, words, {"Retry-After": f"{SOON:.0f}"}) from None
    except TooManyError:
        _refuse(HTTPStatus.TOO_MANY_REQUESTS, "As many uploads as may be are under way.", SOON)
    except ClosingError:
        _refuse(SHUTTING_DOWN.status, SHUTTING_DOWN.detail, SOON)


def _refuse(status: HTTPStatus, detail: str, seconds: float) -> NoReturn:
    raise HTTPException(status, detail, {"Retry-After": f"{seconds:.0f}"}) from None
