"""The golden bytes of the generator: one digest a cell and a few problems in full, to be read in a diff.

`python -m tests.golden.generated` writes the file anew; do so only for a change that is meant to change the bytes, and
say so in the commit: every seed of every published run then stands for another problem.
"""

import json
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

from verifier.graphs.generate import generate
from verifier.graphs.graph import canonical_hash
from verifier.graphs.problem import MODES, TEMPLATES, ProblemSpec

FILE = Path(__file__).with_name("generated.jsonl")
SEEDS = range(8)
SHOWN = (
    ProblemSpec(2),
    ProblemSpec(7, "reverse", "school"),
    ProblemSpec(12, "forward", "movie", max_facts=8),
    ProblemSpec(8, "reverse", "zoo", depth=3),
    ProblemSpec(9, "reverse", "school", max_answer=50, max_constant=30),
)


def lines() -> Iterator[str]:
    """The lines of the golden file."""
    for spec in SHOWN:
        problem = generate(spec, 1)
        record = {
            "id": problem.id,
            "hash": canonical_hash(problem),
            "problem": problem.problem,
            "question": problem.question,
            "solution": problem.solution,
        }
        yield json.dumps(record, ensure_ascii=False)
    for depth, ops in ((2, range(2, 41, 2)), (3, range(4, 41, 6))):
        for op in ops:
            for mode in MODES:
                for template in TEMPLATES:
                    spec = ProblemSpec(op, mode, template, depth)
                    cell = {"op": op, "mode": mode, "template": template, "depth": depth}
                    yield json.dumps(cell | {"sha256": _digest(spec)})


def _digest(spec: ProblemSpec) -> str:
    digest = sha256()
    for seed in SEEDS:
        problem = generate(spec, seed)
        digest.update("\n".join([problem.problem, problem.question, problem.solution, ""]).encode())
    return digest.hexdigest()


if __name__ == "__main__":
    FILE.write_text("".join(f"{line}\n" for line in lines()), encoding="utf-8")
