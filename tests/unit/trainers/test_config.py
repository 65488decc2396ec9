from __future__ import annotations

import json
from typing import get_args

import pytest
from pydantic import ValidationError

from trainers.algorithms.registry import ALGORITHMS
from trainers.config import AlgorithmName, CorrectionConfig, LearningConfig, OptimizerConfig, RlConfig
from verifier.rewards.registry import Reward


def test_the_cosine_course_warms_up_peaks_and_ends_where_it_should():
    config = OptimizerConfig(learning_rate=1.0, final_learning_rate=0.1, schedule="cosine", warmup_steps=4)
    rates = [config.rate_at(step, 104) for step in range(105)]
    assert rates[:4] == [0.25, 0.5, 0.75, 1.0]
    assert rates[4] == 1.0
    assert rates[54] == pytest.approx(0.55)
    assert rates[104] == pytest.approx(0.1)
    assert rates[4:] == sorted(rates[4:], reverse=True)


def test_the_course_stays_at_its_end_beyond_the_last_step():
    config = OptimizerConfig(learning_rate=1.0, final_learning_rate=0.1, schedule="cosine")
    assert config.rate_at(500, 100) == pytest.approx(0.1)


def test_by_another_budget_than_steps_the_course_follows_the_share_that_is_spent():
    config = OptimizerConfig(learning_rate=1.0, final_learning_rate=0.1, schedule="cosine", warmup_steps=2)
    assert [config.rate_at(step, None, 0.5) for step in (0, 1)] == [0.5, 1.0]
    assert config.rate_at(7, None, 0.5) == pytest.approx(0.55)
    assert config.rate_at(7, None, 1.0) == pytest.approx(0.1)


def test_steps_without_an_update_bring_the_end_of_the_course_nearer_too():
    config = OptimizerConfig(learning_rate=1.0, final_learning_rate=0.1, schedule="cosine", warmup_steps=4)
    assert config.rate_at(54, 104, 103 / 104) == config.rate_at(103, 104)
    assert config.rate_at(2, 104, 0.5) == 0.75
    assert [config.rate_at(step, 104, step / 104) for step in range(104)] == [
        config.rate_at(step, 104) for step in range(104)
    ]


def test_a_constant_rate_is_constant_after_the_warm_up():
    config = OptimizerConfig(learning_rate=2.0, warmup_steps=2)
    assert [config.rate_at(step, 10) for step in (0, 1, 2, 9)] == [1.0, 2.0, 2.0, 2.0]


@pytest.mark.parametrize("betas", [(0.9, 1.0), (1.5, 0.9), (-0.1, 0.9), (0.9,)])
def test_decays_outside_of_0_to_1_are_refused(betas):
    with pytest.raises(ValidationError, match="betas"):
        OptimizerConfig(learning_rate=1e-4, betas=betas)


@pytest.mark.parametrize("wrong", [{"algorithm": "ppo"}, {"clip_low": 1.5}, {"minibatches": 0}, {"beta": 0.1}])
def test_what_cannot_be_is_refused(wrong):
    with pytest.raises(ValidationError):
        LearningConfig(**wrong)


@pytest.mark.parametrize("name", sorted(ALGORITHMS))
def test_an_algorithm_without_knobs_given_has_its_own_defaults(name):
    config = LearningConfig.model_validate({"algorithm": name})
    assert {knob: getattr(config, knob) for knob in ALGORITHMS[name].knobs} == ALGORITHMS[name].knobs
    assert LearningConfig.model_validate(config.model_dump(mode="json")) == config


def test_every_algorithm_can_be_named_and_cispos_cap_is_its_own():
    assert set(get_args(AlgorithmName)) == set(ALGORITHMS)
    assert LearningConfig(algorithm="cispo").clip_high == 4.0
    assert LearningConfig().clip == (0.2, 0.28)


@pytest.mark.parametrize(
    ("name", "knob"), [("reinforce", "clip_high"), ("cispo", "clip_low"), ("grpo", "pass_k"), ("gspo", "dual_clip")]
)
def test_a_knob_of_another_algorithm_is_refused_by_its_key(name, knob):
    with pytest.raises(ValidationError, match=f"not a key of {name}") as refused:
        LearningConfig.model_validate({"algorithm": name, knob: 2 if knob != "clip_low" else 0.1})
    assert refused.value.errors()[0]["loc"] == (knob,)


@pytest.mark.parametrize(
    ("wrong", "key"),
    [
        ({"mask": "geometric"}, "mask_low"),
        ({"mask_low": 0.9}, "mask"),
        ({"mask": "token", "mask_low": 1.2}, "mask_low"),
        ({"weight_low": 1.5}, "weight_low"),
        ({"weight_high": 0.5}, "weight_high"),
        ({"old_policy": "bypass"}, "weights"),
    ],
)
def test_a_correction_with_impossible_bounds_is_refused(wrong, key):
    with pytest.raises(ValidationError, match=key):
        CorrectionConfig.model_validate(wrong)


def stage(**fields) -> dict:
    base = {"task": {"ops": [2]}, "steps": 1, "prompts_per_step": 1, "max_tokens": 8, "checkpoint_every": 1}
    return base | {"learning": {}} | fields


