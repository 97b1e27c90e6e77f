"""An asyncio client for Quartile's batch API: any stream of items in, one honest result for each out."""

__version__ = "0.1.0"
