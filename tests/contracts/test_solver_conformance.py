"""The solver against the reference's problems: it agrees on every sound one and flags every ill-posed one."""

import gzip
import json

import pytest

from verifier.graphs.solver.solve import solve


@pytest.fixture(scope="module")
def rows(conformance):
    with gzip.open(conformance / "problems.jsonl.gz", "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def _is_ill_posed(row) -> bool:
    return any(quirk.startswith("ill_posed") for quirk in row.get("quirk", ()))


def test_every_sound_problem_gets_the_gold_answer_and_every_gold_value(rows):
    sound = [row for row in rows if not _is_ill_posed(row)]
    assert len(sound) == 309 + 257
    for row in sound:
        found = solve(row["problem"], row["question"])
        assert found.fault is None, (row["pid"], found.fault)
        assert str(found.answer) == row["answer"], row["pid"]
        gold = {name: true for (name, *_), true in zip(row["gold"], row["true_values"], strict=True)}
        assert found.values() == gold, row["pid"]


def test_every_ill_posed_problem_is_flagged(rows):
    """44 have no answer. In 8 the lost sentence was the only mention of a kind, so the words have another answer."""
    ill = [row for row in rows if _is_ill_posed(row)]
    found = [solve(row["problem"], row["question"]) for row in ill]
    assert sum(not derivation.well_posed for derivation in found) == 44
    for row, derivation in zip(ill, found, strict=True):
        assert not derivation.well_posed or (derivation.doubt and str(derivation.answer) != row["answer"])
