"""Traces and metrics, read back from OpenTelemetry's exporters in memory."""

from __future__ import annotations

import asyncio
import gc
import importlib.metadata
import json
import logging
import re
import subprocess
import sys
import time
import weakref
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from opentelemetry import trace
from opentelemetry.context import _SUPPRESS_HTTP_INSTRUMENTATION_KEY, get_value
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import HistogramDataPoint, InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.semconv.attributes import error_attributes, http_attributes, server_attributes, url_attributes
from opentelemetry.semconv.metrics import http_metrics

from quartile_async import (
    MASTERLIST,
    AuthenticationError,
    ClientClosedError,
    LoginAuth,
    QuartileClient,
    QuotaExceededError,
    _tracing,
)
from quartile_async import opentelemetry as integration
from quartile_async._telemetry import late
from quartile_async._traces import RequestTrace
from quartile_async.emulator import Emulator, Fault, ThreadedEmulator
from quartile_async.events import BatchSubmitted, Event
from quartile_async.opentelemetry import QuartileInstrumentor

from .behaviour.conftest import client_for, item, items, nothing_is_left, until


class Telemetry:
    """Everything that is exported."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        self._reader = InMemoryMetricReader()
        self.tracers = TracerProvider()
        self.tracers.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.meters = MeterProvider([self._reader])
        self.tracer = self.tracers.get_tracer("the caller's")

    @property
    def spans(self) -> Sequence[ReadableSpan]:
        """Those that have ended."""
        return self._exporter.get_finished_spans()

    def named(self, name: str) -> list[ReadableSpan]:
        """Those whose name begins so."""
        return [span for span in self.spans if span.name.startswith(name)]

    def points(self, name: str) -> list[Any]:
        data = self._reader.get_metrics_data()
        assert data is not None
        metrics = [each for all_of in data.resource_metrics for scope in all_of.scope_metrics for each in scope.metrics]
        (metric,) = (each for each in metrics if each.name == name)
        return list(metric.data.data_points)

    def values(self, name: str, *by: str) -> dict[Any, float]:
        """What a counter came to, by the values of these attributes."""
        found: dict[Any, float] = {}
        for point in self.points(name):
            key = tuple((point.attributes or {}).get(each) for each in by)
            found[key[0] if len(key) == 1 else key] = found.get(key, 0) + point.value
        return found

    def as_json(self) -> str:
        data = self._reader.get_metrics_data()
        return "".join(span.to_json() for span in self.spans) + ("" if data is None else data.to_json())

    def picture(self) -> str:
        """The tree of the spans, in the order in which they began, each with what it says."""
        return "\n".join(self._lines(None, ""))

    def _lines(self, parent: int | None, margin: str) -> Iterator[str]:
        for span in sorted(self.spans, key=lambda span: span.start_time or 0):
            if (span.parent.span_id if span.parent else None) == parent:
                yield f"{margin}{span.name}{told(span)}"
                for event in span.events:
                    seconds = (event.attributes or {})["quartile.wait.seconds"]
                    assert isinstance(seconds, float)
                    yield f"{margin}    * {event.name} {int(seconds)} s"
                yield from self._lines(span.get_span_context().span_id, f"{margin}    ")


NOT_SHOWN = {"server.address", "server.port", "url.full", "url.template", "http.request.method", "quartile.resource"}
PREFIXES = re.compile(r"(http\.response|http\.request|quartile\.items|quartile\.batch|quartile)\.")


def told(span: ReadableSpan) -> str:
    shown = {
        PREFIXES.sub("", name, count=1): "..." if name == "quartile.batch.id" else value
        for name, value in attributes_of(span).items()
        if name not in NOT_SHOWN and not (name.startswith("quartile.items.") and value == 0)
    }
    mark = "" if span.status.is_unset else f" {span.status.status_code.name}"
    return mark + "".join(f" {name}={value}" for name, value in sorted(shown.items()))


def attributes_of(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def counts_of(span: ReadableSpan) -> dict[str, int]:
    """How many items of each outcome there were."""
    prefix = "quartile.items."
    return {name.removeprefix(prefix): count for name, count in attributes_of(span).items() if prefix in name and count}


@pytest_asyncio.fixture
async def emulator() -> AsyncIterator[Emulator]:
    async with Emulator(processing=0.01) as emulator:
        yield emulator


@pytest.fixture
def telemetry() -> Iterator[Telemetry]:
    telemetry = Telemetry()
    QuartileInstrumentor().instrument(tracer_provider=telemetry.tracers, meter_provider=telemetry.meters)
    yield telemetry
    QuartileInstrumentor().uninstrument()
    telemetry.meters.shutdown()


TREE = """\
nightly job
    upload process/masterlist account=acme batches=3 ended_by=input failed=1 items=250 rejected=1 succeeded=248
        batch process/masterlist account=acme id=... items=100 resent=True status=SUCCESS succeeded=100
            PATCH /amazon/v2/process/masterlist ERROR error.type=503 status_code=503
            PATCH /amazon/v2/process/masterlist resend_count=1 status_code=200
            GET /amazon/v2/batch/{batch_id} status_code=200
        batch process/masterlist account=acme id=... items=100 status=SUCCESS succeeded=100
            * quartile.throttled 1 s
            PATCH /amazon/v2/process/masterlist ERROR error.type=429 status_code=429
            PATCH /amazon/v2/process/masterlist resend_count=1 status_code=200
            GET /amazon/v2/batch/{batch_id} status_code=200
        batch process/masterlist account=acme failed=1 id=... items=49 status=PARTIAL succeeded=48
            PATCH /amazon/v2/process/masterlist status_code=200
            GET /amazon/v2/batch/{batch_id} status_code=206"""


async def test_the_tree_of_an_upload_with_a_retry_a_throttle_and_a_partial_failure(telemetry: Telemetry) -> None:
    fails = lambda each: "no such product" if each["asin"] == item(205)["asin"] else None  # noqa: E731  # short
    async with Emulator(processing=0.0, fail=fails) as emulator:
        emulator.add(Fault(on="submit", times=1, status=503, body={"detail": "busy"}))
        emulator.add(Fault(on="submit", after=1, times=1, status=429, headers={"Retry-After": "1"}))
        async with client_for(emulator, max_in_flight=1, account="acme") as client:
            with telemetry.tracer.start_as_current_span("nightly job"):
                summary = await client.upload(MASTERLIST, [*items(249), {"asin": "", "countryCode": "US"}]).summary()

    assert (summary.succeeded, summary.failed, summary.rejected) == (248, 1, 1)
    assert telemetry.picture() == TREE
    port = int(emulator.url.rsplit(":", 1)[1])
    ids = {batch.id for batch in emulator.batches}
    assert {span.attributes["quartile.batch.id"] for span in telemetry.named("batch ") if span.attributes} == ids
    for span in telemetry.spans:
        attributes = span.attributes or {}
        assert span.kind is (trace.SpanKind.CLIENT if "http.request.method" in attributes else trace.SpanKind.INTERNAL)
        if span.kind is trace.SpanKind.CLIENT:
            assert (attributes["server.address"], attributes["server.port"]) == ("127.0.0.1", port)
            assert span.name == f"{attributes['http.request.method']} {attributes['url.template']}"
            urls = {f"{emulator.url}/amazon/v2/batch/{each}" for each in ids}
            assert attributes["url.full"] in urls | {f"{emulator.url}/amazon/v2/process/masterlist"}


async def test_metrics_of_an_upload(telemetry: Telemetry) -> None:
    fails = lambda each: "no" if each["asin"] == item(5)["asin"] else None  # noqa: E731  # short
    async with Emulator(processing=0.0, fail=fails) as emulator:
        emulator.add(Fault(on="submit", times=1, status=429, headers={"Retry-After": "1"}))
        async with client_for(emulator, account="acme") as client:
            upload = client.upload(MASTERLIST, [*items(250), {"asin": ""}])
            await upload.collect()

    outcomes = telemetry.values("quartile.items", "quartile.outcome", "quartile.account", "quartile.resource")
    acme = ("acme", MASTERLIST.path)
    assert outcomes == {("succeeded", *acme): 249, ("failed", *acme): 1, ("rejected", *acme): 1}
    assert telemetry.values("quartile.batches.active", "quartile.account") == {"acme": 0}
    polls = sum(record.kind == "poll" for record in emulator.requests)
    assert telemetry.values("quartile.polls", "quartile.resource") == {MASTERLIST.path: polls}
    assert telemetry.values("quartile.throttled.time", "quartile.throttled.reason")["429"] == pytest.approx(1, abs=0.2)
    points: list[HistogramDataPoint] = telemetry.points("http.client.request.duration")
    assert sum(point.count for point in points) == len(emulator.requests)
    assert {
        (
            point.attributes["url.template"],
            point.attributes["http.response.status_code"],
            point.attributes.get("error.type"),
        )
        for point in points
        if point.attributes
    } == {
        ("/amazon/v2/process/masterlist", 429, "429"),
        ("/amazon/v2/process/masterlist", 200, None),
        ("/amazon/v2/batch/{batch_id}", 200, None),
        ("/amazon/v2/batch/{batch_id}", 206, None),
    }
    assert points[0].explicit_bounds[0] == 0.005
    assert all("url.full" not in (point.attributes or {}) for point in points)


async def test_batches_in_flight_are_counted_while_they_are(telemetry: Telemetry) -> None:
    async with Emulator(processing=60.0) as emulator, client_for(emulator, max_in_flight=3) as client:
        running = asyncio.ensure_future(client.upload(MASTERLIST, items(1000)).collect())
        await until(lambda: len(emulator.batches) == 3)

        assert telemetry.values("quartile.batches.active", "quartile.resource") == {MASTERLIST.path: 3}
        running.cancel()
        await asyncio.wait([running])
        assert telemetry.values("quartile.batches.active", "quartile.resource") == {MASTERLIST.path: 0}


# The caller's context


async def test_two_uploads_at_once_are_each_within_their_callers_span(telemetry: Telemetry, emulator: Emulator) -> None:
    async def job(client: QuartileClient, number: int) -> int:
        with telemetry.tracer.start_as_current_span(f"job {number}") as span:
            await client.upload(MASTERLIST, [item(number * 1000 + place) for place in range(300)]).collect()
            assert trace.get_current_span() is span
        return span.get_span_context().trace_id

    async with client_for(emulator, max_in_flight=2) as client:
        traces = await asyncio.gather(job(client, 1), job(client, 2))

    assert trace.get_current_span() is trace.INVALID_SPAN
    assert len(set(traces)) == 2
    for trace_id in traces:
        within = [span.name for span in telemetry.spans if span.context and span.context.trace_id == trace_id]
        assert len([name for name in within if name.startswith("batch ")]) == 3
        assert len([name for name in within if name.startswith("upload ")]) == 1
        assert len([name for name in within if name.startswith("PATCH ")]) == 3
    assert telemetry.picture().count("\n    upload ") == 2


async def test_an_upload_that_a_hook_begins_is_within_the_batch_and_its_batches_within_it(
    telemetry: Telemetry, emulator: Emulator
) -> None:
    begun: list[asyncio.Task[Any]] = []

    def begin(event: Event) -> None:
        if isinstance(event, BatchSubmitted) and not begun:
            begun.append(asyncio.ensure_future(client.upload(MASTERLIST, [item(1000)]).collect()))

    async with client_for(emulator, on_event=begin) as client:
        await client.upload(MASTERLIST, items(1)).collect()
        await begun[0]

    names = {span.get_span_context().span_id: span.name.split()[0] for span in telemetry.spans}
    parents = [(span.name.split()[0], names[span.parent.span_id]) for span in telemetry.spans if span.parent]
    assert sorted(each for each in parents if each[0] in ("batch", "upload")) == [
        ("batch", "upload"),
        ("batch", "upload"),
        ("upload", "batch"),
    ]


async def test_what_a_thread_asks_for_is_the_batch_that_it_works_for(telemetry: Telemetry, emulator: Emulator) -> None:
    asked: list[trace.SpanContext] = []

    def vault() -> str:
        asked.append(trace.get_current_span().get_span_context())
        return emulator.access_token

    async def token() -> str:
        return await asyncio.to_thread(vault)

    async with client_for(emulator, auth=token) as client:
        await client.upload(MASTERLIST, items(1)).collect()

    assert asked == [exported(telemetry, "batch ").get_span_context()]


async def test_what_reads_the_input_is_within_the_uploads_span_and_the_consumer_is_not(
    telemetry: Telemetry, emulator: Emulator
) -> None:
    async def rows() -> AsyncIterator[dict[str, Any]]:
        for row in items(3):
            with telemetry.tracer.start_as_current_span("SELECT"):
                await asyncio.sleep(0)
            yield row

    async with client_for(emulator) as client:
        with telemetry.tracer.start_as_current_span("job") as job:
            async with client.upload(MASTERLIST, rows()) as upload:
                async for _ in upload:
                    assert trace.get_current_span() is job
            assert trace.get_current_span() is job

    (uploaded,) = telemetry.named("upload ")
    assert {span.parent.span_id for span in telemetry.named("SELECT") if span.parent} == {
        uploaded.get_span_context().span_id
    }


async def test_one_level_down_there_are_spans_of_requests_within_the_callers(
    telemetry: Telemetry, emulator: Emulator
) -> None:
    emulator.add(Fault(on="submit", times=1, status=429, headers={"Retry-After": "0"}))
    async with client_for(emulator) as client:
        with telemetry.tracer.start_as_current_span("by hand") as span:
            await client.wait(await client.submit(MASTERLIST, items(2)))
            assert trace.get_current_span() is span

    patches, gets = telemetry.named("PATCH "), telemetry.named("GET ")
    assert len(patches) == 2
    assert len(gets) >= 1
    assert {each.parent.span_id for each in (*patches, *gets) if each.parent} == {span.get_span_context().span_id}
    assert telemetry.named("by hand")[0].events == (), "spans of the caller's are left as they are"


async def test_log_records_of_a_batch_are_written_within_its_span(
    telemetry: Telemetry, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[trace.Span] = []
    monkeypatch.setattr(logging.Handler, "emit", lambda handler, record: heard.append(trace.get_current_span()))
    logger, handler = logging.getLogger("quartile_async"), logging.Handler()
    logger.addHandler(handler)
    monkeypatch.setattr(logger, "level", logging.INFO)
    logger.manager._clear_cache()
    try:
        async with client_for(emulator) as client:
            await client.upload(MASTERLIST, items(1)).collect()
    finally:
        logger.removeHandler(handler)
        monkeypatch.undo()
        logger.manager._clear_cache()

    assert {getattr(span, "name", None) for span in heard} == {"batch process/masterlist"}


# When spans are written


def exported(telemetry: Telemetry, name: str) -> ReadableSpan:
    (span,) = telemetry.named(name)
    return span


async def begun_request(path: str) -> RequestTrace:
    """A request whose answer is still to come."""
    assert _tracing.active is not None
    return _tracing.active.request("POST", "http://127.0.0.1", path, path, 0, watched=False)


async def test_while_a_batch_goes_on_its_requests_are_written(
    telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(late, "DELAY", 0.01)
    async with Emulator(processing=60.0) as emulator, client_for(emulator) as client:
        uploading = asyncio.ensure_future(client.upload(MASTERLIST, items(1)).collect())
        await until(lambda: bool(telemetry.named("PATCH ")) and bool(telemetry.named("GET ")))

        assert telemetry.named("batch ") == []
        within = {span.parent.span_id for span in telemetry.spans if span.parent}
        uploading.cancel()
        await asyncio.wait([uploading])
    assert within == {exported(telemetry, "batch ").get_span_context().span_id}


@pytest.mark.parametrize(("delay", "many"), [(0.01, 10_000), (3600.0, 2)])
async def test_batches_that_have_ended_are_written_soon_or_once_they_are_many(
    telemetry: Telemetry, emulator: Emulator, monkeypatch: pytest.MonkeyPatch, delay: float, many: int
) -> None:
    monkeypatch.setattr(late, "DELAY", delay)
    monkeypatch.setattr(late, "MANY", many)
    held, go_on = asyncio.Event(), asyncio.Event()

    async def rows() -> AsyncIterator[dict[str, Any]]:
        for row in items(200):
            yield row
        held.set()
        await go_on.wait()

    async with client_for(emulator) as client:
        uploading = asyncio.ensure_future(client.upload(MASTERLIST, rows()).collect())
        await held.wait()
        await until(lambda: len(telemetry.named("batch ")) == 2)
        assert telemetry.named("upload ") == []
        go_on.set()
        await uploading


async def test_a_span_has_the_times_of_what_it_tells_of_not_of_when_it_was_written(
    telemetry: Telemetry, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(late, "DELAY", 3600.0)
    delivered, go_on = asyncio.Event(), asyncio.Event()

    async def rows() -> AsyncIterator[dict[str, Any]]:
        yield item(1)
        await go_on.wait()

    async def upload(client: QuartileClient) -> None:
        async for _ in client.upload(MASTERLIST, rows()):
            delivered.set()

    before = time.time_ns()
    async with client_for(emulator, linger=0.0) as client:
        uploading = asyncio.ensure_future(upload(client))
        await delivered.wait()
        after = time.time_ns()
        go_on.set()
        await uploading

    patch, batch = exported(telemetry, "PATCH "), exported(telemetry, "batch ")
    assert batch.start_time and batch.end_time and patch.start_time and patch.end_time  # noqa: PT018  # for mypy
    assert before <= batch.start_time <= patch.start_time < patch.end_time <= batch.end_time <= after


async def test_a_span_that_is_asked_about_before_it_is_written_is_the_one_that_is_exported(
    telemetry: Telemetry, emulator: Emulator
) -> None:
    asked: list[trace.SpanContext] = []

    async def token() -> str:
        span = trace.get_current_span()
        span.set_attribute("asked", True)
        with telemetry.tracer.start_as_current_span("vault"):
            asked.append(span.get_span_context())
        return emulator.access_token

    async with client_for(emulator, auth=token) as client:
        await client.upload(MASTERLIST, items(1)).collect()

    batch, vault = exported(telemetry, "batch "), exported(telemetry, "vault")
    assert asked == [batch.get_span_context()]
    assert vault.parent == asked[0]
    assert attributes_of(batch)["asked"] is True
    assert counts_of(batch) == {"succeeded": 1}


async def test_a_processor_may_ask_for_the_span_that_is_being_made(telemetry: Telemetry, emulator: Emulator) -> None:
    class Curious(SpanProcessor):
        def on_start(self, span: Any, parent_context: Any = None) -> None:
            trace.get_current_span().get_span_context()

    telemetry.tracers.add_span_processor(Curious())

    async def token() -> str:
        assert trace.get_current_span().get_span_context().is_valid
        return emulator.access_token

    async with client_for(emulator, auth=token) as client:
        await client.upload(MASTERLIST, items(1)).collect()

    assert len(telemetry.named("batch ")) == 1


async def test_a_request_for_a_token_that_outlasts_its_batch_is_within_it_all_the_same(telemetry: Telemetry) -> None:
    assert _tracing.active is not None
    with _tracing.active.upload({"resource": "process/masterlist"}, "http://127.0.0.1") as upload:
        batch = upload.batch(1, resumed=False)
        request = await asyncio.create_task(begun_request("/auth/v2/login"))
        batch.ended(None, resent=False)
    request.answered(201)

    login = exported(telemetry, "POST ")
    assert login.parent == exported(telemetry, "batch ").get_span_context()
    assert attributes_of(login)["http.response.status_code"] == 201


async def test_what_was_traced_needs_no_garbage_collection_to_go(telemetry: Telemetry, emulator: Emulator) -> None:
    spans: list[weakref.ref[trace.Span]] = []

    async def token() -> str:
        spans.append(weakref.ref(trace.get_current_span()))
        return emulator.access_token

    gc.disable()
    try:
        async with client_for(emulator, auth=token) as client:
            await client.upload(MASTERLIST, items(300)).collect()
        await until(lambda: not any(span() for span in spans))
    finally:
        gc.enable()

    assert spans


async def test_what_is_sampled_out_is_not_exported_and_its_metrics_are(emulator: Emulator) -> None:
    telemetry = Telemetry()
    telemetry.tracers.sampler = ALWAYS_OFF
    QuartileInstrumentor().instrument(tracer_provider=telemetry.tracers, meter_provider=telemetry.meters)
    try:
        async with client_for(emulator) as client:
            await client.upload(MASTERLIST, items(150)).collect()
    finally:
        QuartileInstrumentor().uninstrument()

    assert telemetry.spans == ()
    assert telemetry.values("quartile.items", "quartile.outcome") == {"succeeded": 150}
    assert sum(point.count for point in telemetry.points("http.client.request.duration")) == len(emulator.requests)
    telemetry.meters.shutdown()


async def test_items_that_are_replayed_and_those_that_are_not_are_counted_apart(
    telemetry: Telemetry, emulator: Emulator, tmp_path: Path
) -> None:
    async with client_for(emulator) as client:
        await client.upload(MASTERLIST, items(100), journal=tmp_path / "journal").collect()
        await client.upload(MASTERLIST, items(100), journal=tmp_path / "journal").collect()

    assert telemetry.values("quartile.items", "quartile.outcome") == {"succeeded": 100}
    first, second = telemetry.named("upload ")
    assert counts_of(first) == {"succeeded": 100}
    assert counts_of(second) == {"replayed": 100}


# Leaving

ONE_AT_ONCE = [{"asin": ""}, *items(1000)]
"""The first has its result before anything is sent."""


async def test_an_upload_that_is_left_by_break_ends_its_spans(telemetry: Telemetry) -> None:
    async with Emulator(processing=60.0) as emulator, nothing_is_left(emulator):
        async with client_for(emulator, max_in_flight=3) as client:
            with telemetry.tracer.start_as_current_span("job") as job:
                async with client.upload(MASTERLIST, ONE_AT_ONCE) as upload:
                    async for _ in upload:
                        await until(lambda: len(emulator.batches) == 3)
                        break
                assert trace.get_current_span() is job
            assert_left(telemetry, by="left", read=upload.progress.read)


async def test_an_upload_whose_task_is_cancelled_ends_its_spans(telemetry: Telemetry) -> None:
    async with Emulator(processing=60.0) as emulator, nothing_is_left(emulator):
        async with client_for(emulator, max_in_flight=3) as client:
            upload = client.upload(MASTERLIST, ONE_AT_ONCE)
            running = asyncio.ensure_future(upload.collect())
            await until(lambda: len(emulator.batches) == 3)
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running
            assert_left(telemetry, by="left", read=upload.progress.read)


async def test_an_upload_whose_client_closes_ends_its_spans(telemetry: Telemetry) -> None:
    async with Emulator(processing=60.0) as emulator, nothing_is_left(emulator):
        async with client_for(emulator, max_in_flight=3) as client:
            upload = client.upload(MASTERLIST, ONE_AT_ONCE)
            running = asyncio.ensure_future(upload.collect())
            await until(lambda: len(emulator.batches) == 3)
        with pytest.raises(ClientClosedError):
            await running
        assert_left(telemetry, by="error", read=upload.progress.read)
    (uploaded,) = telemetry.named("upload ")
    assert attributes_of(uploaded)["error.type"] == "quartile_async.ClientClosedError"


def assert_left(telemetry: Telemetry, *, by: str, read: int) -> None:
    """One upload was left with three batches in flight; all spans have ended and say so, and each item is counted."""
    (uploaded,) = telemetry.named("upload ")
    batches = telemetry.named("batch ")
    assert attributes_of(uploaded)["quartile.ended_by"] == by
    assert counts_of(uploaded) == {"rejected": 1, "unknown": read - 1}
    assert len(batches) == 3
    for span in batches:
        assert attributes_of(span)["quartile.batch.left"] is True
        assert "quartile.batch.id" in attributes_of(span)
        assert counts_of(span) == {"unknown": attributes_of(span)["quartile.items"]}
        assert span.status.is_unset
    assert telemetry.values("quartile.items", "quartile.outcome") == counts_of(uploaded)
    assert sum(telemetry.values("quartile.batches.active").values()) == 0


async def test_an_upload_that_is_stopped_says_so(telemetry: Telemetry, emulator: Emulator) -> None:
    async with client_for(emulator, max_in_flight=1) as client:
        async with client.upload(MASTERLIST, items(2000)) as upload:
            async for _ in upload:
                upload.stop()

    (uploaded,) = telemetry.named("upload ")
    assert attributes_of(uploaded)["quartile.ended_by"] == "stop"
    assert counts_of(uploaded)["unknown"] == len(upload.unaccounted)
    assert sum(counts_of(uploaded).values()) == upload.progress.read


# Errors


async def test_an_error_that_ends_an_upload_is_on_its_span_and_its_batchs(telemetry: Telemetry) -> None:
    async with Emulator(processing=0.0) as emulator, client_for(emulator, auth="another.token.than.it") as client:
        with pytest.raises(AuthenticationError):
            await client.upload(MASTERLIST, items(10)).collect()

    kind = "error.type=quartile_async.AuthenticationError"
    expected = f"""\
