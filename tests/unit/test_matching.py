from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quartile_async import MASTERLIST, BatchStatus, ItemResult, Outcome
from quartile_async._chunking import Chunk
from quartile_async._matching import Matched, match
from quartile_async._validation import codec_for


def chunk_of(*items: dict[str, Any]) -> Chunk:
    checked = codec_for(MASTERLIST).check(items)
    assert not checked.problems
    return Chunk(list(range(len(items))), list(items), checked.wires, checked.keys)


def item(number: int) -> dict[str, Any]:
    return {"asin": f"B0{number:08d}X", "countryCode": "US", "percACoS": 20.0 + number}


def row(item: dict[str, Any], success: Any = True, **changes: Any) -> dict[str, Any]:
    status = {"success": success, "message": "said so", "process": "INSERT"}
    return {**item, "id": "497f6eca-6276-4993-bfeb-53cbbbba6f08", "status": status, **changes}


def matched(items: list[dict[str, Any]], rows: list[dict[str, Any]], status: str = "SUCCESS") -> Matched:
    return match(chunk_of(*items), BatchStatus("b1", status, rows, finished=True), MASTERLIST, resent=False)


def only(matched: Matched) -> ItemResult[Any]:
    (result,) = matched.results
    return result


@given(st.integers(1, 30), st.randoms(use_true_random=False))
def test_rows_are_matched_by_key_whatever_their_order(count: int, rng: random.Random) -> None:
    items = [item(number) for number in range(count)]
    verdicts = {each["asin"]: rng.random() < 0.5 for each in items}
    rows = [row(each, success=verdicts[each["asin"]]) for each in items]
    rng.shuffle(rows)

    results = matched(items, rows, "PARTIAL").results

    assert [(result.index, result.item) for result in results] == list(enumerate(items))
    assert [result.ok for result in results] == [verdicts[each["asin"]] for each in items]
    assert all(result.row is not None and result.row["asin"] == result.item["asin"] for result in results)


def test_a_result_carries_the_servers_row_message_process_and_ids() -> None:
    result = only(matched([item(1)], [row(item(1))]))

    assert (result.outcome, result.message, result.process) == (Outcome.SUCCEEDED, "said so", "INSERT")
    assert (result.id, result.batch_id) == ("497f6eca-6276-4993-bfeb-53cbbbba6f08", "b1")


def test_letter_case_and_number_types_of_a_row_do_not_matter() -> None:
    changed = row(item(1), asin=item(1)["asin"].lower(), countryCode="us", percACoS="21")

    assert only(matched([item(1)], [changed])).ok


def test_an_item_without_a_row_is_unknown_and_says_which_batch_has_ended() -> None:
    first, second = matched([item(1), item(2)], [row(item(1))]).results

    assert first.ok
    assert (second.outcome, second.row, second.not_sent) == (Outcome.UNKNOWN, None, False)
    assert "b1" in second.message


def test_foreign_rows_are_ignored_and_counted() -> None:
    result = matched([item(1)], [row(item(7)), row(item(1)), row({"asin": 3})])

    assert only(result).ok
    assert result.foreign_rows == 2
    assert result.fits


def test_rows_of_which_none_fits_are_not_trusted() -> None:
    assert not matched([item(1)], [row(item(7))]).fits


def test_an_end_without_any_row_leaves_every_item_unknown() -> None:
    result = matched([item(1)], [])

    assert result.fits
    assert only(result).outcome is Outcome.UNKNOWN


def test_a_repeated_row_counts_once() -> None:
    result = matched([item(1)], [row(item(1)), row(item(1))])

    assert only(result).ok
    assert result.foreign_rows == 1


@pytest.mark.parametrize("verdicts", [(True, False), (False, True), (True, "yes")])
def test_rows_that_contradict_each_other_are_never_a_success(verdicts: tuple[Any, Any]) -> None:
    result = only(matched([item(1)], [row(item(1), success=verdict) for verdict in verdicts]))

    assert result.outcome is Outcome.UNKNOWN
    assert "contradict" in result.message


@pytest.mark.parametrize("success", ["true", 1, None, [], {}, "yes", 1.0])
def test_nothing_but_true_is_a_success(success: Any) -> None:
    assert only(matched([item(1)], [row(item(1), success=success)])).outcome is Outcome.UNKNOWN


@pytest.mark.parametrize("status", [None, "SUCCESS", True, [], 1])
def test_a_row_without_a_readable_status_is_unknown(status: Any) -> None:
    assert only(matched([item(1)], [row(item(1), status=status)])).outcome is Outcome.UNKNOWN


@pytest.mark.parametrize(
    ("status", "success", "outcome"),
    [
        ("SUCCESS", True, Outcome.SUCCEEDED),
        ("SUCCESS", False, Outcome.FAILED),
        ("PARTIAL", True, Outcome.SUCCEEDED),
        ("PARTIAL", False, Outcome.FAILED),
        ("FAILED", False, Outcome.FAILED),
        ("FAILED", True, Outcome.UNKNOWN),
        ("DONE", True, Outcome.UNKNOWN),
        ("DONE", False, Outcome.UNKNOWN),
        ("success", True, Outcome.UNKNOWN),
    ],
)
def test_a_rows_verdict_counts_only_where_it_agrees_with_the_batchs_status(
    status: str, success: bool, outcome: Outcome
) -> None:
    result = only(matched([item(1)], [row(item(1), success=success)], status))

    assert result.outcome is outcome
    if outcome is Outcome.UNKNOWN:
        assert status in result.message


@pytest.mark.parametrize("field", ["message", "process", "id"])
@pytest.mark.parametrize("value", [None, 3, ["x"], {}])
def test_odd_types_beside_the_verdict_do_no_harm(field: str, value: Any) -> None:
    odd = row(item(1))
    (odd if field == "id" else odd["status"])[field] = value

    result = only(matched([item(1)], [odd]))

    assert result.ok
    assert getattr(result, field) in (None, "")


odd = st.sampled_from([None, 1, 0, "true", "", True, False, 1.0, {}, []])
odd_rows = st.fixed_dictionaries(
    {"status": st.fixed_dictionaries({"success": odd, "message": odd, "process": odd}) | odd, "id": odd}
) | st.just({})


@given(st.lists(odd_rows, min_size=1, max_size=4), st.sampled_from(["SUCCESS", "PARTIAL", "FAILED", "ODD"]))
def test_rows_that_are_read_together_read_as_each_alone(ends: list[dict[str, Any]], status: str) -> None:
    items = [item(number) for number in range(len(ends))]
    rows = [{**each, **end} for each, end in zip(items, ends, strict=True)]

    together = matched(items, rows, status).results
    alone = [only(matched([each], [row], status)) for each, row in zip(items, rows, strict=True)]

    for one, other in zip(together, alone, strict=True):
        assert (one.outcome, one.message, one.process, one.id) == (
            other.outcome,
            other.message,
            other.process,
            other.id,
        )
        assert one.ok == (status in ("SUCCESS", "PARTIAL") and _says_yes(one.row))


def _says_yes(row: dict[str, Any] | None) -> bool:
    verdict = (row or {}).get("status")
    return isinstance(verdict, dict) and verdict.get("success") is True
