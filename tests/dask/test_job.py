"""What travels to workers has no secret, and workers say clearly what they miss."""

from __future__ import annotations

import functools
import pickle
from typing import Any

import pytest

from quartile_async import MASTERLIST, ConfigurationError
from quartile_async._dask.job import REDIS_URL, Address, Job, address_of, checked_options
from quartile_async._dask.travel import check_takes_no_value_along, check_travels

from .accounts import credentials, nothing


@pytest.mark.parametrize(
    ("url", "travels", "has_secret"),
    [
        ("redis://localhost:6379/0", "redis://localhost:6379/0", False),
        ("redis://:hidden@localhost:6379/1", "redis://localhost:6379/1", True),
        ("rediss://me:hidden@redis.example:6380", "rediss://redis.example:6380", True),
        ("redis://localhost:6379/0?password=hidden", "redis://localhost:6379/0", True),
        ("redis://localhost:6379/0?health_check_interval=5", "redis://localhost:6379/0?health_check_interval=5", False),
    ],
)
def test_a_password_of_redis_does_not_travel(url: str, travels: str, has_secret: bool) -> None:
    address = address_of(url)

    assert address == Address(travels, has_secret)
    assert b"hidden" not in pickle.dumps(address)


def test_a_worker_takes_the_address_with_its_password_from_its_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(REDIS_URL, "redis://:hidden@localhost:6379/1")

    assert address_of("redis://:hidden@localhost:6379/1")() == "redis://:hidden@localhost:6379/1"
    assert address_of("redis://other:6379/1")() == "redis://other:6379/1"


@pytest.mark.parametrize("there", [None, "redis://:hidden@elsewhere:6379/1"])
def test_a_worker_without_the_address_says_what_to_set(monkeypatch: pytest.MonkeyPatch, there: str | None) -> None:
    monkeypatch.delenv(REDIS_URL, raising=False)
    if there is not None:
        monkeypatch.setenv(REDIS_URL, there)

    with pytest.raises(ConfigurationError, match=f"set {REDIS_URL} in the environment of each worker") as caught:
        address_of("redis://:hidden@localhost:6379/1")()

    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize("options", [{"subscription_key": "hidden"}, {"auth": "hidden"}])
def test_secrets_are_refused_with_where_to_put_them(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="in the environment of each worker: QUARTILE_") as caught:
        checked_options(options)

    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize("name", ["quota", "account", "ssl_context", "on_event"])
