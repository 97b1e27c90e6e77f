"""`python -m benchmarks`: every question, or those that are named; see the package's docstring."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import perf_counter

from . import first_result, growth, imports, many, memory, reading, speed, tracing, waiting, web
from .honesty import DishonestRunError
from .questions import Answer, Question
from .runner import BenchmarkError, require_orjson

QUESTIONS: Mapping[str, tuple[str, Question]] = {
    "speed": ("What does it cost, beside raw aiohttp and naive scripts?", speed.answer),
    "memory": ("Does its memory grow with the upload?", memory.answer),
    "waiting": ("How soon does it see that a batch has ended, and how often does it ask?", waiting.answer),
    "first-result": ("When do the first results come?", first_result.answer),
    "growth": ("Do twice the items take twice the time, and twice the slots half of it?", growth.answer),
    "many": ("What do many uploads at once cost, and is each served?", many.answer),
    "tracing": ("What does it cost to be told of the work, by traces or events?", tracing.answer),
    "reading": ("What does it cost to read a row of a file, beside uploading it?", reading.answer),
    "web": ("Is a web application's loop free while uploads run in it?", web.answer),
    "imports": ("What does it cost to import it?", imports.answer),
}


def main(arguments: Sequence[str] | None = None, questions: Mapping[str, tuple[str, Question]] = QUESTIONS) -> int:
    """The command. Returns 1 where a client failed, or its claims are not what the server counted."""
    options = _parser(questions).parse_args(arguments)
    answers: dict[str, Answer] = {}
    try:
        require_orjson()
        for name in options.questions or questions:
            answers[name] = _answered(name, *questions[name], quick=options.quick)
    except (BenchmarkError, DishonestRunError) as error:
        print(f"FAILED: {error}", file=sys.stderr)
        return 1
    if options.json:
        options.json.write_text(json.dumps(_as_json(answers, quick=options.quick), indent=2) + "\n", encoding="utf-8")
    if options.pictures:
        from .pictures import draw

        options.pictures.mkdir(parents=True, exist_ok=True)
        draw({name: answer.figures for name, answer in answers.items()}, options.pictures)
    return 0


def _answered(name: str, words: str, question: Question, *, quick: bool) -> Answer:
    print(f"== {name}: {words}", flush=True)
    begun = perf_counter()
    answer = question(quick)
    print(answer.table, *map(str, answer.verdicts), f"({perf_counter() - begun:.0f} s)", "", sep="\n", flush=True)
    return answer


def _as_json(answers: Mapping[str, Answer], *, quick: bool) -> dict[str, object]:
    return {
        name: {
            "quick": quick,
            "figures": answer.figures,
            "verdicts": [
                {
                    "what": each.what,
                    "figure": each.figure,
                    "goal": each.goal,
                    "at_most": each.at_most,
                    "met": each.is_met,
                }
                for each in answer.verdicts
            ],
        }
        for name, answer in answers.items()
    }


def _parser(questions: Mapping[str, object]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Measures the library beside others and beside its limits; as ratios."
    )
    parser.add_argument("questions", nargs="*", choices=[[], *questions], help=f"of {', '.join(questions)}; else all")
    parser.add_argument("--quick", action="store_true", help="a first look, in less than two minutes")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there, too")
    parser.add_argument("--pictures", type=Path, metavar="FOLDER", help="draw them there, as SVG")
    return parser


if __name__ == "__main__":
    sys.exit(main())
