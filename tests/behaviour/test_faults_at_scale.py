"""A catalogue of 20,000 items over real sockets, with a server, a network and tokens that all fail."""

from __future__ import annotations

import pytest

from quartile_async import MASTERLIST, LoginAuth, Outcome
from quartile_async.emulator import Emulator, Fault, Lognormal, RateLimit

from .conftest import client_for, items, nothing_is_left

MANY = 20_000

EVERYTHING = (
    Fault(on="submit", times=None, share=0.03, drop="after"),
    Fault(on="submit", times=None, share=0.03, drop="before"),
    Fault(on="submit", times=None, share=0.03, status=502, body="<html>Bad Gateway</html>", taken=True),
    Fault(on="submit", times=None, share=0.02, status=200, body="<html>maintenance</html>"),
    Fault(on="submit", times=None, share=0.02, status=413),
    Fault(on="submit", times=3, status=422, body={"detail": "not now"}),
    Fault(on="poll", times=None, share=0.03, drop="after"),
    Fault(on="poll", times=None, share=0.03, status=503),
    Fault(on="poll", times=None, share=0.03, status=200, body=b'{"status": "SUC'),
    Fault(on="poll", times=None, share=0.02, rewrite=lambda told: {**told, "batchId": "f" * 24}),
    Fault(on="poll", times=None, share=0.02, delay=0.3),
    Fault(on="any", times=4, after=300, status=429, headers={"Retry-After": "1"}),
)


def refused(item: dict[str, object]) -> str | None:
    return "It is discontinued." if str(item["asin"]).endswith("777") else None


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_nothing_is_lost_at_20000_items_whatever_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("quartile_async._retrying.BASE", 0.02)  # so that the waits do not make the test long
    async with Emulator(
        processing=Lognormal(0.1, 0.5),
        submit_latency=0.01,
        fail=lambda item: "no such product" if str(item["asin"]).endswith("55") else None,
        refuse=refused,
        shuffle_rows=True,
        visible_after=0.02,
        token_lifetime=3.0,
        rate_limit=RateLimit(400, 1.0),
        faults=EVERYTHING,
    ) as emulator:
        auth = LoginAuth(emulator.username, emulator.password)
        async with nothing_is_left(emulator), client_for(emulator, auth=auth, max_tries=12) as client:
            results = await client.upload(MASTERLIST, items(MANY)).collect()

        assert [result.index for result in results] == list(range(MANY))
        for result in results:
            asin = result.item["asin"]
            if asin.endswith("777") and result.outcome is Outcome.REJECTED:
                assert "discontinued" in result.message
            elif asin.endswith("55"):
                assert result.outcome is Outcome.FAILED, result
            elif result.outcome is Outcome.UNKNOWN:
                # Only what the server refused after an answer was lost cannot be known for certain.
                assert "may have been taken" in result.message, result
            else:
                assert result.ok, result
                assert emulator.applied[asin, "US"]["percACoS"] == 25.0
        assert sum(result.outcome is Outcome.UNKNOWN for result in results) <= 10
        assert any(result.resent for result in results)
        assert emulator.violations == []
        assert sum(emulator.logins.values()) + sum(emulator.refreshes.values()) >= 2, "tokens did expire"