def test_what_cannot_be_used_on_workers_is_refused_with_what_to_use(name: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{name}=... cannot be used here: ."):
        checked_options({name: None})


@pytest.mark.parametrize("options", [{"max_tries": 0}, {"base_url": "http://elsewhere.example"}])
def test_a_setting_that_cannot_be_used_is_refused_before_anything_travels(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        checked_options(options)


def test_what_cannot_be_sent_to_workers_is_refused_with_its_name() -> None:
    check_travels(resource=MASTERLIST)

    with pytest.raises(ConfigurationError, match=r"^credentials=.* cannot be sent to workers"):
        check_travels(credentials=lambda account: "a token")


def test_a_job_has_the_workers_own_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUARTILE_SUBSCRIPTION_KEY", "the-workers-key")
    monkeypatch.setenv("QUARTILE_ACCESS_TOKEN", "its-token")
    job = Job("a name", "a run", address_of("redis://localhost:1"), MASTERLIST, {"base_url": "https://api.example"})

    client = job.client_for("acme-de")

    assert repr(client).startswith("<QuartileClient for 'acme-de' at https://api.example")
    assert b"the-workers-key" not in pickle.dumps(job)


def test_a_worker_that_lacks_credentials_says_which(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("QUARTILE_SUBSCRIPTION_KEY", "QUARTILE_ACCESS_TOKEN", "QUARTILE_USERNAME"):
        monkeypatch.delenv(name, raising=False)

    with pytest.raises(ConfigurationError, match="On a worker: Set QUARTILE_SUBSCRIPTION_KEY"):
        Job("a name", "a run", address_of("redis://localhost:1"), MASTERLIST).client_for(None)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("max_inflight", "Do you mean max_in_flight?"),
        ("part_item", "Do you mean part_items?"),
        ("decimal", r"give reading=\{'decimal': ...\}"),
        ("nonsense", "See the settings of QuartileClient"),
    ],
)
def test_a_setting_that_there_is_not_is_told_with_what_is_meant(name: str, hint: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{name}.*{hint}|{hint}"):
        checked_options({name: 1})


def test_where_items_go_is_said_by_the_caller_and_not_by_each_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUARTILE_BASE_URL", "https://of-the-caller.example")

    assert checked_options({})["base_url"] == "https://of-the-caller.example"
    assert checked_options({"base_url": "https://given.example"})["base_url"] == "https://given.example"
    monkeypatch.delenv("QUARTILE_BASE_URL")
    assert checked_options({})["base_url"] == "https://api.quartile.com"


SCRIPT = """
import os

SECRET = "hidden"

def by_global(account): return SECRET
def helper(): return SECRET
def by_another(account): return helper()
def made():
    value = "hidden"
    def by_closure(account): return value
    return by_closure
def by_environment(account): return os.environ["TOKEN"]
def by_helper_of_environment(account): return by_environment(account)
"""


@pytest.fixture
def script() -> dict[str, Any]:
    names: dict[str, Any] = {"__name__": "__main__"}
    exec(SCRIPT, names)  # noqa: S102  # a script, in this process
    return names


@pytest.mark.parametrize(("name", "value"), [("by_global", "SECRET"), ("by_another", "SECRET")])
def test_a_function_of_a_script_that_would_take_a_value_along_is_refused(
    script: dict[str, Any], name: str, value: str
) -> None:
    with pytest.raises(ConfigurationError, match=f"that uses {value}: the value would travel") as caught:
        check_takes_no_value_along("credentials", script[name])

    assert "hidden" not in str(caught.value)


def test_a_closure_and_a_partial_are_refused(script: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="uses value"):
        check_takes_no_value_along("credentials", script["made"]())
    with pytest.raises(ConfigurationError, match="is a partial"):
        check_takes_no_value_along("credentials", functools.partial(script["by_environment"], account="hidden"))


@pytest.mark.parametrize("name", ["by_environment", "by_helper_of_environment"])
def test_a_function_of_a_script_that_asks_the_environment_travels(script: dict[str, Any], name: str) -> None:
    check_takes_no_value_along("credentials", script[name])


def test_a_function_of_a_module_travels_by_its_name_whatever_it_uses() -> None:
    check_takes_no_value_along("credentials", credentials)


@pytest.mark.parametrize(
    ("function", "words"),
    [(credentials, r"credentials\('nobody'\) has raised KeyError: 'TOKEN_OF_nobody'"), (nothing, "gave None")],
)
def test_credentials_that_give_none_are_told_with_their_account(
    monkeypatch: pytest.MonkeyPatch, function: Any, words: str
) -> None:
    monkeypatch.setenv("QUARTILE_SUBSCRIPTION_KEY", "the-workers-key")
    job = Job("a name", "a run", address_of("redis://localhost:1"), MASTERLIST, credentials=function)

    with pytest.raises(ConfigurationError, match=words):
        job.client_for("nobody")


def test_what_the_caller_has_not_said_of_the_quota_the_workers_environment_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("QUARTILE_SUBSCRIPTION_KEY", "the-workers-key")
    monkeypatch.setenv("QUARTILE_ACCESS_TOKEN", "its-token")
    monkeypatch.setenv("QUARTILE_REDIS_RATE", "30/second")
    monkeypatch.setenv("QUARTILE_REDIS_MAX_IN_FLIGHT", "7")
    address = address_of("redis://localhost:1")

    by_environment = Job("a name", "a run", address, MASTERLIST)._quota()
    said = Job("a name", "a run", address, MASTERLIST, rate="5/second", max_in_flight=3)._quota()

    assert repr(by_environment) == "<RedisQuota at redis://localhost:1, 30/1 seconds, 7 in flight>"
    assert repr(said) == "<RedisQuota at redis://localhost:1, 5/1 seconds, 3 in flight>"
