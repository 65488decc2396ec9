"""What `study.json` says follows from the folders of the runs alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from cluster.study.folder import FAILURE_FILE, StudyFolder
from cluster.study.model import AFTER, BEFORE, Scale, Study
from cluster.study.page import write_study
from cluster.study.plan import Member
from cluster.study.results import content
from tests.studies import leave, left, little, recovering
from trainers.evaluation.ledger import StageRecord


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


def test_recovery_is_told_of_each_arm_that_measures_it_and_a_claim_may_be_about_it(tmp_path: Path):
    given = recovering(BEFORE, AFTER, metric="recovery")
    found = content(left(tmp_path / "s", given, {"arm0": 0.8, "arm1": 0.3}))
    edge = found["arms"]["arm0"]["bands"]["edge"]
    rate, gain = edge["scores"]["recovery"]["1"], edge["gains"]["recovery"]["1"]
    assert rate["mean"] == pytest.approx(0.4, abs=0.05)
    assert rate["lo"] < rate["mean"] < rate["hi"]
    assert len(rate["per_seed"]) == 3
    assert gain["mean"] == pytest.approx(0.3, abs=0.05)
    (claim,) = found["claims"]
    assert claim["verdict"] == "supported"
    assert claim["comparisons"][0]["mean"] == pytest.approx(0.25, abs=0.06)


def test_an_arm_has_no_gain_in_recovery_if_its_base_was_not_asked_for_it(tmp_path: Path):
    given = recovering(AFTER)
    found = content(left(tmp_path / "s", given, {"arm0": 0.8, "arm1": 0.3}))
    edge = found["arms"]["arm0"]["bands"]["edge"]
    assert "recovery" in edge["scores"]
    assert "verified" in edge["gains"]
    assert "recovery" not in edge["gains"]


def test_planted_errors_change_no_other_number(tmp_path: Path):
    rates = {"arm0": 0.6, "arm1": 0.3}
    plain = content(left(tmp_path / "a" / "s", little(), rates))["arms"]
    assert "recovery" not in json.dumps(plain)
    asked = content(left(tmp_path / "b" / "s", recovering(BEFORE, AFTER), rates))["arms"]
    for band in (band for arm in asked.values() for band in arm["bands"].values()):
        assert band["scores"].pop("recovery")
        assert band["gains"].pop("recovery")
    assert json.dumps(asked) == json.dumps(plain)


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


def test_what_was_spent_counts_the_stages_that_arms_share_and_no_others(tmp_path: Path):
    """Two arms share a mid-training after the base, which their own folders hold the records of."""
    folder = StudyFolder(tmp_path / "split")
    given = little(seeds=1)
    folder.register(given)
    for arm in ("arm0", "arm1"):
        leave(folder, given.plan(), Member(arm, 0), 0.5)
        run = folder.run(given.plan().run(Member(arm, 0)))
        kinds = {"warm": "rl", "before": "eval", "more": "midtrain", "rl": "rl", "after": "eval"}
        records = [asdict(StageRecord(name, kind, 1.0, 10, 2e9, 3.0)) for name, kind in kinds.items()]
        (run.path / "stages.json").write_text(json.dumps(records))
        steps = [{"time": 0.0, "event": "rl_step", "stage": s, "step": 1, "completions": 80} for s in ("warm", "rl")]
        run.metrics.write_text("".join(json.dumps(step) + "\n" for step in steps))
    found = content(folder)
    assert found["arms"]["arm1"]["spent"]["0"] == {
        "tokens": 20, "flops": 4e9, "paper_tokens": 6.0, "samples": 80, "evaluation_flops": 2e9,
    }  # fmt: skip
    assert found["claims"][0]["compute"]["equal"]


def rewritten(folder: StudyFolder, member: Member, stage: str, change: Callable[[dict[str, Any]], None]) -> None:
    """Change the record of an evaluation as an older version might have left it."""
    path = folder.path / str(member) / "evals" / f"{stage}.json"
    record = json.loads(path.read_text())
    change(record)
    path.write_text(json.dumps(record))


def rename(record: dict[str, Any]) -> None:
    for score in record["scores"]:
        score["problem_id"] += "-other"


def test_arms_that_were_evaluated_on_other_problems_have_a_report_without_their_difference(tmp_path: Path):
    folder = left(tmp_path / "s", little(), {"arm0": 0.6, "arm1": 0.3})
    for seed in range(3):
        rewritten(folder, Member("arm1", seed), AFTER, rename)
    found = write_study(folder)
    first, second = found["claims"][0]["comparisons"]
    assert first["verdict"] == "not resolved"
    assert first["why_none"].startswith("not evaluated alike: on other problems")
    assert (second["against"], second["verdict"]) == ("base", "supported")
    assert "gains" not in found["arms"]["arm1"]["bands"]["edge"], "nor can it be paired with its base"
    page = (folder.path / "study.html").read_text()
    assert first["why_none"] in page
    assert "its base was evaluated otherwise" in page


def test_a_seed_that_was_evaluated_otherwise_is_left_out_and_says_why(tmp_path: Path):
    folder = left(tmp_path / "s", little(), {"arm0": 0.6, "arm1": 0.3})
    rewritten(folder, Member("arm1", 2), AFTER, lambda record: record.update(temperature=0.7))
    found = write_study(folder)
    assert found["arms"]["arm1"]["left_out"] == {"2": "at temperature 1 and 0.7"}
    assert found["claims"][0]["missing"] == ["arm1/2"]
    assert "arm1/2 is left out" in (folder.path / "study.html").read_text()


def test_a_problem_with_few_judged_samples_is_left_out_on_both_sides(tmp_path: Path):
    given = little()
    tree = given.study.model_dump()
    tree["claims"][0]["k"] = 2
    folder = left(
        tmp_path / "s", given.model_copy(update={"study": Study.model_validate(tree)}), {"arm0": 0.6, "arm1": 0.3}
    )
    whole = content(folder)

    def lose(record: dict[str, Any]) -> None:
        record["scores"][-1].update(samples=1, outcome=1, strict=1)

    rewritten(folder, Member("arm1", 1), AFTER, lose)
    found = content(folder)
    assert found["claims"][0]["comparisons"][0]["mean"] == pytest.approx(
        whole["claims"][0]["comparisons"][0]["mean"], abs=0.05
    )
    assert found["claims"][0]["comparisons"][1] == whole["claims"][0]["comparisons"][1], "arm0 and its base have it"
    assert list(found["arms"]["arm1"]["bands"]["edge"]["scores"]["verified"]) == ["1", "2", "4"]


def test_arms_that_start_from_other_bases_are_shown_with_their_own(tmp_path: Path):
    made = little(seeds=1)
    tree = made.study.model_dump()
    tree["arms"]["arm1"]["changes"]["stages.pretrain.train.steps"] = 50
    tree["claims"][0]["against"] = ["arm1"]
    given = made.model_copy(update={"study": Study.model_validate(tree)})
    folder = StudyFolder(tmp_path / "s")
    folder.register(given)
    leave(folder, given.plan(), Member("arm0", 0), 0.6, base=0.2)
    leave(folder, given.plan(), Member("arm1", 0), 0.5, base=0.4)
    found = write_study(folder)
    assert found["base"] == {"bands": {}, "strata": {}}
    bases = [found["arms"][arm]["base"]["bands"]["edge"]["scores"]["verified"]["1"]["mean"] for arm in found["arms"]]
    assert bases == [pytest.approx(0.2, abs=0.06), pytest.approx(0.4, abs=0.06)]
    strata = (folder.path / "figures" / "strata.svg").read_text()
    assert "base of arm0" in strata
    assert "base of arm1" in strata
    assert ">base<" not in (folder.path / "figures" / "curves.svg").read_text()


def test_a_base_that_all_arms_share_is_shown_once(tmp_path: Path):
    found = content(left(tmp_path / "s", little(), {"arm0": 0.6, "arm1": 0.3}))
    assert found["base"]["bands"]["edge"]["scores"]["verified"]["1"]["mean"] == pytest.approx(0.2, abs=0.05)
    assert [arm["base"] for arm in found["arms"].values()] == [None, None]
