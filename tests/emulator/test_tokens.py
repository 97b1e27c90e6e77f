"""Login, refresh and validate: what they answer, for how long tokens last, and what is written down."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from quartile_async.emulator import Emulator, Fault

from .calls import Answer, Direct, ask, items

LOGIN, REFRESH, VALIDATE = "/auth/v2/login", "/auth/v2/refresh", "/auth/v2/validate"
NOW = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC).timestamp()


def login(direct: Direct, username: str | None = None, password: str | None = None) -> Answer:
    emulator = direct.emulator
    return direct.ask(
        "POST", LOGIN, {"username": username or emulator.username, "password": password or emulator.password}
    )


def refresh(direct: Direct, token: str) -> Answer:
    return direct.ask("POST", REFRESH, {"token": token})


def refresh_token(answer: Answer) -> str:
    return str(answer.json["refresh"]["token"])


def validate(direct: Direct, token: str) -> int:
    return direct.ask("POST", VALIDATE, Authorization=f"Bearer {token}").status


async def test_a_login_over_a_socket_needs_the_key_and_no_access_token() -> None:
    async with Emulator() as emulator:
        content = {"username": emulator.username, "password": emulator.password}
        assert (await ask(emulator, "POST", LOGIN, content, {"Authorization": None})).status == 201
        assert emulator.violations == []

        without_key = await ask(emulator, "POST", LOGIN, content, {"Subscription-Key": None})
        assert without_key.status == 401
        assert "subscription key" in without_key.json["message"]
        assert [violation.path for violation in emulator.violations] == [LOGIN]


def test_a_login_and_a_refresh_answer_201_in_the_shape_of_the_documentation() -> None:
    direct = Direct(token_lifetime=43_200.0, wall_clock=lambda: NOW)
    first = login(direct)
    second = refresh(direct, refresh_token(first))

    for answer in (first, second):
        assert answer.status == 201
        assert answer.headers["Content-Type"] == "application/json"
        access, next_one = answer.json["authorization"], answer.json["refresh"]
        assert {name: value for name, value in access.items() if name not in ("token", "note")} == {
            "type": "Bearer",
            "expiresIn": 43_200.0,
            "expiresAt": "2026-11-24T00:00:00",
            "notBefore": "2026-11-23T12:00:00",
        }
        assert {name: value for name, value in next_one.items() if name not in ("token", "note")} == {
            "expiresIn": 1_209_600.0,
            "expiresAt": "2026-12-07T12:00:00",
        }
        assert access["token"].count(".") == 2, "it looks like a JWT"
        assert validate(direct, access["token"]) == 200
    tokens = [answer.json[part]["token"] for answer in (first, second) for part in ("authorization", "refresh")]
    assert len(set(tokens)) == 4
    assert direct.emulator.violations == []


def test_the_access_token_of_a_login_opens_the_batch_api() -> None:
    direct = Direct()
    token = login(direct).json["authorization"]["token"]
    assert direct.ask("PATCH", "/amazon/v2/process/masterlist", items(1), Authorization=f"Bearer {token}").status == 200


@pytest.mark.parametrize(("username", "password"), [(None, "wrong"), ("nobody@example.com", None)])
def test_a_wrong_password_and_an_unknown_user_are_refused(username: str | None, password: str | None) -> None:
    direct = Direct()
    answer = login(direct, username, password)
    assert answer.status == 401
    assert "password" in answer.json["message"]
    assert "subscription key" not in answer.json["message"], "a client tells the two apart by these words"
    assert direct.emulator.logins == {}
    assert direct.emulator.violations == [], "a client cannot know beforehand"


def test_a_refresh_token_works_once() -> None:
    direct = Direct()
    first = refresh_token(login(direct))
    assert refresh(direct, first).status == 201

    again = refresh(direct, first)
    assert again.status == 401
    assert [violation.path for violation in direct.emulator.violations] == [REFRESH]
    assert first not in str(direct.emulator.violations)
    assert direct.emulator.refreshes == {direct.emulator.username: 1}


def test_the_second_use_of_a_refresh_token_spends_the_others_of_its_user_and_nobody_elses() -> None:
    direct = Direct()
    direct.emulator.add_user("other@example.com", "0ther")
    used, others = direct.emulator.issue_refresh_token(), direct.emulator.issue_refresh_token("other@example.com")
    newest = refresh_token(refresh(direct, used))
    refresh(direct, used)

    assert refresh(direct, newest).status == 401
    assert refresh(direct, others).status == 201
    assert refresh(direct, refresh_token(login(direct))).status == 201, "a login helps"


def test_a_refresh_leaves_the_older_access_token_valid() -> None:
    direct = Direct()
    first = login(direct)
    refresh(direct, refresh_token(first))
    assert validate(direct, first.json["authorization"]["token"]) == 200


def test_an_unknown_refresh_token_is_refused_and_spends_nothing() -> None:
    direct = Direct()
    known = refresh_token(login(direct))
    assert refresh(direct, "nobody.gave.it").status == 401
    assert refresh(direct, known).status == 201
    assert direct.emulator.violations == []


def test_an_access_token_ends_after_its_lifetime() -> None:
    direct = Direct(token_lifetime=60.0)
    token = login(direct).json["authorization"]["token"]
    direct.clock.move(59.9)
    assert validate(direct, token) == 200
    direct.clock.move(0.1)
    assert validate(direct, token) == 401
    assert direct.submit(items(1)).status == 401, "the one that was issued at the start ends likewise"
    assert direct.emulator.violations == [], "that a token has expired is no violation"


def test_an_issued_token_may_have_a_lifetime_of_its_own() -> None:
    direct = Direct(token_lifetime=60.0)
    token = direct.emulator.issue_token(lifetime=5.0)
    direct.clock.move(5.0)
    assert validate(direct, token) == 401


def test_a_refresh_token_ends_after_fourteen_days() -> None:
    direct = Direct()
    token, later = refresh_token(login(direct)), refresh_token(login(direct))
    direct.clock.move(14 * 24 * 3600.0 - 0.1)
    assert refresh(direct, token).status == 201
    direct.clock.move(0.1)
    assert refresh(direct, later).status == 401
    assert direct.emulator.violations == []


def test_tokens_can_be_ended_at_will() -> None:
    direct = Direct()
    answer = login(direct)
    access, after = answer.json["authorization"]["token"], refresh_token(answer)
    direct.emulator.expire_token(access)
    direct.emulator.expire_token(after)
    assert validate(direct, access) == 401
    assert refresh(direct, after).status == 401
    with pytest.raises(ValueError, match="not issued"):
        direct.emulator.expire_token("nobody.gave.it")


@pytest.mark.parametrize(
    ("settings", "announced", "real"),
    [
        ({"token_lifetime": 60.0}, 60.0, 60.0),
        ({"token_lifetime": 10.0, "announced_lifetime": 3600.0}, 3600.0, 10.0),
        ({"announced_lifetime": 2.0}, 2.0, 1e9),
        ({}, 43_200.0, 1e9),
    ],
)
def test_what_is_announced_may_differ_from_what_holds(settings: dict[str, Any], announced: float, real: float) -> None:
    direct = Direct(wall_clock=lambda: NOW, **settings)
    access = login(direct).json["authorization"]
    assert access["expiresIn"] == announced
    assert datetime.fromisoformat(access["expiresAt"]).replace(tzinfo=UTC).timestamp() == NOW + announced
    direct.clock.move(real - 0.1)
    assert validate(direct, access["token"]) == 200
    if real < 1e9:
        direct.clock.move(0.1)
        assert validate(direct, access["token"]) == 401


def test_logins_and_refreshes_are_counted_for_each_user() -> None:
    direct = Direct()
    direct.emulator.add_user("other@example.com", "0ther")
    token = refresh_token(login(direct))
    login(direct)
    login(direct, "other@example.com", "0ther")
    login(direct, "other@example.com", "wrong")
    for _ in range(3):
        token = refresh_token(refresh(direct, token))

    assert direct.emulator.logins == {direct.emulator.username: 2, "other@example.com": 1}
    assert direct.emulator.refreshes == {direct.emulator.username: 3}


def test_request_records_tell_whose_token_came_and_hold_no_secret() -> None:
    direct = Direct()
    direct.emulator.add_user("other@example.com", "0ther")
    theirs = login(direct, "other@example.com", "0ther").json["authorization"]["token"]
    direct.ask("PATCH", "/amazon/v2/process/masterlist", items(1), Authorization=f"Bearer {theirs}")
    direct.submit(items(1))
    direct.emulator.expire_token(theirs)
    direct.ask("POST", VALIDATE, Authorization=f"Bearer {theirs}")
    direct.ask("POST", VALIDATE, Authorization="Bearer nobody.gave.it")

    records = direct.emulator.requests[1:]
    assert [record.user for record in records] == [
        "other@example.com",
        direct.emulator.username,
        "other@example.com",
        None,
    ]
    assert [batch.user for batch in direct.emulator.batches] == ["other@example.com", direct.emulator.username]
    assert theirs not in str(direct.emulator.requests)


@pytest.mark.parametrize(
    ("path", "content"),
    [
        (LOGIN, {}),
        (LOGIN, {"username": "a"}),
        (LOGIN, {"username": "a", "password": 1}),
        (LOGIN, {"username": "a", "password": "b", "more": "c"}),
        (LOGIN, ["a", "b"]),
        (LOGIN, b"not json"),
        (LOGIN, b""),
        (REFRESH, {}),
        (REFRESH, {"token": None}),
        (REFRESH, {"refresh": "a"}),
        (REFRESH, {"token": "a", "more": "c"}),
    ],
)
def test_a_body_of_another_shape_is_a_422_and_a_violation(path: str, content: Any) -> None:
    direct = Direct()
    answer = direct.ask("POST", path, content)
    assert answer.status == 422
    assert isinstance(answer.json["detail"], list)
    assert [violation.path for violation in direct.emulator.violations] == [path]


@pytest.mark.parametrize("path", [LOGIN, REFRESH])
def test_another_content_type_is_a_415_and_a_violation(path: str) -> None:
    direct = Direct()
    answer = direct.ask("POST", path, {"token": "a"}, **{"Content-Type": "text/plain"})
    assert answer.status == 415
    assert len(direct.emulator.violations) == 1


def test_another_method_is_a_405() -> None:
    direct = Direct()
    assert direct.ask("GET", LOGIN).status == 405
    assert direct.ask("GET", LOGIN).headers["Allow"] == "POST"


def test_the_paths_follow_the_auth_prefix() -> None:
    direct = Direct(auth_prefix="/sign/in")
    content = {"username": direct.emulator.username, "password": direct.emulator.password}
    assert direct.ask("POST", "/sign/in/login", content).status == 201
    assert direct.ask("POST", LOGIN, content).status == 404


def test_a_fault_meets_logins_or_refreshes_alone() -> None:
    direct = Direct(faults=[Fault(on="refresh", status=503), Fault(on="login", status=500, times=2)])
    assert [login(direct).status for _ in range(3)] == [500, 500, 201]
    token = direct.emulator.issue_refresh_token()
    assert [refresh(direct, token).status for _ in range(2)] == [503, 201], "a fault without `taken` spends nothing"
    assert direct.emulator.logins == direct.emulator.refreshes == {direct.emulator.username: 1}
    assert [record.kind for record in direct.emulator.requests] == ["login"] * 3 + ["refresh"] * 2


@pytest.mark.parametrize("fault", [Fault(on="refresh", drop="after"), Fault(on="refresh", status=502, taken=True)])
def test_a_refresh_whose_answer_is_lost_has_spent_the_token(fault: Fault) -> None:
    direct = Direct(faults=[fault])
    token = refresh_token(login(direct))
    assert refresh(direct, token).status in (201, 502)  # what was dropped shows what would have been answered
    assert direct.emulator.refreshes == {direct.emulator.username: 1}
    assert refresh(direct, token).status == 401
    assert len(direct.emulator.violations) == 1


def test_a_refresh_that_is_dropped_before_its_effect_has_not_spent_the_token() -> None:
    direct = Direct(faults=[Fault(on="refresh", drop="before")])
    token = refresh_token(login(direct))
    refresh(direct, token)
    assert refresh(direct, token).status == 201
    assert direct.emulator.violations == []


def test_an_answer_can_be_rewritten() -> None:
    def in_the_other_spelling(content: Any) -> Any:
        access = content["authorization"]
        return {"authorization": {"token": access["token"], "expires_in": access["expiresIn"]}}

    direct = Direct(faults=[Fault(on="login", rewrite=in_the_other_spelling)])
    assert set(login(direct).json["authorization"]) == {"token", "expires_in"}


def test_secrets_follow_from_the_seed() -> None:
    def secrets(seed: int) -> tuple[str, str, bytes]:
        direct = Direct(seed=seed, wall_clock=lambda: NOW)
        return direct.emulator.password, direct.emulator.access_token, login(direct).body

    assert secrets(1) == secrets(1)
    assert secrets(1) != secrets(2)
