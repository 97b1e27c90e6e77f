"""Results as a response: NDJSON, or server-sent events, as they arrive."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

from starlette.datastructures import Headers
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from .._errors import QuartileError
from .._results import ItemResult, Tally
from .._upload import Upload
from .lines import Form, Line, Written, form_for, result_line, summary_line
from .problems import error_line, problem_of
from .pump import Pump

logger = logging.getLogger("quartile_async")

HEARTBEAT_EVERY = 15.0
"""Seconds of silence after which a heartbeat goes out."""

FIRST_WAIT = 1.0
"""Seconds for which the status line waits for the first line."""

MOST_NAMED = 20
"""Batches that one log record names."""


class FailedStreamError(Exception):
    """A stream has failed before its first line; the cause is what happened."""


def stream_results(upload: Upload[Any], *, heartbeat: float = HEARTBEAT_EVERY) -> Response:
    """A response that sends each result of an upload as it arrives.

    NDJSON, or server-sent events where the request's Accept header asks for them. The lines are objects with a `type`:
    "result" for each item, then one "summary" or "error" (with the number of items that are unaccounted for); now and
    then a "heartbeat". An error of the vendor's API before the first result is an answer of status 502 or 503 instead.
    A client that reads slowly slows the upload down; one that goes away ends it, and the log names what was submitted.

    Args:
        upload: one that has not been started.
        heartbeat: seconds of silence after which a heartbeat goes out.
    """
    return LineResponse(lines_of(upload), heartbeat=heartbeat)


async def lines_of(upload: Upload[Any]) -> AsyncIterator[Line]:
    """The lines of an upload.

    Raises:
        FailedStreamError: it has failed before its first result.
    """
    tally, ended = Tally(), False
    try:
        async with upload:
            async for result in upload:
                tally.add((result,))
                yield result_line(result)
        ended = True
        progress = upload.progress
        yield summary_line(tally.summary(batches=progress.batches_submitted, seconds=seconds_of(upload)))
    except Exception as error:
        ended = True
        unaccounted = upload.unaccounted
        _log_error(error, tally.items, unaccounted)
        if not tally.items:
            raise FailedStreamError from error
        yield error_line(error, len(unaccounted))
    finally:
        if not ended:
            _log_left(tally.items, upload.unaccounted)


def seconds_of(upload: Upload[Any]) -> float:
    """How long an upload has run."""
    progress = upload.progress
    return progress.done / progress.rate if progress.rate else 0.0


def _log_error(error: Exception, sent: int, unaccounted: list[ItemResult[Any]]) -> None:
    logger.error(
        "An upload that was streamed has ended by an error after %d results; %d items are unaccounted for%s. %s",
        sent,
        len(unaccounted),
        _batches_of(unaccounted),
        error,
        exc_info=None if isinstance(error, QuartileError) else error,
    )


def _log_left(sent: int, unaccounted: list[ItemResult[Any]]) -> None:
    logger.warning(
        "A stream was left after %d results; %d items are unaccounted for%s.",
        sent,
        len(unaccounted),
        _batches_of(unaccounted),
    )


def _batches_of(unaccounted: list[ItemResult[Any]]) -> str:
    """The batches that the server has, and whose end nobody awaits."""
    batches = list(dict.fromkeys(result.batch_id for result in unaccounted if result.batch_id))
    if not batches:
        return ""
    more = f" and {len(batches) - MOST_NAMED} more" if len(batches) > MOST_NAMED else ""
    return f" (in batches that may complete: {', '.join(batches[:MOST_NAMED])}{more})"


class LineResponse(Response):
    """A response of lines, written as they come.

    The status line waits a moment for the first one, so that what fails at once has a status of its own.
    """

    def __init__(self, lines: AsyncIterator[Line], *, heartbeat: float) -> None:
        super().__init__()
        self._lines = lines
        self._heartbeat = heartbeat

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        form = form_for(Headers(scope=scope).get("accept", ""))
        async with Pump(self._lines) as pump:
            gone = asyncio.create_task(_disconnected(receive), name="quartile_async disconnect")
            gone.add_done_callback(lambda _: pump.wake())
            try:
                await pump.more(FIRST_WAIT)
                if pump.error is not None:
                    await _answer_for(pump.error)(scope, receive, send)
                    return
                await send({"type": "http.response.start", "status": 200, "headers": self._headers_of(form)})
                await self._write(Written(form), pump, gone, send)
            except OSError:  # how a server may say that the client has gone
                return
            finally:
                gone.cancel()

    def _headers_of(self, form: Form) -> list[tuple[bytes, bytes]]:
        own = [header for header in self.raw_headers if header[0] not in (b"content-length", b"content-type")]
        return [
            *own,
            (b"content-type", f"{form}; charset=utf-8".encode()),
            (b"cache-control", b"no-store"),
            (b"x-accel-buffering", b"no"),  # nginx would hold lines back
        ]

    async def _write(self, written: Written, pump: Pump, gone: asyncio.Task[None], send: Send) -> None:
        while not pump.is_over and not gone.done():
            await pump.more(self._heartbeat)
            if gone.done():
                return
            if pump.error is not None and not isinstance(pump.error, FailedStreamError):
                raise pump.error
            lines = pump.take()
            body = b"".join(map(written.line, lines)) if lines else b""
            if pump.error is not None:  # it has failed after the status line, and before the first result
                cause = pump.error.__cause__
                assert isinstance(cause, Exception)
                body += written.line(error_line(cause, len(getattr(cause, "unaccounted", ()))))
            elif not lines and not pump.is_over:
                body = written.heartbeat
            if body:
                await send({"type": "http.response.body", "body": body, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def _answer_for(error: Exception) -> Response:
    cause = error.__cause__ if isinstance(error, FailedStreamError) else error
    problem = problem_of(cause) if isinstance(cause, Exception) else None
    if problem is None:
        raise cause or error
    return JSONResponse({"detail": problem.detail}, problem.status, problem.headers)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