@pytest.mark.parametrize(
    ("wrong", "key"),
    [
        ({"learning": {"correction": {"old_policy": "bypass", "weights": "none"}}}, "max_staleness"),
        ({"learning": {"algorithm": "pass_at_k", "pass_k": 9}}, "learning.pass_k: .* 9 of 8"),
        ({"learning": {"algorithm": "pass_at_k"}, "group_size": 4}, "learning.pass_k: .* smaller than group_size"),
        ({"learning": {"overlong_tokens": 9}}, "learning.overlong_tokens: 9 .* 8 of max_tokens"),
        ({"learning": {"minibatches": 2}}, "learning.minibatches: 2 .* 1 groups"),
        ({"learning": {"algorithm": "gspo", "token_credit": 0.5}}, "token_credit: gspo has one ratio"),
        ({"learning": {"credit_kind": "to_go"}}, "credit_kind: .* token_credit"),
        (
            {
                "max_staleness": 1,
                "learning": {"algorithm": "reinforce", "correction": {"old_policy": "bypass", "weights": "none"}},
            },
            "correction.old_policy: reinforce has no ratio",
        ),
        ({"top_p": 0.9}, "top_p"),
    ],
)
def test_a_stage_whose_settings_do_not_fit_together_is_refused(wrong, key):
    RlConfig.model_validate(stage())
    with pytest.raises(ValidationError, match=key):
        RlConfig.model_validate(stage(**wrong))


def test_bfloat16_without_master_weights_is_refused():
    with pytest.raises(ValidationError, match="zero_stage"):
        OptimizerConfig(learning_rate=1.0, precision="bfloat16", zero_stage=0)


@pytest.mark.parametrize(
    ("learner", "engine", "differs"),
    [("float32", "float32", False), ("float32", "bfloat16", True), ("bfloat16", "float32", True)],
)
def test_the_pair_of_dtypes_decides_whether_the_engines_policy_is_another(learner, engine, differs):
    optimizer = OptimizerConfig(learning_rate=1.0, precision=learner)
    assert LearningConfig(optimizer=optimizer).learner_config(1, 1.0, engine).engine_differs is differs


@pytest.mark.parametrize(
    ("fields", "place"),
    [({"reward": {"name": "strict"}}, ("reward",)), ({"learning": {"token_credit": 0.5}}, ("learning",))],
)
def test_what_needs_steps_is_refused_at_its_key_for_a_task_without_them(tmp_path, fields, place):
    file = tmp_path / "answers.jsonl"
    file.write_text("".join(f'{{"prompt": "{i} + 1 =", "answer": "{i + 1}"}}\n' for i in range(60)))
    base = {
        "task": {"family": "answers", "file": str(file)},
        "steps": 1,
        "prompts_per_step": 1,
        "max_tokens": 8,
        "checkpoint_every": 1,
        "learning": {},
    }
    assert RlConfig.model_validate(base).reward == (Reward("outcome"),)
    with pytest.raises(ValidationError, match="judged steps") as told:
        RlConfig.model_validate(base | fields)
    assert [error["loc"] for error in told.value.errors()] == [place]


RL = {
    "task": {"ops": [2], "max_facts": 4},
    "steps": 4,
    "prompts_per_step": 6,
    "max_tokens": 8,
    "checkpoint_every": 2,
    "learning": {"optimizer": {"learning_rate": 1e-4}},
}
HELD_OUT = {"task": {"ops": [2], "max_facts": 4}}


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"order": "deterministic", "max_staleness": 1}, "learning.correction.weights: must be none with order det"),
        ({"eval_every": 2}, "eval_every: give it together with eval"),
        ({"eval": HELD_OUT}, "eval_every: give it together with eval"),
        ({"eval_every": 2, "eval": HELD_OUT | {"recovery": True}}, "eval.recovery: only a stage of the kind eval"),
        ({"eval_every": 3, "eval": HELD_OUT}, "eval_every: must be a multiple of checkpoint_every"),
    ],
)
def test_what_cannot_be_is_refused_with_its_key(fields, told):
    with pytest.raises(ValidationError, match=told):
        RlConfig.model_validate(RL | fields)


def test_an_evaluation_set_that_is_trained_on_is_refused_with_its_key(tmp_path):
    def file(name: str, split: str) -> dict:
        rows = [{"prompt": "one and one?", "answer": "2", "split": split}]
        rows += [{"prompt": f"{name} {other}", "answer": "1", "split": other} for other in ("train", "test")]
        (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
        return {"family": "answers", "file": str(tmp_path / name)}

    trained, tested = file("a.jsonl", "train"), file("b.jsonl", "test")
    recipe = RL | {"task": trained, "eval_every": 2}
    assert RlConfig.model_validate(recipe | {"eval": {"task": trained}}).eval is not None
    with pytest.raises(ValidationError, match=r"eval\.task: row '?1'? of .*b\.jsonl is trained on as well"):
        RlConfig.model_validate(recipe | {"eval": {"task": tested}})


def of_one(item):
    return 1.0


def test_a_users_reward_is_tried_when_the_recipe_is_read():
    with pytest.raises(ValidationError, match="test_config:of_one raised TypeError: "):
        RlConfig.model_validate(RL | {"reward": {"name": f"{__name__}:of_one"}})
