"""How batches fare: by seed, by script and by the clock."""

from __future__ import annotations

import random
from typing import Any

import pytest

from quartile_async.emulator import Emulator, Lognormal

from .calls import Direct, item, items


def life(direct: Direct, batches: int = 5) -> list[Any]:
    """Everything that a client sees of some batches."""
    ids = [direct.taken([item(100 * batch + number) for number in range(20)]) for batch in range(batches)]
    direct.clock.move(1000.0)
    return [direct.poll(batch_id).body for batch_id in ids] + [batch.ends_at for batch in direct.emulator.batches]


UNSTEADY: dict[str, Any] = {
    "processing": Lognormal(1.0, 0.5),
    "fail_share": 0.3,
    "failed_batch_share": 0.1,
    "missing_row_share": 0.1,
    "shuffle_rows": True,
}


def test_one_seed_gives_one_behaviour_and_another_another() -> None:
    first, again, other = (Direct(seed=seed, **UNSTEADY) for seed in (1, 1, 2))
    assert (first.emulator.subscription_key, first.emulator.access_token) == (
        again.emulator.subscription_key,
        again.emulator.access_token,
    )
    assert first.emulator.subscription_key != other.emulator.subscription_key
    seen = life(first)
    assert life(again) == seen
    assert life(other) != seen


def test_polls_and_forbidden_requests_between_submits_change_nothing() -> None:
    quiet, noisy = Direct(seed=1, **UNSTEADY), Direct(seed=1, **UNSTEADY)
    noisy.submit([])
    noisy.poll("nobody")
    noisy.emulator.issue_token()
    assert life(noisy) == life(quiet)


def test_what_is_random_in_one_setting_changes_nothing_in_another() -> None:
    plain, shuffled = Direct(seed=1, fail_share=0.3), Direct(seed=1, fail_share=0.3, shuffle_rows=True)
    life(plain)
    life(shuffled)
    assert [batch.failures for batch in plain.emulator.batches] == [
        batch.failures for batch in shuffled.emulator.batches
    ]


def test_the_key_and_the_tokens_look_like_real_ones() -> None:
    emulator = Emulator()
    assert len(emulator.subscription_key) == 32
    assert emulator.subscription_key.isalnum()
    assert [bool(part) for part in emulator.access_token.split(".")] == [True] * 3
    assert emulator.issue_token() != emulator.access_token


def test_shares_are_met_roughly() -> None:
    direct = Direct(processing=0.0, fail_share=0.2, missing_row_share=0.1)
    for batch in range(30):
        direct.taken([item(100 * batch + number) for number in range(100)])
    failed = sum(len(batch.failures) for batch in direct.emulator.batches)
    assert 500 < failed < 700
    rows = sum(len(direct.poll(batch.id).json["data"]) for batch in direct.emulator.batches)
    assert 2620 < rows < 2780


def test_batches_fail_wholly_by_their_share() -> None:
    direct = Direct(processing=0.0, failed_batch_share=0.5, fail_messages=["gone"])
    for number in range(60):
        direct.taken([item(number)])
    answers = [direct.poll(batch.id) for batch in direct.emulator.batches]
    failed = [answer for answer in answers if answer.json["status"] == "FAILED"]
    assert 15 < len(failed) < 45
    assert {answer.status for answer in failed} == {206}
    assert {answer.json["data"][0]["status"]["message"] for answer in failed} == {"gone"}


def test_rows_come_shuffled_where_it_is_wanted_and_stay_the_same_from_poll_to_poll() -> None:
    direct = Direct(processing=0.0, shuffle_rows=True)
    batch_id = direct.taken(items(50))
    rows = direct.poll(batch_id).json["data"]
    assert [row["asin"] for row in rows] != [each["asin"] for each in items(50)]
    assert sorted(row["asin"] for row in rows) == [each["asin"] for each in items(50)]
    assert len({row["id"] for row in rows}) == 50
    assert direct.poll(batch_id).json["data"] == rows


