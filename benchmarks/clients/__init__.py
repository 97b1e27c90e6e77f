"""The clients that are compared, one module each: `python -m benchmarks.clients.<name> --url ... --items N`.

Each has a coroutine `upload(url, items, in_flight)` that returns what it claims to have done.
"""
