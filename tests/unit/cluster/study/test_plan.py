"""A plan shares what is the same and nothing else, and refuses what the recipe cannot answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cluster.recipe.load import RecipeError
from cluster.study.load import StudyError, load, scale_of
from cluster.study.model import Study
from cluster.study.plan import Member, Plan, make_plan

LITTLE = Path(__file__).parents[3] / "integration" / "study.yaml"
REWARD = {"stages.rl.rl.reward": {"name": "outcome"}}
DATA = {"stages.pretrain.train.task": {"ops": [2], "max_facts": 4}}


def study(arms: dict[str, dict[str, Any]], seeds: tuple[int, ...] = (0, 1), **claim: Any) -> Study:
    names = list(arms)
    said = {"rule": "greater", "name": "c", "says": ".", "arm": names[0], "against": names[1:2], "band": "edge"}
    return Study.model_validate(
        {
            "name": "little",
            "question": "?",
            "equal": "samples",
            "scales": {"tiny": {"recipe": "smoke"}},
            "seeds": seeds,
            "arms": {name: {"says": ".", "changes": changes} for name, changes in arms.items()},
            "claims": [said | claim],
        }
    )


def plan(arms: dict[str, dict[str, Any]], *overrides: str, **given: Any) -> Plan:
    made = study(arms, **given)
    return make_plan(made, scale_of(made, None), overrides)


TWO = {"strict": {"stages.rl.rl.reward": {"name": "strict"}}, "outcome": REWARD}


def test_arms_that_differ_in_rl_share_what_comes_before_it_by_seed():
    runs = plan(TWO).runs
    assert [run.name.partition("-")[0] for run in runs] == [
        "shared/before", "strict/0", "outcome/0", "shared/before", "strict/1", "outcome/1",
    ]  # fmt: skip
    assert runs[0].own == ("tokenizer", "pretrain", "midtrain", "before")
    assert runs[1].own == ("rl", "after", "report")
    assert (runs[1].before, runs[4].before) == (runs[0].name, runs[3].name)
    assert runs[0].members == (Member("strict", 0), Member("outcome", 0))


def test_what_no_seed_decides_is_shared_by_all_seeds():
    made = load("process-reward")
    runs = make_plan(made, scale_of(made, "tiny")).runs
    (first,) = [run for run in runs if run.shared]
    assert first.own == ("base", "before")
    assert len(first.members) == len(runs) - 1 == 18


def test_arms_that_differ_in_pretraining_share_nothing():
    runs = plan(
        {"plain": {"fleet.max_restarts": 2, "stages.rl.rl.steps": 4}, "other": DATA | {"stages.rl.rl.steps": 4}}
    )
    assert not any(run.shared for run in runs.runs)


def test_arms_that_drop_a_stage_share_what_comes_before_it():
    runs = plan({"outcome": REWARD, "short": {"stages.midtrain": None}}).runs
    first, outcome, short = runs[:3]
    assert (first.own, first.shared) == (("tokenizer", "pretrain"), True)
    assert outcome.own == ("midtrain", "before", "rl", "after", "report")
    assert short.own == ("before", "rl", "after", "report")
    made = load("midtraining")
    own = {run.name: run.own for run in make_plan(made, scale_of(made, "tiny")).runs}
    assert own["full-mid/0"] == ("midtrain", "after", "report")
    assert own["full-rl/0"] == ("rl", "after", "report")


def test_an_arm_that_is_the_same_at_all_seeds_is_measured_at_each():
    made = study(TWO | {"none": {"stages.rl": None}})
    scale = scale_of(load("process-reward"), "tiny")  # it starts from a base, so that no seed decides the arm `none`
    runs = make_plan(made, scale)
    (first,) = [run for run in runs.runs if run.shared]
    assert len(first.members) == 6
    for member in runs.chosen():
        assert "after" in runs.run(member).own
    assert runs.run(Member("none", 1)).own == ("after", "report")
    assert runs.run(Member("none", 1)).before == first.name


@pytest.mark.parametrize(("key", "fix"), [("seed=3", "--seeds"), ("name=mine", "by its arm and seed")])
def test_a_key_that_a_study_gives_each_run_cannot_be_changed(key: str, fix: str):
    name, _, value = key.partition("=")
    for ask in (lambda: plan(TWO, key), lambda: plan(TWO | {"outcome": REWARD | {name: value}})):
        with pytest.raises(StudyError, match=f"a study gives each run its own {name}") as refused:
            ask()
        assert fix in refused.value.fix


def test_a_date_as_a_change_is_refused_like_any_other_text(tmp_path: Path):
    file = tmp_path / "dated.yaml"
    file.write_text(LITTLE.read_text().replace("{name: strict}", "2024-01-01").replace("little.yaml", "smoke"))
    made = load(str(file))
    with pytest.raises(RecipeError, match=r"stages.rl.rl.reward: .*'2024-01-01'"):
        make_plan(made, scale_of(made, None))


def test_a_stage_that_an_arm_cannot_drop_is_refused_with_its_name():
    with pytest.raises(RecipeError, match=r"there is no item 'sft'"):
        plan({"strict": TWO["strict"], "other": {"stages.sft": None}})
    with pytest.raises(StudyError, match=r"arms.other: its recipe has no eval stage 'before'"):
        plan({"strict": TWO["strict"], "other": {"stages.before": None}})


def test_no_run_ends_with_a_tokenizer_since_it_needs_the_texts_of_pretraining():
    arms = {name: {"stages.pretrain.train.steps": steps} for name, steps in {"long": 60, "short": 30}.items()}
    runs = plan(arms).runs
    assert [run.name for run in runs] == ["long/0", "short/0", "long/1", "short/1"]
    assert runs[0].own[:2] == ("tokenizer", "pretrain")


def test_a_scale_changes_arms_after_their_own_changes():
    made = study(TWO)
    steps = {"stages.rl.rl.steps": 7}
    scale = scale_of(made, None).model_copy(update={"arms": {"strict": steps | {"stages.rl.rl.reward.name": "dense"}}})
    with pytest.raises(StudyError, match="different samples: strict 224, outcome 160"):
        make_plan(made, scale)
    strange = scale.model_copy(update={"arms": {"srtict": steps}})
    with pytest.raises(StudyError, match=r"the scale changes an arm 'srtict'") as refused:
        make_plan(made, strange)
    assert "It has" not in refused.value.fix
    assert "strict, outcome" in refused.value.fix


def test_placement_is_no_identity_and_the_task_is():
    first = plan(TWO).runs[0].identity
    assert plan(TWO, "fleet.rollout_workers=2", "trackers=[tensorboard]", "learner.threads=2").runs[0].identity == first
    assert plan(TWO, "stages.pretrain.train.checkpoint_every=7").runs[0].identity == first
    assert plan(TWO, "stages.pretrain.train.task.ops=[2]").runs[0].identity != first
    assert plan(TWO, "policy.layers=3").runs[0].identity != first


def test_runs_have_names_that_no_other_arm_or_seed_has_on_a_cluster():
    names = [run.recipe.name for run in plan(TWO).runs]
    assert len(set(names)) == len(names)
    assert "strict-0" in names


def test_some_arms_and_seeds_need_some_runs():
    made = plan(TWO)
    needed = made.needed(made.chosen(["outcome"], "1"))
    assert [run.name.partition("-")[0] for run in needed] == ["shared/before", "outcome/1"]
    assert needed[0].members[0].seed == 1
    with pytest.raises(StudyError, match="no arm 'outcom'"):
        made.chosen(["outcom"])
    with pytest.raises(StudyError, match="no seed '7'"):
        made.chosen(seeds="0,7")


@pytest.mark.parametrize(
    ("claim", "message"),
    [
        ({"band": "egde"}, "claims.c.band: no band 'egde'"),
        ({"k": 4}, "claims.c.k: pass@4 needs 8 samples a problem, not 4"),
    ],
)
def test_a_claim_that_nothing_measures_is_refused_with_its_key(claim: dict[str, Any], message: str):
    with pytest.raises(StudyError, match=message):
        plan(TWO, **claim)


def test_a_band_that_is_not_evaluated_is_refused():
    with pytest.raises(StudyError, match="evaluates no problem in 'edge'"):
        plan(TWO, "stages.after.eval.task.ops=[2]")


def test_two_arms_that_are_the_same_run_are_refused():
    with pytest.raises(StudyError, match=r"arms.twin: is the same as arms.outcome"):
        plan({"outcome": REWARD, "twin": REWARD | {"fleet.max_restarts": 2}})


def test_arms_of_a_claim_with_unequal_budgets_are_refused_with_the_amounts():
    with pytest.raises(StudyError, match="different samples: strict 160, outcome 320"):
        plan({"strict": TWO["strict"], "outcome": REWARD | {"stages.rl.rl.steps": 10}})


def test_arms_that_are_to_be_equal_in_samples_draw_no_refills():
    with pytest.raises(StudyError, match=r"stages.rl of arm outcome draws more .*") as refused:
        plan({"strict": TWO["strict"], "outcome": REWARD | {"stages.rl.rl.refills": 1}})
    assert "stages.rl.rl.refills=0" in refused.value.fix


def test_arms_that_are_to_be_equal_in_flops_say_their_length_in_flops():
    made = study(TWO).model_copy(update={"equal": "flops"})
    with pytest.raises(StudyError, match=r"stages.rl of arm strict says its length in steps"):
        make_plan(made, scale_of(made, None))
    budget = {"stages.rl.rl.steps": None, "stages.rl.rl.flops": 1e12}
    arms = {name: study(TWO).arms[name] for name in TWO}
    equal = {n: arm.model_copy(update={"changes": arm.changes | budget}) for n, arm in arms.items()}
    assert make_plan(made.model_copy(update={"arms": equal}), scale_of(made, None)).runs
    more = equal | {
        "outcome": arms["outcome"].model_copy(update={"changes": REWARD | budget | {"stages.rl.rl.flops": 2e12}})
    }
    with pytest.raises(StudyError, match="different flops: strict 1,000,000,000,000, outcome 2,000,000,000,000"):
        make_plan(made.model_copy(update={"arms": more}), scale_of(made, None))


def test_a_claim_against_a_base_that_its_arms_do_not_share_is_refused():
    arms = {"plain": REWARD, "other": REWARD | DATA, "third": {"policy.layers": 3}}
    with pytest.raises(StudyError, match="start from different bases"):
        plan(arms, against=["other", "base"])


def test_a_recipe_without_the_two_evaluations_is_refused():
    made = study(TWO)
    scale = made.scales["tiny"].model_copy(update={"recipe": "tiny-base", "changes": {}})
    with pytest.raises((StudyError, RecipeError)):
        make_plan(made, scale)


def test_every_shipped_study_has_a_plan_at_each_of_its_scales():
    from cluster.study.load import shipped

    for name in shipped():
        made = load(name)
        for scale in made.scales:
            assert len(make_plan(made, scale_of(made, scale)).runs) >= len(made.arms) * len(made.seeds)


def test_the_two_studies_of_midtraining_differ_in_their_unit_alone():
    flops, paper = load("midtraining"), load("midtraining-paper")
    assert (flops.equal, paper.equal) == ("flops", "paper_tokens")
    assert flops.claims == paper.claims
    assert {name: arm.says for name, arm in flops.arms.items()} == {name: arm.says for name, arm in paper.arms.items()}
    shared = [run.name for made in (flops, paper) for run in make_plan(made, scale_of(made, "tiny")).runs if run.shared]
    assert len(shared) == 2
    assert len(set(shared)) == 1, "both start from the same measured base"


def test_the_arms_of_the_contexts_share_of_one_story_add_up_and_count_alike():
    made = load("context")
    for scale in made.scales:
        runs = make_plan(made, scale_of(made, scale))
        parts = {arm: pretraining(runs, arm) for arm in made.arms}
        assert all(sum(part.share for part in of) == pytest.approx(1) for _, of in parts.values())
        school = {arm: steps * sum(p.share for p in of if p.template == "school") for arm, (steps, of) in parts.items()}
        assert school["school-0"] == 0
        assert school["half-2"] == pytest.approx(school["school-1"])


def pretraining(made: Plan, arm: str) -> tuple[int, Any]:
    """The steps and the parts of an arm's pre-training."""
    stages: Any = made.run(Member(arm, 0)).recipe.stages
    return stages[1].train.steps, stages[1].train.task.parts


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"stages.after.eval.temperature": 0.7}, r"stages.after.eval.temperature: 1.0 -> 0.7"),
        ({"stages.after.eval.samples": 8}, r"stages.after.eval.samples: 4 -> 8"),
        ({"stages.after.eval.target_problems": 3}, r"stages.after.eval.target_problems: \d+ -> 3"),
        ({"stages.after.eval.task.ops": [2]}, r"stages.after.eval.task.ops: \[2, 3\] -> \[2\]"),
        ({"bands.ranges.edge.op": 2}, r"bands.ranges.edge.op: 3 -> 2"),
    ],
)
def test_arms_that_are_not_evaluated_alike_are_refused_with_what_differs(changes: dict[str, Any], message: str):
    with pytest.raises(StudyError, match=rf"arms.outcome: is evaluated otherwise than arms.strict: .*{message}"):
        plan({"strict": TWO["strict"], "outcome": REWARD | changes})