def test_processing_may_be_a_function_of_the_items() -> None:
    def by_size(rng: random.Random, batch: list[dict[str, Any]]) -> float:
        assert isinstance(rng, random.Random)
        return float(len(batch))

    direct = Direct(processing=by_size)
    direct.taken(items(7))
    assert direct.emulator.batches[0].ends_at - direct.emulator.batches[0].taken_at == 7.0


def test_lognormal_times_lie_around_their_median() -> None:
    rng = random.Random(3)
    times = sorted(Lognormal(2.0, 0.5)(rng, []) for _ in range(2001))
    assert 1.9 < times[1000] < 2.1
    assert times[0] > 0.0


def test_items_are_applied_when_their_batch_ends_so_that_an_earlier_one_may_land_last() -> None:
    direct = Direct(processing=lambda rng, batch: 10.0 if batch[0]["percACoS"] == 11.0 else 1.0)
    direct.taken([item(0, 11.0)])
    direct.taken([item(0, 22.0)])
    assert direct.emulator.applied == {}
    direct.clock.move(5.0)
    assert direct.emulator.applied[item(0)["asin"], "US"]["percACoS"] == 22.0
    direct.clock.move(5.0)
    assert direct.emulator.applied[item(0)["asin"], "US"]["percACoS"] == 11.0
    assert [each["percACoS"] for each in direct.emulator.applied_to("process/masterlist")] == [22.0, 11.0]
    assert direct.emulator.overlaps == [(item(0)["asin"], "US")]


@pytest.mark.parametrize("path", ["/amazon/v2/process/masterlist", "/amazon/v2/unmanaged/asins"])
def test_the_first_write_to_an_item_is_an_insert_and_the_others_are_updates(path: str) -> None:
    direct = Direct(processing=0.0)
    processes = [direct.poll(direct.taken([item(0)], path)).json["data"][0]["status"]["process"] for _ in range(3)]
    assert processes == ["INSERT", "UPDATE", "UPDATE"]


def test_an_item_that_failed_has_not_been_inserted() -> None:
    direct = Direct(processing=0.0, fail=lambda each: "no" if each["percACoS"] == 66.0 else None)
    seen = [direct.poll(direct.taken([item(0, target)])).json["data"][0]["status"] for target in (66.0, 10.0, 66.0)]
    assert [(row["success"], row["process"]) for row in seen] == [
        (False, "INSERT"),
        (True, "INSERT"),
        (False, "UPDATE"),
    ]
    assert direct.emulator.applied[item(0)["asin"], "US"]["percACoS"] == 10.0


def test_letter_case_makes_no_other_item_and_the_last_spelling_stays() -> None:
    direct = Direct(processing=0.0)
    spellings = ("b0x", "B0X", "b0X", "b0x")
    processes = []
    for target, asin in enumerate(spellings, start=1):
        batch_id = direct.taken([{"asin": asin, "countryCode": "US", "percACoS": target}])
        processes.append(direct.poll(batch_id).json["data"][0]["status"]["process"])
        assert direct.emulator.applied == {(asin, "US"): {"asin": asin, "countryCode": "US", "percACoS": target}}
    assert processes == ["INSERT", "UPDATE", "UPDATE", "UPDATE"]


def test_a_batch_is_not_visible_at_first_where_it_is_wanted() -> None:
    direct = Direct(processing=0.0, visible_after=2.0)
    batch_id = direct.taken(items(1))
    assert direct.poll(batch_id).status == 404
    direct.clock.move(2.0)
    assert direct.poll(batch_id).status == 200
    assert direct.emulator.violations == []
    direct.poll("nobody")
    assert len(direct.emulator.violations) == 1


def test_what_is_asked_for_under_a_name_that_is_no_resource_is_an_error() -> None:
    with pytest.raises(ValueError, match="process/masterlist"):
        Emulator().applied_to("masterlist")


@pytest.mark.parametrize(
    "settings",
    [{"fail_share": 1.1}, {"missing_row_share": -0.1}, {"batch_paths": "neither"}, {"fail_messages": ()}],
)
def test_settings_that_mean_nothing_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"share|batch_paths|fail_messages"):
        Emulator(**settings)
