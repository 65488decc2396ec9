"""The golden judgements of both judges on traces of our own, right and spoiled in every way, to be read in a diff.

`python -m tests.golden.judged` writes the file anew; do so only for a change that is meant to change judgements, and
say so in the commit: rewards of earlier runs were computed with the old ones. The texts stand in the file, so that a
change of the generator changes nothing here.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from random import Random

from tests.unit.verifier.graphs.spoiled import CORRUPTIONS, answered, body_of, made, relettered
from verifier.graphs.judge.gold import prepare
from verifier.graphs.judge.judge import verify
from verifier.graphs.original.judge import judge
from verifier.graphs.problem import MODES, TEMPLATES

FILE = Path(__file__).with_name("judged.jsonl")


def texts() -> Iterator[dict[str, str]]:
    """Problems and texts to judge: per mode a right one, and one of every corruption that applies."""
    rng = Random(7)
    for mode in MODES:
        for index, corruption in enumerate((None, *CORRUPTIONS)):
            problem = made(3 + index, mode, TEMPLATES[index % 3], index)
            body = relettered(body_of(problem), rng)
            spoiled = corruption(body, rng) if corruption else body
            if corruption is None or spoiled != body:
                yield {
                    "case": f"{mode} {corruption.__name__ if corruption else 'right'}",
                    "problem": problem.problem,
                    "question": problem.question,
                    "solution": problem.solution,
                    "text": answered(spoiled, problem.answer),
                }


def judged(case: dict[str, str]) -> dict[str, object]:
    """What both judges say of one text."""
    gold = prepare(case["problem"], case["question"], case["solution"])
    reference = judge(case["text"], case["solution"]).to_record()
    return {"strict": verify(case["text"], gold).verify_row(), "reference": reference}


def main() -> None:
    """Write the file."""
    rows = (json.dumps({**case, **judged(case)}, ensure_ascii=False) for case in texts())
    FILE.write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")


if __name__ == "__main__":
    main()
