"""The published numbers of studies follow from the published evaluations, to the last digit."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from cluster.study.load import load, scale_of
from cluster.study.measures import Measured, of_base
from cluster.study.plan import make_plan
from cluster.study.results import Arm, claimed
from tests.golden.study_tables import pages
from trainers.evaluation.evaluate import Evaluation


def published(page: Path, name: str) -> Evaluation:
    return Evaluation.from_record(json.loads(gzip.decompress((page.with_suffix("") / "evals" / name).read_bytes())))


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.stem)
def test_the_numbers_of_a_published_study_are_those_of_its_evaluations(page: Path):
    found: dict[str, Any] = json.loads((page.with_suffix("") / "study.json").read_text(encoding="utf-8"))
    study = load(page.stem)
    plan = make_plan(study, scale_of(study, None))
    bands = plan.runs[0].recipe.bands
    base = dict.fromkeys(study.seeds, published(page, "base.json.gz"))
    arms = {
        arm: Arm.of(bands, Measured.of(base, {s: published(page, f"{arm}-{s}.json.gz") for s in study.seeds}), False)
        for arm in study.arms
    }
    assert of_base(bands, base) == found["base"]
    for name, arm in arms.items():
        assert arm.numbers == {part: found["arms"][name][part] for part in ("bands", "strata")}
    for claim, said in zip(study.claims, found["claims"], strict=True):
        verdict = claimed(study, bands, claim, arms)
        assert verdict == {part: said[part] for part in ("verdict", "missing", "comparisons")}
