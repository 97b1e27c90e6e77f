from __future__ import annotations

import asyncio

import pytest

from quartile_async import AuthenticationError, ClientClosedError, ConfigurationError, QuartileClient
from quartile_async._auth import FixedToken, ProvidedTokens, Tokens
from quartile_async._tokens import checked_secret


@pytest.mark.parametrize("value", ["", "a\nb", "a\r\nX-Injected: 1", "é", "a b", "a\x00", None, 3, b"key", "token\n"])
def test_a_secret_that_cannot_stand_in_a_header_is_refused_without_being_shown(value: object) -> None:
    with pytest.raises(ConfigurationError) as caught:
        checked_secret(value, "subscription key")

    assert "subscription key" in str(caught.value)
    if isinstance(value, str) and len(value) > 3:
        assert value not in str(caught.value)
        assert value.strip() not in str(caught.value)


async def test_a_provider_is_called_once_for_all_who_wait() -> None:
    calls, may_answer = [], asyncio.Event()

    async def provider() -> str:
        calls.append(1)
        await may_answer.wait()
        return f"token-{len(calls)}"

    tokens = Tokens(ProvidedTokens(provider))
    waiting = [asyncio.ensure_future(tokens.get()) for _ in range(20)]
    await asyncio.sleep(0)
    may_answer.set()

    assert await asyncio.gather(*waiting) == ["token-1"] * 20
    assert await tokens.get() == "token-1"


async def test_a_refused_token_is_replaced_once_and_a_newer_one_is_not_dropped_for_it() -> None:
    calls = []

    async def provider() -> str:
        calls.append(1)
        return f"token-{len(calls)}"

    tokens = Tokens(ProvidedTokens(provider))
    first = await tokens.get()
    assert tokens.refuse(first)
    second = await tokens.get()
    assert tokens.refuse(first)  # a request that was under way with the old one

    assert await tokens.get() == second == "token-2"


def test_a_fixed_token_that_is_refused_cannot_be_replaced() -> None:
    assert not Tokens(FixedToken("fixed")).refuse("fixed")


async def test_the_cancellation_of_the_request_that_asked_first_does_not_fail_the_others() -> None:
    may_answer = asyncio.Event()

    async def provider() -> str:
        await may_answer.wait()
        return "token"

    tokens = Tokens(ProvidedTokens(provider))
    first, second = asyncio.ensure_future(tokens.get()), asyncio.ensure_future(tokens.get())
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.wait([first])
    may_answer.set()

    assert await second == "token"


async def test_a_provider_that_raises_is_an_authentication_error_for_each_and_is_called_again_next_time() -> None:
    answers = iter([RuntimeError("the vault said s3cr3t"), "token"])

    async def provider() -> str:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    tokens = Tokens(ProvidedTokens(provider))
    failed = await asyncio.gather(tokens.get(), tokens.get(), return_exceptions=True)

    assert [type(error) for error in failed] == [AuthenticationError] * 2
    assert failed[0] is not failed[1], "each upload has its own error to put its items on"
    assert "s3cr3t" not in str(failed[0])
    assert await tokens.get() == "token"


async def test_a_provider_under_way_ends_when_the_client_closes(no_task_is_left: None) -> None:
    async def provider() -> str:
        await asyncio.Event().wait()
        raise AssertionError

    tokens = Tokens(ProvidedTokens(provider))
    waiting = asyncio.ensure_future(tokens.get())
    await asyncio.sleep(0)
    await tokens.aclose()

    with pytest.raises(ClientClosedError):
        await waiting


async def test_no_secret_stands_in_a_repr() -> None:
    client = QuartileClient(subscription_key="k3y" * 10, auth="t0ken", account="acme-de")

    assert "k3y" not in repr(client)
    assert "t0ken" not in repr(client) + repr(client._api._tokens)
    assert "acme-de" in repr(client)
    await client.aclose()