def test_errors_that_one_arm_plants_are_no_other_evaluation():
    assert plan({"strict": TWO["strict"], "outcome": REWARD | {"stages.after.eval.recovery": True}}).runs


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("stages.before.eval.samples=1", "claims.c.k: pass@1 needs 2 samples a problem, not 1"),
        (
            "stages.before.eval.task.ops=[2]",
            "claims.c.band: stages.before of arm strict evaluates no problem in 'edge'",
        ),
        (
            "stages.before.eval.samples=2",
            r"claims.c: the base is evaluated otherwise than arm strict: .*samples: 2 -> 4",
        ),
    ],
)
def test_a_claim_against_the_base_needs_the_base_measured_as_the_arms_are(override: str, message: str):
    assert plan(TWO, override).runs, "nothing is said of the base"
    with pytest.raises(StudyError, match=message):
        plan(TWO, override, against=["outcome", "base"])


def test_a_claim_on_recovery_needs_errors_planted_in_each_of_its_arms_and_in_its_base():
    planted = {"stages.after.eval.recovery": True}
    said = {"metric": "recovery", "against": ["outcome", "base"]}
    with pytest.raises(StudyError, match=r"claims.c.metric: stages.after of arm outcome plants no errors") as refused:
        plan({"strict": TWO["strict"] | planted, "outcome": REWARD}, **said)
    assert refused.value.fix == "Set stages.after.eval.recovery=true, or another metric."
    with pytest.raises(StudyError, match=r"claims.c.metric: stages.before of arm strict plants no errors"):
        plan(TWO, "stages.after.eval.recovery=true", **said)
    assert plan(TWO, "stages.after.eval.recovery=true", "stages.before.eval.recovery=true", **said).runs


def test_a_number_of_an_arm_is_the_number_that_a_recipe_would_have():
    given = {"bands.ranges": {"edge": {"op": 3}, "rare": {"share": 0.00001, "size": 2.0e16, "said": "1e-3"}}}
    made = plan({name: changes | given for name, changes in TWO.items()})
    assert made.runs[0].recipe.bands.ranges["rare"] == {"share": 0.00001, "size": 2.0e16, "said": "1e-3"}


def test_an_arm_may_replace_a_stage_by_one_without_a_name():
    stage = {"kind": "sft", "sft": {"task": {"ops": [2]}, "steps": 5, "documents_per_step": 8, "checkpoint_every": 5}}
    made = plan(TWO | {"taught": {"stages.rl": stage, "stages.sft.sft.steps": 7}})
    (taught,) = [stage for stage in made.run(Member("taught", 0)).recipe.stages if stage.kind == "sft"]
    assert (taught.name, taught.sft.steps) == ("sft", 7)