upload process/masterlist ERROR batches=0 ended_by=error {kind} items=10 status_code=401 unknown=10
    batch process/masterlist ERROR {kind} items=10 status_code=401 unknown=10
        PATCH /amazon/v2/process/masterlist ERROR error.type=401 status_code=401"""
    assert telemetry.picture() == expected


async def test_what_the_input_raises_is_on_the_uploads_span(telemetry: Telemetry, emulator: Emulator) -> None:
    def broken() -> Iterator[dict[str, Any]]:
        yield from items(3)
        raise ZeroDivisionError(item(1)["asin"])

    async with client_for(emulator) as client:
        with pytest.raises(ZeroDivisionError):
            await client.upload(MASTERLIST, broken()).collect()

    (uploaded,) = telemetry.named("upload ")
    assert attributes_of(uploaded)["error.type"] == "ZeroDivisionError"
    assert uploaded.status.status_code is trace.StatusCode.ERROR


async def test_a_lost_connection_is_on_the_requests_span_by_its_kind(telemetry: Telemetry, emulator: Emulator) -> None:
    emulator.add(Fault(on="submit", times=1, drop="after"))
    async with client_for(emulator) as client:
        (result,) = await client.upload(MASTERLIST, items(1)).collect()

    assert result.resent
    lost, again = telemetry.named("PATCH ")
    assert attributes_of(lost)["error.type"] == "aiohttp.client_exceptions.ServerDisconnectedError"
    assert lost.status.status_code is trace.StatusCode.ERROR
    assert attributes_of(again)["http.request.resend_count"] == 1
    assert attributes_of(telemetry.named("batch ")[0])["quartile.batch.resent"] is True


async def test_a_batch_that_is_given_up_has_an_error_and_the_upload_has_none(telemetry: Telemetry) -> None:
    async with Emulator(processing=60.0) as emulator, client_for(emulator, batch_deadline=0.1) as client:
        await client.upload(MASTERLIST, items(5)).collect()

    (batch,), (uploaded,) = telemetry.named("batch "), telemetry.named("upload ")
    assert attributes_of(batch)["error.type"] == "quartile_async.TransportError"
    assert counts_of(batch) == counts_of(uploaded) == {"unknown": 5}
    assert uploaded.status.is_unset


async def test_items_that_are_refused_are_of_the_batch_that_was_refused(telemetry: Telemetry) -> None:
    refuse = lambda each: "no" if each["asin"] == item(3)["asin"] else None  # noqa: E731  # short
    async with Emulator(processing=0.0, refuse=refuse) as emulator, client_for(emulator) as client:
        await client.upload(MASTERLIST, items(100)).collect()

    refused, taken = telemetry.named("batch ")
    assert (counts_of(refused), attributes_of(refused)["http.response.status_code"]) == ({"rejected": 1}, 422)
    assert counts_of(taken) == {"succeeded": 99}


async def test_an_outage_is_an_event_of_the_batches_that_wait(
    telemetry: Telemetry, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("quartile_async._outage.FIRST_PROBE", 0.02)
    async with client_for(emulator, max_tries=1) as client:
        await client.upload(MASTERLIST, items(1)).collect()
        emulator.add(Fault(on="submit", times=2, status=502, body="<html>bad gateway</html>"))
        await client.upload(MASTERLIST, items(1)).collect()

    first, second = telemetry.named("batch ")
    assert first.events == ()
    assert {event.name for event in second.events} == {"quartile.outage"}
    for event in second.events:
        assert event.attributes
        assert 0.0 < float(str(event.attributes["quartile.wait.seconds"])) < 5.0
        assert (second.start_time or 0) <= event.timestamp <= (second.end_time or 0)


async def test_what_fails_in_the_sdk_is_logged_and_harms_nothing(
    telemetry: Telemetry, emulator: Emulator, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(SpanProcessor):
        def on_start(self, span: Any, parent_context: Any = None) -> None:
            raise ZeroDivisionError

        def on_end(self, span: Any) -> None:
            raise ZeroDivisionError

    telemetry.tracers.add_span_processor(Broken())
    async with client_for(emulator) as client:
        results = await client.upload(MASTERLIST, items(300)).collect()

    assert [result.ok for result in results] == [True] * 300
    assert "A trace has failed; the work goes on." in caplog.text
    assert trace.get_current_span() is trace.INVALID_SPAN


# What is told to whom


async def test_no_secret_and_no_item_is_in_anything_that_is_exported(telemetry: Telemetry) -> None:
    quotes = lambda payload: payload | {"detail": f"{payload}"}  # noqa: E731  # short
    async with Emulator(processing=0.01, fail=lambda each: f"{each} was refused") as emulator:
        auth = LoginAuth(emulator.username, emulator.password)
        emulator.add(Fault(on="poll", times=1, status=500, body={"detail": f"{items(3)} {emulator.access_token}"}))
        emulator.add(Fault(on="submit", after=1, times=None, status=403, body={"detail": f"{items(3)}, quota"}))
        emulator.add(Fault(on="poll", times=None, rewrite=quotes))
        secrets = [emulator.subscription_key, emulator.access_token, emulator.password, emulator.username]
        async with client_for(emulator, auth=auth, max_in_flight=2) as client:
            with pytest.raises(QuotaExceededError):
                await client.upload(MASTERLIST, items(500)).collect()

    exported = telemetry.as_json()
    assert telemetry.named("POST /auth/v2/login")
    assert "quartile_async.QuotaExceededError" in exported
    assert not [secret for secret in secrets if secret in exported]
    assert "Bearer" not in exported
    assert not [row["asin"] for row in items(500) if row["asin"] in exported]
    assert not any(batch.id in span.name for batch in emulator.batches for span in telemetry.spans)
    measured = [point.attributes for point in telemetry.points("http.client.request.duration")]
    assert not any(batch.id in json.dumps(dict(each)) for batch in emulator.batches for each in measured)


async def test_the_server_is_not_told_of_the_trace_nor_an_instrumentation_of_aiohttp(
    telemetry: Telemetry, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    suppressed: list[object] = []
    headers: set[str] = set()
    make = aiohttp.ClientSession.__init__

    async def seen(session: aiohttp.ClientSession, names: object, request: aiohttp.TraceRequestStartParams) -> None:
        suppressed.append(get_value(_SUPPRESS_HTTP_INSTRUMENTATION_KEY))
        headers.update(name.lower() for name in request.headers)

    def made(session: aiohttp.ClientSession, *args: Any, **kwargs: Any) -> None:
        config = aiohttp.TraceConfig()  # as OpenTelemetry's instrumentation of aiohttp does it
        config.on_request_start.append(seen)
        make(session, *args, **kwargs, trace_configs=[config])

    monkeypatch.setattr(aiohttp.ClientSession, "__init__", made)
    async with client_for(emulator) as client:
        with telemetry.tracer.start_as_current_span("job"):
            await client.upload(MASTERLIST, items(1)).collect()
            await client.get_batch(emulator.batches[0].id)
            assert get_value(_SUPPRESS_HTTP_INSTRUMENTATION_KEY) is None

    assert len(suppressed) >= 3
    assert all(suppressed)
    assert not {"traceparent", "tracestate", "baggage"} & headers


def test_names_that_the_conventions_have_are_the_conventions() -> None:
    folder = Path(integration.__file__).parent / "_telemetry"
    source = "".join(file.read_text(encoding="utf-8") for file in folder.glob("*.py"))

    for name in (
        http_attributes.HTTP_REQUEST_METHOD,
        http_attributes.HTTP_REQUEST_RESEND_COUNT,
        http_attributes.HTTP_RESPONSE_STATUS_CODE,
        server_attributes.SERVER_ADDRESS,
        server_attributes.SERVER_PORT,
        url_attributes.URL_FULL,
        error_attributes.ERROR_TYPE,
        http_metrics.HTTP_CLIENT_REQUEST_DURATION,
    ):
        assert f'"{name}"' in source


# Switching it on and off


async def test_clients_made_before_are_followed_and_none_is_after_it_is_switched_off(emulator: Emulator) -> None:
    telemetry = Telemetry()
    async with client_for(emulator) as client:
        await client.upload(MASTERLIST, items(1)).collect()
        QuartileInstrumentor().instrument(tracer_provider=telemetry.tracers, meter_provider=telemetry.meters)
        try:
            await client.upload(MASTERLIST, items(1)).collect()
        finally:
            QuartileInstrumentor().uninstrument()
        names = [span.name for span in telemetry.spans]
        await client.upload(MASTERLIST, items(1)).collect()

    assert _tracing.active is None
    assert [span.name for span in telemetry.spans] == names
    assert len(telemetry.named("upload ")) == 1
    telemetry.meters.shutdown()


async def test_an_upload_that_has_begun_is_followed_to_its_end(emulator: Emulator) -> None:
    telemetry = Telemetry()
    async with client_for(emulator, max_in_flight=1) as client:
        QuartileInstrumentor().instrument(tracer_provider=telemetry.tracers, meter_provider=telemetry.meters)
        async for result in client.upload(MASTERLIST, items(300)):
            if result.index == 0:
                QuartileInstrumentor().uninstrument()

    assert counts_of(telemetry.named("upload ")[0]) == {"succeeded": 300}
    assert len(telemetry.named("batch ")) == 3
    assert sum(telemetry.values("quartile.batches.active").values()) == 0
    telemetry.meters.shutdown()


async def test_an_upload_that_runs_already_is_not_followed(emulator: Emulator) -> None:
    telemetry = Telemetry()
    async with client_for(emulator, max_in_flight=1) as client:
        async for result in client.upload(MASTERLIST, items(300)):
            if result.index == 0:
                QuartileInstrumentor().instrument(tracer_provider=telemetry.tracers, meter_provider=telemetry.meters)
        QuartileInstrumentor().uninstrument()

    assert telemetry.named("upload ") == telemetry.named("batch ") == []
    telemetry.meters.shutdown()


async def test_switched_on_again_it_counts_on(telemetry: Telemetry, emulator: Emulator) -> None:
    async with client_for(emulator) as client:
        await client.upload(MASTERLIST, items(2)).collect()
        QuartileInstrumentor().uninstrument()
        await client.upload(MASTERLIST, items(3)).collect()
        QuartileInstrumentor().instrument(tracer_provider=telemetry.tracers, meter_provider=telemetry.meters)
        await client.upload(MASTERLIST, items(5)).collect()

    assert telemetry.values("quartile.items", "quartile.outcome") == {"succeeded": 7}
    assert len(telemetry.named("upload ")) == 2


def test_switching_it_on_twice_does_it_once(telemetry: Telemetry, caplog: pytest.LogCaptureFixture) -> None:
    active = _tracing.active

    QuartileInstrumentor().instrument()

    assert _tracing.active is active
    assert QuartileInstrumentor() is QuartileInstrumentor()
    assert QuartileInstrumentor().instrumentation_dependencies() == ()


def test_without_providers_the_global_ones_are_taken_and_without_those_nothing_is_made(emulator_url: str) -> None:
    code = (
        "import asyncio, sys\n"
        "from quartile_async import MASTERLIST, QuartileClient\n"
        "from quartile_async.opentelemetry import QuartileInstrumentor\n"
        "from opentelemetry import trace\n"
        "from opentelemetry.sdk.trace import TracerProvider\n"
        "from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor\n"
        "QuartileInstrumentor().instrument()\n"
        "item = {'asin': 'B01N5IB20Q', 'countryCode': 'US', 'percACoS': 25.0}\n"
        "async def main():\n"
        "    async with QuartileClient.from_env() as client:\n"
        "        await client.upload(MASTERLIST, [item]).collect()\n"
        "        print('nothing so far')\n"
        "        provider = TracerProvider()\n"
        "        provider.add_span_processor(SimpleSpanProcessor(ConsoleSpanExporter()))\n"
        "        trace.set_tracer_provider(provider)\n"
        "        await client.upload(MASTERLIST, [item]).collect()\n"
        "asyncio.run(main())\n"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, capture_output=True, text=True)

    before, after = done.stdout.split("nothing so far")
    assert before == ""
    assert '"name": "upload process/masterlist"' in after
    assert done.stderr == ""


@pytest.fixture
def emulator_url(quartile_emulator: ThreadedEmulator, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("QUARTILE_BASE_URL", quartile_emulator.url)
    monkeypatch.setenv("QUARTILE_SUBSCRIPTION_KEY", quartile_emulator.subscription_key)
    monkeypatch.setenv("QUARTILE_ACCESS_TOKEN", quartile_emulator.access_token)
    return quartile_emulator.url


def test_opentelemetrys_own_command_finds_it() -> None:
    (found,) = (
        each
        for each in importlib.metadata.entry_points(group="opentelemetry_instrumentor")
        if each.name == "quartile_async"
    )

    assert found.load() is QuartileInstrumentor
