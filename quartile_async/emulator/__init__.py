"""The batch API as an embedded HTTP server: strict to the contract, nasty on demand. Shares no code with the client.

    async with Emulator(processing=0.1, fail_share=0.05) as emulator:
        client = QuartileClient(
            base_url=emulator.url, subscription_key=emulator.subscription_key, auth=emulator.access_token
        )
        ...
        assert emulator.violations == []

`ThreadedEmulator` is the same for synchronous code; the pytest fixture `quartile_emulator` gives one of these.
"""

from ._faults import Fault, Request
from ._gateway import RateLimit
from ._processing import Batch, Lognormal
from ._server import Emulator, ThreadedEmulator
from ._service import RequestRecord, Violation

__all__ = [
    "Batch",
    "Emulator",
    "Fault",
    "Lognormal",
    "RateLimit",
    "Request",
    "RequestRecord",
    "ThreadedEmulator",
    "Violation",
]
