"""The questions of `python -m benchmarks`: that they run, are honest, and reckon correctly. Never their figures."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable
from pathlib import Path
from statistics import mean
from typing import Any

import pytest

from benchmarks import first_result, growth, imports, many, memory, reading, speed, tracing, waiting, web
from benchmarks.__main__ import QUESTIONS, main
from benchmarks.honesty import DishonestRunError
from benchmarks.oracle import Point, at, curve, plan
from benchmarks.questions import Answer, Verdict
from benchmarks.runner import client
from benchmarks.virtual import run
from benchmarks.worlds import ACCEPTING, ROUND_TRIP, WORLDS, World, ideal_time, lognormal, total_time


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed, "QUICK", {"items": 1_000, "runs": 1})
    monkeypatch.setattr(memory, "QUICK_SIZES", (1_000, 2_000))
    monkeypatch.setattr(growth, "QUICK_SIZES", (1_000, 2_000, 4_000))
    monkeypatch.setattr(growth, "QUICK_SLOTS", (2, 4))
    monkeypatch.setattr(growth, "QUICK_SECONDS", 0.2)
    monkeypatch.setattr(first_result, "SIZES", (1_000,))
    monkeypatch.setattr(many, "QUICK_ITEMS", 1_000)
    monkeypatch.setattr(many, "UPLOADS", 5)
    monkeypatch.setattr(tracing, "QUICK", {"items": 1_000, "runs": 1})
    monkeypatch.setattr(imports, "QUICK_RUNS", 1)
    monkeypatch.setattr(web, "QUICK_REQUESTS", 20)
    monkeypatch.setattr(web, "UPLOADS", 20)
    monkeypatch.setattr(reading, "QUICK_SIZE", 300)
    monkeypatch.setattr(waiting, "BATCHES", 40)
    monkeypatch.setattr(waiting, "WORLDS", WORLDS[:2])


@pytest.mark.slow
@pytest.mark.usefixtures("tiny")
def test_each_question_prints_a_table_and_verdicts_and_is_kept_as_json_and_drawn(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib", reason="pictures are drawn by the extra `bench`, which is not a part of `test`")

    assert main(["--quick", "--json", str(tmp_path / "all.json"), "--pictures", str(tmp_path / "pictures")]) == 0

    kept = json.loads((tmp_path / "all.json").read_text(encoding="utf-8"))
    assert list(kept) == list(QUESTIONS)
    assert all(each["figures"] and each["verdicts"] for each in kept.values())
    printed = capsys.readouterr().out
    assert all(f"== {name}: " in printed for name in QUESTIONS)
    assert printed.count("(goal: at ") == sum(len(each["verdicts"]) for each in kept.values())
    pictures = {file.name: file.read_text(encoding="utf-8") for file in (tmp_path / "pictures").iterdir()}
    assert sorted(pictures) == ["growth.svg", "memory.svg", "speed.svg", "waiting.svg"]
    assert all("<svg" in picture for picture in pictures.values())


def test_a_question_can_be_asked_alone_and_a_missed_goal_fails_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    missed = Answer("a table", {"some": 1}, [Verdict("the figure", 3.0, 2.0)])
    never: Callable[[bool], Answer] = lambda quick: pytest.fail("was not asked for")  # noqa: E731  # short

    assert main(["one", "--quick"], {"one": ("Which?", lambda quick: missed), "other": ("What?", never)}) == 0

    assert "MISSED  the figure: 3 (goal: at most 2)" in capsys.readouterr().out


def cheat(folder: Path, does: str) -> tuple[str, ...]:
    """A client that was not asked for less, and does less."""
    script = folder / "cheat.py"
    script.write_text(
        "import sys; sys.path.insert(0, '.')\n"
        "from itertools import islice\n"
        "from benchmarks.clients import library\n"
        "from benchmarks.clients.harness import Claim, main\n"
        "async def upload(url, items, in_flight):\n"
        f"    {does}\n"
        "main(upload)\n",
        encoding="utf-8",
    )
    return (str(script),)


LOSES = "return await library.upload(url, islice(items, 100, None), in_flight)"


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("question", ["memory", "growth"])
def test_a_library_that_loses_items_fails_the_question(
    question: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    loser = client("library").__class__("library", cheat(tmp_path, LOSES))
    monkeypatch.setattr(memory, "CLIENTS", (loser,))
    monkeypatch.setattr(growth, "LIBRARY", loser)

    assert main([question, "--quick"]) == 1

    assert "library is not to be trusted" in capsys.readouterr().err


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize(
    ("module", "told"),
    [
        (first_result, {"seconds": 0.1, "ok": True}),
        (many, {"wall": 1.0, "sent": 1_000, "succeeded": 1_000, "seconds": [1.0]}),
    ],
)
def test_what_the_server_did_not_count_is_not_believed(
    module: Any, told: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "told_by", lambda *args, **kwargs: told)

    with pytest.raises(DishonestRunError):
        module.answer(quick=True)


@pytest.mark.parametrize(
    ("verdict", "met"),
    [
        (Verdict("x", 2.0, 2.0), True),
        (Verdict("x", 2.1, 2.0), False),
        (Verdict("x", 6.0, 6.0, at_most=False), True),
        (Verdict("x", 5.9, 6.0, at_most=False), False),
    ],
)
def test_a_goal_is_met_up_to_its_bound(verdict: Verdict, met: bool) -> None:
    assert verdict.is_met is met
    assert ("MISSED" in str(verdict)) is not met


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0])
def test_the_exponent_is_that_of_the_growth(power: float) -> None:
    assert growth.exponent({size: 3.0 * size**power for size in (10, 100, 1000)}) == pytest.approx(power)


# ---- the waiting


def test_slots_are_taken_in_turn() -> None:
    assert total_time([1.0] * 6, 2) == 3.0
    assert total_time([5.0, 1.0, 1.0, 1.0], 2) == 5.0
    assert ideal_time([1.0, 1.0], 1) == pytest.approx(2 * (1.0 + ACCEPTING + ROUND_TRIP))


def test_the_oracle_is_never_worse_than_even_spacing_at_the_same_number_of_questions() -> None:
    world = World("10 s", (lognormal(10.0, 0.4),))
    times = world.times(1, 2_000)
    points = curve(world, 1, times, 20)

    for step in (1.0, 2.0, 4.0):
        asked = [1 + int(max(0.0, time - ROUND_TRIP - 4.0) // step + 1) for time in times]
        seen = [4.0 + step * (polls - 1) for polls in asked]
        polls, delay = mean(asked), mean(age + ROUND_TRIP - time for age, time in zip(seen, times, strict=True))
        assert at(points, polls).delay < 1.05 * delay


def test_a_plan_asks_once_where_all_end_at_one_time_and_not_at_all_in_a_gap() -> None:
    assert plan([5.0] * 10, 0.1) == pytest.approx([5.0 - ROUND_TRIP])
    assert plan([1.0] * 7 + [12.0] * 3, 0.1) == pytest.approx([1.0 - ROUND_TRIP, 12.0 - ROUND_TRIP])


def test_between_two_points_of_the_curve_lies_their_mean() -> None:
    points = [Point(1.0, 9.0, 90.0), Point(3.0, 5.0, 70.0)]

    assert at(points, 2.0) == Point(2.0, 7.0, 80.0)
    assert at(points, 0.5) == points[0]
    assert at(points, 9.0) == points[1]


def test_a_worlds_draws_for_the_plan_are_others_than_those_it_is_judged_on() -> None:
    for world in WORLDS:
        judged = world.times(1, 50)
        assert judged == world.times(1, 50) != world.times(2, 50)
        assert not {*judged} & {time for sample in world.sample(1, 50) for time in sample}


def test_the_server_in_virtual_time_counts_what_the_library_asks_and_how_late_it_sees_the_ends() -> None:
    rng = random.Random(1)
    times = [rng.uniform(1.0, 2.0) for _ in range(30)]

    found = run(times, 5)

    assert found.polls >= 1.0
    assert 0.0 <= found.delay < 1.0
    assert found.total >= ideal_time(times, 5) - 1e-6


def test_a_library_that_leaves_batches_unseen_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    async def upload(*_: object) -> int:
        await asyncio.sleep(0)
        return 3_000

    monkeypatch.setattr("benchmarks.virtual._upload", upload)

    with pytest.raises(DishonestRunError, match="0 were seen"):
        run([1.0] * 30, 5)
