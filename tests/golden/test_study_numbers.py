"""The published numbers of studies follow from the published evaluations, to the last digit."""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from cluster.study.load import load, scale_of
from cluster.study.measures import Measured, of_base
from cluster.study.plan import make_plan
from cluster.study.results import Arm, claimed
from tests.golden.study_tables import pages
from trainers.evaluation.evaluate import Evaluation


def published(page: Path, name: str) -> Evaluation | None:
    """The evaluation; None for a run that was not made yet."""
    path = page.with_suffix("") / "evals" / name
    return Evaluation.from_record(json.loads(gzip.decompress(path.read_bytes()))) if path.exists() else None


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.stem)
def test_the_numbers_of_a_published_study_are_those_of_its_evaluations(page: Path):
    found: dict[str, Any] = json.loads((page.with_suffix("") / "study.json").read_text(encoding="utf-8"))
    study = load(page.stem)
    plan = make_plan(study, scale_of(study, None))
    bands = plan.runs[0].recipe.bands
    shared = published(page, "base.json.gz")
    base = {seed: shared for seed in study.seeds if shared is not None}
    assert bool(base) is plan.one_base
    assert of_base(bands, base) == found["base"]
    arms: dict[str, Arm] = {}
    for name in study.arms:
        before = base or _measured(page, f"{name}-{{}}-before", study.seeds)
        after = _measured(page, f"{name}-{{}}", study.seeds)
        arm = arms[name] = Arm.of(bands, Measured.of(before, after), with_base=not plan.one_base)
        assert arm.numbers == {part: found["arms"][name][part] for part in ("bands", "strata")}
        assert plan.one_base or arm.base == found["arms"][name]["base"]
    for claim, said in zip(study.claims, found["claims"], strict=True):
        verdict = claimed(study, bands, claim, arms)
        assert verdict == {part: said[part] for part in ("verdict", "missing", "comparisons")}


def _measured(page: Path, name: str, seeds: Sequence[int]) -> dict[int, Evaluation]:
    found = {seed: published(page, f"{name.format(seed)}.json.gz") for seed in seeds}
    return {seed: evaluation for seed, evaluation in found.items() if evaluation is not None}
