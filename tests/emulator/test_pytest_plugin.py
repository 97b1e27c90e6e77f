"""The fixture in a user's own project, in synchronous and asynchronous tests, in each mode of pytest-asyncio."""

from __future__ import annotations

import pytest

TESTS = """
import asyncio, urllib.request
import pytest
from quartile_async import MASTERLIST, QuartileClient

ITEM = {"asin": "B01N5IB20Q", "countryCode": "US", "percACoS": 27.5}

async def upload(emulator):
    async with QuartileClient(
        base_url=emulator.url, subscription_key=emulator.subscription_key, auth=emulator.access_token
    ) as client:
        return await client.upload(MASTERLIST, [ITEM]).collect()

def test_in_a_synchronous_test(quartile_emulator):
    (result,) = asyncio.run(upload(quartile_emulator))
    assert result.ok
    assert quartile_emulator.applied["B01N5IB20Q", "US"]["percACoS"] == 27.5
    assert quartile_emulator.violations == []

ASYNC_MARK
async def test_in_an_asynchronous_test(quartile_emulator):
    (result,) = await upload(quartile_emulator)
    assert result.ok

ASYNC_MARK
@pytest.mark.quartile_emulator(fail=lambda item: "no such product")
async def test_with_settings(quartile_emulator):
    (result,) = await upload(quartile_emulator)
    assert result.message == "no such product"

def test_each_test_has_its_own(quartile_emulator):
    assert quartile_emulator.requests == []
"""


@pytest.mark.parametrize(
    ("mark", "arguments"),
    [
        ("", ("-o", "asyncio_default_fixture_loop_scope=function", "-o", "asyncio_mode=auto")),
        ("@pytest.mark.asyncio", ("-o", "asyncio_default_fixture_loop_scope=function", "-o", "asyncio_mode=strict")),
        ("@pytest.mark.anyio", ("-p", "no:asyncio")),
    ],
)
def test_the_fixture_works_whatever_runs_the_asynchronous_tests(
    pytester: pytest.Pytester, mark: str, arguments: tuple[str, ...]
) -> None:
    pytester.makepyfile(TESTS.replace("ASYNC_MARK", mark))
    pytester.makeconftest("import pytest\n@pytest.fixture\ndef anyio_backend():\n    return 'asyncio'\n")

    result = pytester.runpytest_subprocess("--strict-markers", "-W", "error", "-p", "no:looptime_plugin", *arguments)

    result.assert_outcomes(passed=4)


def test_the_plugin_imports_no_web_server_before_it_is_used(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("""
        import sys

        def test_nothing():
            assert not {'quartile_async.emulator', 'aiohttp.web'} & set(sys.modules)
    """)

    pytester.runpytest_subprocess("-p", "no:asyncio", "-p", "no:looptime_plugin").assert_outcomes(passed=1)
