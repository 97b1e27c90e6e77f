"""The batch API as an embedded HTTP server: strict to the contract, nasty on demand. Shares no code with the client.

    async with Emulator(processing=0.1, fail_share=0.05) as emulator:
        client = QuartileClient(
            base_url=emulator.url, subscription_key=emulator.subscription_key, auth=emulator.access_token
        )
        ...
        assert emulator.violations == []

`ThreadedEmulator` is the same for synchronous code; the pytest fixture `quartile_emulator` gives one of these.
"""

from ._batches import Batch, Lognormal
from ._faults import Fault, Kind, Request
from ._gateway import RateLimit
from ._ledger import RequestRecord, Violation
from ._server import Emulator
from ._threaded import ThreadedEmulator

__all__ = [
    "Batch",
    "Emulator",
    "Fault",
    "Kind",
    "Lognormal",
    "RateLimit",
    "Request",
    "RequestRecord",
    "ThreadedEmulator",
    "Violation",
]
