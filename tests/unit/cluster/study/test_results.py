"""What `study.json` says follows from the folders of the runs alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cluster.study.folder import FAILURE_FILE
from cluster.study.model import Scale, Study
from cluster.study.plan import Member
from cluster.study.results import content
from tests.studies import leave, left, little


def test_a_claim_is_decided_by_all_seeds_of_all_its_arms(tmp_path: Path):
    (claim,) = content(left(tmp_path / "s", little(), {"arm0": 0.6, "arm1": 0.3}))["claims"]
    assert claim["verdict"] == "supported"
    assert [c["against"] for c in claim["comparisons"]] == ["arm1", "base"]
    assert all(len(c["per_seed"]) == 3 and c["lo"] > 0 for c in claim["comparisons"])
    assert claim["comparisons"][0]["mean"] == pytest.approx(0.3, abs=0.05)
    assert claim["comparisons"][1]["mean"] == pytest.approx(0.4, abs=0.05)
    assert claim["decided_by"].startswith("supported: positive for every seed")


def test_a_claim_is_not_resolved_while_a_run_is_missing_and_says_which(tmp_path: Path):
    given = little()
    folder = left(tmp_path / "s", given, {"arm0": 0.6})
    assert content(folder)["claims"][0]["comparisons"] == []
    for seed in (0, 1):
        leave(folder, given.plan(), Member("arm1", seed), 0.3)
    (claim,) = content(folder)["claims"]
    assert (claim["verdict"], claim["missing"]) == ("not resolved", ["arm1/2"])
    assert len(claim["comparisons"][0]["per_seed"]) == 2


def test_an_arm_has_scores_gains_moved_problems_and_first_errors_by_band(tmp_path: Path):
    found = content(left(tmp_path / "s", little(), {"arm0": 0.6, "arm1": 0.3}))
    edge = found["arms"]["arm0"]["bands"]["edge"]
    assert list(edge["scores"]["verified"]) == ["1", "2", "4"], "half of the samples bounds k"
    one = {metric: edge["scores"][metric]["1"]["mean"] for metric in ("verified", "outcome", "gap", "process")}
    assert one["outcome"] - one["verified"] == pytest.approx(one["gap"])
    assert (one["verified"], one["gap"]) == (pytest.approx(0.6, abs=0.05), pytest.approx(0.2, abs=0.05))
    assert edge["gains"]["verified"]["1"]["mean"] == pytest.approx(0.4, abs=0.05)
    assert sum(edge["problems"].values()) == pytest.approx(1)
    assert edge["problems"]["solved"] > edge["problems"]["lost"]
    wrong = edge["completions"] * (1 - one["verified"])
    assert edge["first_errors"] == {"wrong value": [0, pytest.approx(wrong)]}
    assert edge["traces"] == 3
    assert list(found["arms"]["arm0"]["strata"]) == list(found["base"]["strata"])


def test_arms_that_spent_different_amounts_are_told_apart(tmp_path: Path):
    given = little(seeds=1)
    folder = left(tmp_path / "s", given, {"arm0": 0.6})
    leave(folder, given.plan(), Member("arm1", 0), 0.3, drawn=150)
    found = content(folder)
    assert found["claims"][0]["compute"] == {"unit": "samples", "apart": 1 - 150 / 160, "equal": False}
    spent = found["arms"]["arm1"]["spent"]["0"]
    assert (spent["samples"], spent["flops"], spent["paper_tokens"]) == (150, 1e9, 5e3)


def test_a_failed_run_is_named_with_its_failure(tmp_path: Path):
    given = little()
    folder = left(tmp_path / "s", given, {"arm0": 0.6})
    failed = folder.path / "arm1" / "2"
    failed.mkdir(parents=True)
    (failed / FAILURE_FILE).write_text("no room\n")
    runs = content(folder)["arms"]["arm1"]["runs"]
    assert runs["2"] == {"done": False, "failure": "no room", "folder": "arm1/2"}
    assert runs["0"]["failure"] is None


def test_the_same_runs_give_the_same_bytes_but_for_their_times(tmp_path: Path):
    both = [content(left(tmp_path / name / "s", little(), {"arm0": 0.5, "arm1": 0.4})) for name in ("a", "b")]
    for found in both:
        assert found.pop("times")["arm0/0"] == {"rl": 1.5, "after": 1.5, "report": 1.5}
    assert json.dumps(both[0]) == json.dumps(both[1])


def test_a_claim_that_was_changed_after_the_first_run_is_shown_as_changed(tmp_path: Path):
    given = little()
    folder = left(tmp_path / "s", given, {"arm0": 0.6, "arm1": 0.3})
    assert content(folder)["amendments"] == []
    tree = given.study.model_dump()
    tree["claims"][0]["k"] = 2
    folder.register(given.model_copy(update={"study": Study.model_validate(tree)}))
    assert content(folder)["amendments"] == ["claims.better.k: 1 -> 2"]
    assert folder.registered() == given, "what was registered stays"
    folder.register(given)
    assert content(folder)["amendments"] == []


def test_another_scale_that_was_added_is_no_change(tmp_path: Path):
    given = little()
    folder = left(tmp_path / "s", given, {"arm0": 0.6, "arm1": 0.3})
    scales = given.study.scales | {"gpu": Scale(recipe="gpu-13m")}
    folder.register(given.model_copy(update={"study": given.study.model_copy(update={"scales": scales})}))
    assert content(folder)["amendments"] == []
