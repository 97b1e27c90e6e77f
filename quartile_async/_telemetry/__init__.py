"""Spans and metrics of uploads, batches and requests; `quartile_async.opentelemetry` is the door."""
