"""The report says what the stages left, in one JSON file and one page that asks for nothing from outside."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from actors.telemetry import EventLog
from serving.runs.changes import problems
from trainers.evaluation.bands import Bands
from trainers.evaluation.evaluate import Evaluation, ProblemScore, TextSample
from trainers.evaluation.ledger import StageRecord
from trainers.evaluation.page import write
from trainers.evaluation.report import RunRecord, events_of
from verifier.families import TaskConfig, config_of, open_task
from verifier.judgement import Judgement
from verifier.task import Address, Stratum

HOSTILE = "Define <b>no</b> as <script>alert(1)</script>; so x = 1. "
SVG = "{http://www.w3.org/2000/svg}"
TASK = config_of("graphs").model_validate({"ops": [4]})
SUMS = config_of("gym").model_validate({"family": "gym", "datasets": [{"dataset": "chain_sum"}]})  # has no drawing
ITEM = open_task(TASK).held_out(open_task(TASK).strata()[0], 1, seed=1)[0]


def strata_of(*ops: int) -> list[Stratum]:
    return [Stratum.of(op=op, mode="forward") for op in ops]


def evaluation(strict: int) -> Evaluation:
    scores = tuple(ProblemScore(f"{s.name}-{i}", s, 4, 4, strict, 0.5, {}) for s in strata_of(2, 3) for i in (0, 1))
    gold = ITEM.gold or ""
    texts = (gold, HOSTILE + gold, gold.replace(" = ", " = 9", 1))
    samples = tuple(TextSample(ITEM.address, str(ITEM.prompt), t, open_task(TASK).judge(ITEM, t)) for t in texts)
    return Evaluation("c", 1.0, 10, 2e6, 1.0, scores, samples)


def record(events: Iterable[dict[str, Any]] = (), *evaluations: Evaluation, task: TaskConfig = TASK) -> RunRecord:
    return RunRecord(
        name="r",
        recipe={"name": "n", "seed": 3, "description": "d"},
        recipe_text="name: r\n",
        bands=Bands(ranges={"id": {"op": 2}, "edge": {"op": "3-3"}, "hard": {"op": 4}}, target="edge"),
        stages=(StageRecord("rl", "rl", 2.0, 100, 1e9, 1e4),),
        evaluations=tuple((task, evaluation) for evaluation in evaluations),
        events=tuple(events),
    )


def rl_step(stage: str, step: int, **fields: Any) -> dict[str, Any]:
    strata = {"op 3": {"share": 1.0, "pass_rate": 0.25, "samples": 30, "solved": 8}}
    numbers = {"outcome": 0.5, "truncated": 0.1, "completions": 30, "longest": 200, "updates": 1}
    groups = {"trained_groups": 2, "judged_groups": 5, "strata": strata}
    return {"event": "rl_step", "stage": stage, "step": step, **numbers, **groups, **fields}


def rl_eval(stage: str, step: int, **passes: float) -> dict[str, Any]:
    spent = {"tokens": 9, "flops": 2e9, "seconds": 1.5}
    return {"event": "rl_eval", "time": 1.0, "stage": stage, "step": step, **passes, **spent}


def test_the_report_holds_the_grid_the_gain_and_the_counters(tmp_path):
    events = [
        {"event": "sync", "parity_max_abs_diff": 1e-6, "pause_s": 0.01},
        {"event": "sync", "parity_max_abs_diff": 3e-6, "pause_s": 0.02},
        {"event": "fleet", "rollout_restarts": 1, "resent_groups": 2, "verifier_errors": 0},
        rl_step("rl", 1, strict=0.25, updates=0),
        rl_eval("rl", 1, **{"strict_pass@1": 0.5, "outcome_pass@1": 0.75}),
    ]
    content = write(tmp_path, record(events, evaluation(1), evaluation(3)))
    assert json.loads((tmp_path / "report.json").read_text()) == content
    assert content["wall_s"] == 2.0
    assert content["stages"][0]["flops"] == 1e9
    assert content["stages"][0]["paper_tokens"] == 1e4
    cell = content["eval"]["before"]["op 3"]
    assert (cell["n_problems"], cell["n_samples"], cell["strict"]["1"], cell["outcome"]["4"]) == (2, 4, 0.25, 1.0)
    learning = content["learning"]["rl"]
    assert (learning["updates"], learning["groups_drawn_per_trained"]) == (0, 2.5)
    assert content["evaluations"][0]["strict_pass@1"] == 0.5
    page = (tmp_path / "report.html").read_text()
    assert "rl: 0 of 1 steps changed the policy" in page
    assert [finding["name"] for finding in content["findings"]] == ["no-signal"]
    assert "<b>no-signal</b> (rl): the policy does not change" in page
    assert "2.50 groups were drawn for each one trained on" in page
    assert content["gain"]["strict_pass@1"] == {"mean": 0.5, "lo": 0.5, "hi": 0.5}
    changed = content["changed"]["op 3"]
    assert (changed["problems"], changed["gained"], changed["lost"]) == (2, 2, 0)
    assert "<h2>What changed</h2>" in page
    assert content["rollout"]["restarts"] == 1
    assert content["sync"]["parity_max_abs_diff"] == 3e-6


def test_the_page_asks_for_nothing_from_outside_and_shows_model_text_as_text(tmp_path):
    write(tmp_path, record([], evaluation(1), evaluation(3)))
    page = (tmp_path / "report.html").read_text()
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "<b>no</b>" not in page
    assert not re.findall(r'(?:src|href)\s*=\s*"(?!#)|url\((?!#)|@import', page)


def test_every_trace_is_drawn_with_what_became_of_its_quantities(tmp_path):
    write(tmp_path, record([], evaluation(1), evaluation(3)))
    page = (tmp_path / "report.html").read_text()
    drawings = [ElementTree.fromstring(svg) for svg in re.findall(r'<svg class="graph".*?</svg>', page, re.DOTALL)]
    kinds = [{group.get("class") for group in drawing.iter(f"{SVG}g")} for drawing in drawings]
    assert kinds[0] == {"right"}
    assert kinds[1] == {"right", "wrong"}
    assert "wrong" in kinds[2]
    assert page.count(", answer right, process accuracy 1.00") == 2


def test_a_stratum_that_changed_leads_to_its_text_and_errors_are_told_by_kind(tmp_path):
    def measured(errors: dict[str, int], strict: int) -> Evaluation:
        scores = (ProblemScore("p", ITEM.stratum, 4, 4, strict, 0.5, errors, {"missing": [0, errors["missing"]]}, 2),)
        sample = TextSample(
            ITEM.address, str(ITEM.prompt), ITEM.gold or "", open_task(TASK).judge(ITEM, ITEM.gold or "")
        )
        return Evaluation("c", 1.0, 10, 2e6, 1.0, scores, (sample,))

    run = record([], measured({"missing": 4}, 0), measured({"missing": 1}, 4))
    write(tmp_path, dataclasses.replace(run, bands=Bands()))
    page = (tmp_path / "report.html").read_text()
    assert re.search(r'<a href="#trace-0">.*</a></td><td>1</td><td>1</td><td>0</td>', page)
    assert '<details id="trace-0"' in page
    assert "<td>1.00 to 0.25</td>" in page


def test_the_texts_behind_what_changed_lie_beside_the_report_and_a_server_reads_them(tmp_path):
    def measured(strict: int, said: str) -> Evaluation:
        scores = (ProblemScore("p", ITEM.stratum, 4, 4, strict, 0.5, {}),)
        sample = TextSample(ITEM.address, str(ITEM.prompt), said, open_task(TASK).judge(ITEM, said))
        return Evaluation("c", 1.0, 10, 2e6, 1.0, scores, (sample,), texts=(sample,))

    gold = ITEM.gold or ""
    write(tmp_path, dataclasses.replace(record([], measured(0, "nothing"), measured(4, gold)), bands=Bands()))
    (stratum,) = json.loads((tmp_path / "changed.json").read_text())
    assert problems(tmp_path, stratum, "lost").data == []
    found = problems(tmp_path, stratum, "gained")
    assert found.total == 1
    (problem,) = found.data
    assert problem.prompt == str(ITEM.prompt)
    assert (problem.before.right, problem.before.text, problem.before.judgement.verified) == (0, "nothing", False)
    assert (problem.after.right, problem.after.samples, problem.after.text) == (4, 4, gold)
    assert problem.after.judgement.verified
    assert problem.after.judgement.steps


def changed_by(path: Path, *evaluations: Evaluation, **fields: Any) -> tuple[dict[str, Any], str]:
    content = write(path, dataclasses.replace(record([], *evaluations), **fields))
    return content, (path / "report.html").read_text()


def test_the_last_evaluation_is_held_against_the_first_that_asked_the_same(tmp_path):
    others = dataclasses.replace(evaluation(0), scores=evaluation(0).scores[:3])
    content, page = changed_by(tmp_path, others, evaluation(1), evaluation(2), evaluation(4))
    assert content["gain"]["strict_pass@1"]["mean"] == 0.75
    assert content["eval"]["before"]["op 3"]["n_problems"] == 2
    assert (content["unpaired"], "No gain" in page) == ("", False)


@pytest.mark.parametrize(
    ("first", "why"),
    [
        (dataclasses.replace(evaluation(1), scores=evaluation(1).scores[:3]), "on 3 and 4 problems"),
        (dataclasses.replace(evaluation(1), temperature=0.2), "at temperature 0.2 and 1"),
    ],
)
def test_evaluations_on_other_terms_have_no_gain_and_the_page_says_why(tmp_path, first, why):
    content, page = changed_by(tmp_path, first, evaluation(3))
    assert (content["gain"], content["changed"], list(content["eval"])) == (None, None, ["after"])
    assert all("gain" not in band for band in content["bands"].values())
    assert content["unpaired"] == why
    assert f"were not alike ({why})" in page
    assert json.loads((tmp_path / "changed.json").read_text()) == {}


def test_a_target_without_a_measured_stratum_has_no_gain_and_the_other_bands_have_theirs(tmp_path):
    bands = Bands(ranges={"id": {"op": 2}, "far": {"op": 9}}, target="far")
    content, page = changed_by(tmp_path, evaluation(1), evaluation(3), bands=bands)
    assert content["gain"] is None
    assert content["bands"]["id"]["gain"]["strict_pass@1"]["mean"] == 0.5
    assert "<h2>Bands</h2>" in page
    assert "<h2>What changed</h2>" in page
    assert "No gain" not in page


def test_of_two_stages_each_has_its_own_lines_and_one_that_judges_no_steps_has_none_of_those(tmp_path):
    passes = {"outcome_pass@1": 0.75}
    one = [*(rl_step("rl", step, strict=0.25) for step in (1, 2)), rl_eval("rl", 2, **{"strict_pass@1": 0.5}, **passes)]
    two = [*(rl_step("more", step) for step in (1, 2, 3)), rl_eval("more", 3, **passes)]
    for number, events in enumerate(([*one, *two], [*two, *one])):
        (folder := tmp_path / str(number)).mkdir()
        write(folder, record(events))
        page = (folder / "report.html").read_text()
        assert [f"{stage}: process verified" in page for stage in ("rl", "more")] == [True, False]
        assert [f"{stage}: answer right" in page for stage in ("rl", "more")] == [True, True]
        assert "<td>more</td><td>3</td><td></td><td>0.750</td>" in page
        assert "<td>rl</td><td>2</td><td>0.500</td><td>0.750</td>" in page


def test_texts_are_drawn_by_the_task_of_the_evaluation_that_they_are_from(tmp_path):
    text = Address(Stratum.of(digits=1), 0, 0, "test")
    sums = (ProblemScore("p", Stratum.of(digits=1), 4, 1, None, None, {}),)
    sample = TextSample(text, "1 + 2 =", " 4", Judgement(False, "4"))
    other = Evaluation("c", 1.0, 1, 1.0, 1.0, sums, (sample,))
    run = dataclasses.replace(record([]), evaluations=((SUMS, other), (TASK, evaluation(3))))
    write(tmp_path, run)
    assert '<svg class="graph"' in (tmp_path / "report.html").read_text()
    write(tmp_path, dataclasses.replace(run, evaluations=run.evaluations[::-1]))
    assert "1 + 2 =" in (tmp_path / "report.html").read_text()


def test_an_unfinished_run_has_a_report_too(tmp_path):
    content = write(tmp_path, record())
    assert content["gain"] is None
    assert content["sync"]["parity_max_abs_diff"] is None
    write(tmp_path, record([], evaluation(1)))


def test_a_run_that_only_pre_trained_shows_its_loss(tmp_path):
    steps = [
        {"event": "pretrain_step", "stage": stage, "step": step, "tokens": 100 * step, "loss": 2.0 / step}
        for stage in ("pretrain", "more")
        for step in (1, 2, 3)
    ]
    write(tmp_path, record(steps))
    page = (tmp_path / "report.html").read_text()
    assert "Pre-training" in page
    assert "nats per token" in page


def test_the_same_run_gives_the_same_bytes(tmp_path):
    pages = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write(tmp_path / name, record([], evaluation(1), evaluation(3)))
        pages.append((tmp_path / name / "report.html").read_bytes())
    assert pages[0] == pages[1]


def test_of_a_step_that_was_redone_only_the_last_record_counts(tmp_path):
    with EventLog(tmp_path / "metrics.jsonl") as log:
        for value in (1, 2):
            log.write("rl_step", stage="rl", step=1, strict=value)
            log.write("sync", version=1)
    events = events_of(tmp_path)
    assert [e["strict"] for e in events if e["event"] == "rl_step"] == [2]
    assert len([e for e in events if e["event"] == "sync"]) == 2


def test_a_step_that_is_redone_undoes_all_that_was_told_of_later_ones_of_its_stage(tmp_path):
    told = ("rl", 1), ("rl", 2), ("rl", 3), ("rl", 4), ("more", 4), ("rl", 3)
    with EventLog(tmp_path / "metrics.jsonl") as log:
        for stage, step in told:
            log.write("rl_step", stage=stage, step=step)
            if step % 2 == 0:
                log.write("rl_eval", stage=stage, step=step)
        for step in (10, 20, 30, 20):
            log.write("pretrain_step", stage="pretrain", step=step)
    events = [(e["event"], e["stage"], e["step"]) for e in events_of(tmp_path)]
    assert [(stage, step) for event, stage, step in events if event == "rl_step"] == [*told[:2], told[4], told[5]]
    assert [(stage, step) for event, stage, step in events if event == "rl_eval"] == [("rl", 2), ("more", 4)]
    assert [step for event, _, step in events if event == "pretrain_step"] == [10, 20]


def test_a_family_without_steps_or_drawing_shows_its_answers_and_texts(tmp_path):
    def measured(right: int) -> Evaluation:
        scores = tuple(ProblemScore(f"p{i}", Stratum.of(digits=1), 4, right, None, None, {}) for i in (0, 1))
        address = Address(Stratum.of(digits=1), 0, 0, "test")
        return Evaluation("c", 1.0, 1, 1.0, 1.0, scores, (TextSample(address, "1 + 2 =", " 4", Judgement(False, "4")),))

    run = record([], measured(1), measured(3), task=SUMS)
    content = write(tmp_path, dataclasses.replace(run, bands=Bands()))
    assert content["gain"]["outcome_pass@1"]["mean"] == 0.5
    assert "strict_pass@1" not in content["gain"]
    page = (tmp_path / "report.html").read_text()
    assert "pass@1 on the whole task" in page
    assert "after: verified" not in page
    assert "1 + 2 =" in page
    assert not [p.name for p in tmp_path.iterdir() if p.name.startswith(".")]
