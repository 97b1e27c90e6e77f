"""The marker and the registration of the plugin; see `test_pytest_plugin` for asynchronous tests."""

from __future__ import annotations

import importlib.metadata

import pytest

SYNCHRONOUS = """
    import json, urllib.request
    import pytest

    def submit(emulator, count):
        items = [{"asin": f"B0{number}", "countryCode": "US", "percACoS": 2.5} for number in range(10, 10 + count)]
        headers = {
            "Subscription-Key": emulator.subscription_key,
            "Authorization": f"Bearer {emulator.access_token}",
            "Content-Type": "application/json",
        }
        address = emulator.url + "/amazon/v2/process/masterlist"
        request = urllib.request.Request(address, json.dumps(items).encode(), headers, method="PATCH")
        with urllib.request.urlopen(request) as response:
            return json.load(response)["batchId"]

    def test_batches_end_at_once(quartile_emulator):
        submit(quartile_emulator, 3)
        assert len(quartile_emulator.applied) == 3

    def test_each_test_has_its_own(quartile_emulator):
        assert quartile_emulator.requests == []

    @pytest.mark.quartile_emulator(processing=60.0)
    class TestMarkers:
        def test_of_the_class(self, quartile_emulator):
            submit(quartile_emulator, 3)
            assert quartile_emulator.applied == {}

        @pytest.mark.quartile_emulator(fail=lambda item: "no", processing=30.0)
        def test_of_the_test_too(self, quartile_emulator):
            submit(quartile_emulator, 3)
            batch = quartile_emulator.batches[0]
            assert (batch.status, batch.ends_at - batch.taken_at) == ("FAILED", 30.0)
"""

# looptime's plugin, where pytest-asyncio is off, makes event loops that nobody closes.
PLAIN = ("-p", "no:cacheprovider", "-p", "no:looptime_plugin")
WITH_ASYNCIO = ("-o", "asyncio_default_fixture_loop_scope=function")
WITHOUT = ("-p", "no:asyncio")


@pytest.fixture
def run(pytester: pytest.Pytester) -> pytest.Pytester:
    """A suite in a process of its own, with the installed plugin and nothing set."""
    pytester.makeini("[pytest]\nfilterwarnings = error")
    return pytester


def outcomes(suite: pytest.Pytester, *arguments: str) -> dict[str, int]:
    result = suite.runpytest_subprocess(*PLAIN, "--strict-markers", *arguments)
    found: dict[str, int] = result.parseoutcomes()
    return found


def test_the_plugin_is_registered_as_an_entry_point() -> None:
    registered = {each.name: each.value for each in importlib.metadata.entry_points(group="pytest11")}
    assert registered["quartile_async"] == "quartile_async.pytest_plugin"


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [WITH_ASYNCIO, WITHOUT, ("-p", "no:anyio", *WITHOUT)])
def test_it_works_in_synchronous_tests_with_and_without_pytest_asyncio(
    run: pytest.Pytester, arguments: tuple[str, ...]
) -> None:
    run.makepyfile(SYNCHRONOUS)
    assert outcomes(run, *arguments) == {"passed": 4}


def test_a_setting_without_its_name_is_an_error_that_says_so(run: pytest.Pytester) -> None:
    run.makepyfile(
        """
        import pytest

        @pytest.mark.quartile_emulator(0.0)
        def test_wrong(quartile_emulator): ...
        """
    )
    result = run.runpytest_subprocess(*PLAIN, *WITHOUT)
    assert result.parseoutcomes() == {"errors": 1}
    result.stdout.fnmatch_lines(["*takes keywords*"])


def test_the_marker_is_listed(run: pytest.Pytester) -> None:
    run.runpytest_subprocess("--markers", *PLAIN, *WITHOUT).stdout.fnmatch_lines(
        ["@pytest.mark.quartile_emulator*settings*"]
    )
