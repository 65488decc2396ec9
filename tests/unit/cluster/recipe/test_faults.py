"""All that is wrong with a recipe is said at once, each mistake by its key as one types it, with the nearest one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cluster.commands.setup.recipe import check
from cluster.recipe.load import RecipeError, faults_in, load, tree_of


def faults(*overrides: str) -> list[str]:
    return faults_in(tree_of("smoke", overrides))


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("sed=3", "sed: there is no such key; did you mean seed?"),
        ("stages.rl.rl.stepz=3", "stages.rl.rl.stepz: there is no such key; did you mean steps?"),
        ("stages.rl.rl.task.opps=[3]", "stages.rl.rl.task.opps: there is no such key; did you mean ops?"),
        ("stages.rl.rl.reward.alhpa=1", "stages.rl.rl.reward.alhpa: there is no such key; did you mean alpha?"),
        ("rl={steps: 3}", "rl: there is no such key; did you mean stages.rl.rl?"),
        (
            "stages.rl.rl.clip_low=0.1",
            "stages.rl.rl.clip_low: there is no such key; did you mean stages.rl.rl.learning.clip_low?",
        ),
        (
            "stages.rl.judge_timeout_s=1",
            "stages.rl.judge_timeout_s: there is no such key; did you mean fleet.judge_timeout_s?",
        ),
        ("stages.report.x=1", "stages.report.x: there is no such key; the keys here are name, kind"),
        ("stages.rl.rl.steps=many", "stages.rl.rl.steps: must be a valid integer, not 'many'"),
        ("stages.after.eval=3", "stages.after.eval: must be a map of keys, not 3"),
        ("stages=3", "stages: must be a list, not 3"),
        ("stages=[3]", "stages.0: must be a map of keys, not 3"),
        ("fleet.rollout_workers=0", "fleet.rollout_workers: must be greater than or equal to 1, not 0"),
        ("trackers=[wandbx]", "trackers.0: must be tensorboard or wandb, not 'wandbx'; did you mean wandb?"),
        ("bands.ranges.id.op=[1]", "bands.ranges.id.op: must be integer or number or string, not [1]"),
        (
            "stages.before={kind: evil, name: before}",
            "stages.before.kind: must be tokenizer, base, pretrain, midtrain, sft, rejection, rl, eval, report, "
            "not 'evil'; did you mean eval?",
        ),
        ("stages.before={name: before}", "stages.before.kind: is required"),
        ("stages.rl.rl={}", "stages.rl.rl.task: is required"),
        (
            "stages.rl.rl.learning.optimizer.learning_rate=.inf",
            "stages.rl.rl.learning.optimizer.learning_rate: must be a finite number, not inf",
        ),
        ("fleet.stall_timeout_s=1e400", "fleet.stall_timeout_s: must be a finite number, not inf"),
        ("stages.rl.rl.task.ops=[41]", "stages.rl.rl.task: op is 2 to 40 at depth 2, not 41"),
        ("bands.target=middle", "bands: target 'middle' is not one of the bands ['edge', 'id']"),
        (
            "stages.rl.rl.flops=1e9",
            "stages.rl.rl.steps: set exactly one of steps, flops and paper_tokens, not flops and steps",
        ),
        ("stages.after.name=before", "stages.before: stage names must differ"),
        ("policy.heads=3", "policy: hidden (64) must be heads (3) times an even head width"),
        (
            "stages.rl.rl.learning={algorithm: pass_at_k, pass_k: 9}",
            "stages.rl.rl.learning.pass_k: must be smaller than group_size, not 9 of 4",
        ),
        (
            "stages.rl.rl.learning.algorithm=cipso",
            "stages.rl.rl.learning.algorithm: must be grpo, dr_grpo, dapo, gspo, cispo, rloo, reinforce, "
            "reinforce_plus_plus, maxrl or pass_at_k, not 'cipso'; did you mean cispo?",
        ),
    ],
)
def test_a_mistake_is_named_by_its_key_with_the_nearest_good_one(override, told):
    assert told in faults(override)


def test_all_mistakes_are_named_at_once():
    wrong = [f"stages.rl.rl.x{number}={number}" for number in range(12)]
    assert len(faults(*wrong, "sed=1", "policy.heads=3")) == 14


def test_the_order_of_stages_is_looked_at_though_a_key_is_wrong():
    order = ["stages.midtrain: needs a base or pretrain stage before it"]
    tree = tree_of("smoke", ["sed=1"])
    tree["stages"] = [stage for stage in tree["stages"] if stage["kind"] == "midtrain"]
    assert faults_in(tree)[1:] == order
    del tree["sed"]
    assert faults_in(tree) == order


def test_a_task_is_refused_for_what_its_own_family_lacks(tmp_path):
    assert faults("stages.rl.rl.task={family: answers}") == ["stages.rl.rl.task.file: is required"]
    (said,) = faults("stages.rl.rl.task={family: grphs}")
    assert said.startswith("stages.rl.rl.task: there is no family 'grphs'; did you mean graphs?")
    (said,) = faults("stages.rl.rl.task={family: [graphs]}")
    assert said.startswith("stages.rl.rl.task: there is no family \"['graphs']\"; did you mean graphs?")


def test_the_config_of_a_generator_is_a_map():
    task = "stages.rl.rl.task={family: gym, datasets: [{dataset: gcd, config: [1, 2]}]}"
    told = "stages.rl.rl.task.datasets.0.config: must be a map of the generator's own settings, not [1, 2]"
    assert faults(task) == [told]


def test_of_a_default_that_hangs_on_a_wrong_key_nothing_is_said():
    rl = "{task: {ops: [2]}, steps: 2, prompts_per_step: 2, max_tokens: 9, checkpoint_every: 1, group_size: 1}"
    assert faults(f"stages.rl.rl={rl}") == ["stages.rl.rl.group_size: must be greater than or equal to 2, not 1"]


def test_a_recipe_without_stages_is_told_so(tmp_path):
    (tmp_path / "a.yaml").write_text("name: a\n")
    with pytest.raises(RecipeError, match="stages: is required"):
        check(str(tmp_path / "a.yaml"))


def test_one_mistake_is_one_line_and_several_are_a_line_each():
    with pytest.raises(RecipeError, match=r"^recipe smoke: sed: there is no such key") as one:
        load("smoke", ["sed=1"])
    with pytest.raises(RecipeError, match=r"^recipe smoke has 2 errors:\n  sed: .*\n  sid: ") as two:
        load("smoke", ["sed=1", "sid=2"])
    assert one.value.fix
    assert two.value.fix


def answers(path: Path, *rows: tuple[str, str], **settings: object) -> str:
    """A task of a file with rows of (stratum, split)."""
    lines = [{"prompt": f"{n}?", "answer": "1", "stratum": s, "split": split} for n, (s, split) in enumerate(rows)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return json.dumps({"family": "answers", "file": str(path), **settings})


GYM = {"family": "gym", "datasets": [{"dataset": "gcd"}, {"dataset": "lcm"}]}


def test_shares_that_do_not_fit_the_strata_are_refused_when_the_recipe_is_read(tmp_path: Path) -> None:
    rows = [(stratum, split) for stratum in "xy" for split in ("train", "test")]
    key = "stages.after.eval.task"
    wrong = [
        (answers(tmp_path / "a.jsonl", *rows, shares=[1.0]), "1 shares for 2 strata: give one for each"),
        (answers(tmp_path / "a.jsonl", *rows, shares=[0.5, 0.4]), "the shares sum to 0.9, not to 1"),
        (json.dumps({**GYM, "shares": [0.5, 0.4]}), "the shares sum to 0.9, not to 1"),
        ('{family: python, object: "tests.tasks:Sums", shares: [1]}', "1 shares for 2 strata"),
    ]
    for task, told in wrong:
        (said,) = faults(f"{key}={task}")
        assert said.startswith(f"{key}: {told}")
    assert faults(f"{key}={answers(tmp_path / 'a.jsonl', *rows, shares=[0.5, 0.5])}") == []


def test_a_stratum_without_rows_to_train_on_is_refused_when_the_recipe_is_read(tmp_path: Path) -> None:
    rows = [("x", "train"), ("x", "test"), ("y", "test")]
    lacking, told = answers(tmp_path / "a.jsonl", *rows), "a.jsonl: stratum=y has no train rows"
    for key in ("stages.rl.rl", "stages.midtrain.train"):
        said = faults(f"{key}.task={lacking}", *(["stages.rl.rl.reward.name=outcome"] if "rl" in key else []))
        assert any(line.startswith(f"{key}.task: ") and told in line for line in said)
    assert faults(f"stages.after.eval.task={lacking}") == []
    unasked = [
        f"stages.rl.rl.task={answers(tmp_path / 'a.jsonl', *rows, shares=[1, 0])}",
        "stages.rl.rl.reward.name=outcome",
    ]
    assert faults(*unasked) == []
    (said,) = faults(*unasked, "stages.rl.rl.curriculum=frontier")
    assert said.startswith("stages.rl.rl.curriculum: ")
    assert told in said


def test_recovery_of_a_family_that_plants_no_errors_is_refused_when_the_recipe_is_read() -> None:
    assert faults("stages.after.eval.recovery=true") == []
    told = "no errors can be planted in traces of the family gym: leave recovery out"
    task = f"stages.after.eval.task={json.dumps(GYM)}"
    assert faults(task, "stages.after.eval.recovery=true") == [f"stages.after.eval.recovery: {told}"]


def test_rows_that_a_stage_trains_on_cannot_be_evaluated_after_it(tmp_path: Path) -> None:
    def file(name: str, split: str) -> str:
        rows = [{"prompt": "one and one?", "answer": "2", "split": split}]
        rows += [{"prompt": f"{name} {other}", "answer": "1", "split": other} for other in ("train", "test")]
        path = tmp_path / name
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return f"{{family: answers, file: {path}}}"

    trained, tested = file("a.jsonl", "train"), file("b.jsonl", "test")
    rl = [f"stages.rl.rl.task={trained}", "stages.rl.rl.reward.name=outcome"]
    assert faults(*rl, f"stages.before.eval.task={tested}") == []
    assert faults(*rl, f"stages.after.eval.task={trained}") == []
    (said,) = faults(*rl, f"stages.after.eval.task={tested}")
    assert said.startswith("stages.after.eval.task: row 1 of ")
    assert said.endswith("b.jsonl is trained on in stages.rl; take it out of one of the two")
