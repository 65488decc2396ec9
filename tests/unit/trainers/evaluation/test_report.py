"""The report says what the stages left, in one JSON file and one page that asks for nothing from outside."""

from __future__ import annotations

import dataclasses
import json
import re
from xml.etree import ElementTree

from actors.telemetry import EventLog
from serving.runs.changes import problems
from trainers.evaluation.bands import Bands
from trainers.evaluation.evaluate import Evaluation, ProblemScore, TextSample
from trainers.evaluation.ledger import StageRecord
from trainers.evaluation.page import write
from trainers.evaluation.report import RunRecord, events_of
from verifier.families import config_of, open_task
from verifier.judgement import Judgement
from verifier.task import Address, Stratum

HOSTILE = "Define <b>no</b> as <script>alert(1)</script>; so x = 1. "
SVG = "{http://www.w3.org/2000/svg}"
TASK = config_of("graphs").model_validate({"ops": [4]})
ITEM = open_task(TASK).held_out(open_task(TASK).strata()[0], 1, seed=1)[0]


def strata_of(*ops: int) -> list[Stratum]:
    return [Stratum.of(op=op, mode="forward") for op in ops]


def evaluation(strict: int) -> Evaluation:
    scores = tuple(ProblemScore(f"{s.name}-{i}", s, 4, 4, strict, 0.5, {}) for s in strata_of(2, 3) for i in (0, 1))
    gold = ITEM.gold or ""
    texts = (gold, HOSTILE + gold, gold.replace(" = ", " = 9", 1))
    samples = tuple(TextSample(ITEM.address, str(ITEM.prompt), t, open_task(TASK).judge(ITEM, t)) for t in texts)
    return Evaluation("c", 1.0, 10, 2e6, 1.0, scores, samples)


def record(events=(), before: Evaluation | None = None, after: Evaluation | None = None) -> RunRecord:
    return RunRecord(
        name="r",
        recipe={"name": "n", "seed": 3, "description": "d"},
        recipe_text="name: r\n",
        task=TASK,
        bands=Bands(ranges={"id": {"op": 2}, "edge": {"op": "3-3"}, "hard": {"op": 4}}, target="edge"),
        stages=(StageRecord("rl", "rl", 2.0, 100, 1e9, 1e4),),
        before=before,
        after=after,
        events=tuple(events),
    )


def test_the_report_holds_the_grid_the_gain_and_the_counters(tmp_path):
    events = [
        {"event": "sync", "parity_max_abs_diff": 1e-6, "pause_s": 0.01},
        {"event": "sync", "parity_max_abs_diff": 3e-6, "pause_s": 0.02},
        {"event": "fleet", "rollout_restarts": 1, "resent_groups": 2, "verifier_errors": 0},
        {"event": "rl_step", "stage": "rl", "step": 1, "outcome": 0.5, "strict": 0.25,
         "truncated": 0.1, "completions": 30, "longest": 200, "updates": 0, "trained_groups": 2, "judged_groups": 5,
         "strata": {"op 3": {"share": 1.0, "pass_rate": 0.25, "samples": 30, "solved": 8}}},
        {"event": "rl_eval", "time": 1.0, "stage": "rl", "step": 1, "strict_pass@1": 0.5, "outcome_pass@1": 0.75,
         "tokens": 9, "flops": 2e9, "seconds": 1.5},
    ]  # fmt: skip
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


def test_a_family_without_steps_or_drawing_shows_its_answers_and_texts(tmp_path):
    def measured(right: int) -> Evaluation:
        scores = tuple(ProblemScore(f"p{i}", Stratum.of(digits=1), 4, right, None, None, {}) for i in (0, 1))
        address = Address(Stratum.of(digits=1), 0, 0, "test")
        return Evaluation("c", 1.0, 1, 1.0, 1.0, scores, (TextSample(address, "1 + 2 =", " 4", Judgement(False, "4")),))

    run = dataclasses.replace(record([], measured(1), measured(3)), task=None, bands=Bands())
    content = write(tmp_path, run)
    assert content["gain"]["outcome_pass@1"]["mean"] == 0.5
    assert "strict_pass@1" not in content["gain"]
    page = (tmp_path / "report.html").read_text()
    assert "pass@1 on the whole task" in page
    assert "after: verified" not in page
    assert "1 + 2 =" in page
    assert not [p.name for p in tmp_path.iterdir() if p.name.startswith(".")]
