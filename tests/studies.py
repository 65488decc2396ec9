"""A study's folder as its runs leave it, without running anything: scores are drawn at a rate."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

from cluster.recipe.load import dump
from cluster.run.folder import RunFolder
from cluster.study.folder import Registration, StudyFolder
from cluster.study.model import AFTER, BEFORE, Scale, Study
from cluster.study.plan import Member, Plan
from trainers.evaluation.evaluate import Evaluation, ProblemScore, RecoveryScore, held_out_counts
from trainers.evaluation.ledger import StageRecord
from verifier.seeds import derive
from verifier.task import Stratum

SAMPLES = 8


def little(arms: int = 2, seeds: int = 3, **fields: Any) -> Registration:
    """A study of the smoke recipe whose arms differ in the reward's alpha."""
    names = [f"arm{number}" for number in range(arms)]
    changes = {f"arm{n}": {"stages.rl.rl.reward": {"name": "mix", "alpha": n / max(arms, 2)}} for n in range(arms)}
    claim = {"rule": "greater", "name": "better", "says": "The first arm is better", "arm": names[0], "band": "edge"}
    study = Study.model_validate(
        {
            "name": "little",
            "question": "Which <b>arm</b> is better?",
            "equal": "samples",
            "scales": {"tiny": {"recipe": "smoke"}},
            "seeds": range(seeds),
            "arms": {name: {"says": "an arm", "changes": changes[name]} for name in names},
            "claims": [claim | {"against": [names[1], "base"]}],
            **fields,
        }
    )
    large = {f"stages.{stage}.eval.{key}": 30 for stage in (BEFORE, AFTER) for key in ("problems", "target_problems")}
    return Registration(study=study, scale=Scale(recipe="smoke", changes=large))


def recovering(*stages: str, metric: str = "verified", seeds: int = 3) -> Registration:
    """The same study with errors planted in these evaluations, and a claim by this metric."""
    (claim,) = little().study.claims
    given = little(seeds=seeds, claims=[claim.model_dump() | {"metric": metric}])
    return given.model_copy(update={"overrides": tuple(f"stages.{stage}.eval.recovery=true" for stage in stages)})


def evaluation(plan: Plan, member: Member, stage: str, rate: float) -> Evaluation:
    """Scores of the stage's problems; each completion is verified at this rate, and right by its answer more often.

    Where the stage asks for recovery, one from a planted error recovers at half of this rate.
    """
    recipe = plan.run(member).recipe
    config = next(s.eval for s in recipe.stages if s.kind == "eval" and s.name == stage)
    scores: list[ProblemScore] = []
    for stratum, count in held_out_counts(config, recipe.bands).items():
        for number in range(count):
            draw = random.Random(derive(member.seed, stage, stratum.name, number))
            right = [draw.random() for _ in range(SAMPLES)]
            strict, outcome = sum(x < rate for x in right), sum(x < rate + 0.2 for x in right)
            wrong = {"wrong value": [0, SAMPLES - strict]} if strict < SAMPLES else {}
            scores.append(ProblemScore(f"{stratum}-{number}", stratum, SAMPLES, outcome, strict, rate, {}, wrong, 3))
    planted = [_recovery(member, s.problem_id, s.stratum, rate / 2) for s in scores] if config.recovery else []
    return Evaluation("c", 1.0, 100, 1e6, 2.0, tuple(scores), (), tuple(planted))


def _recovery(member: Member, problem: str, stratum: Stratum, rate: float) -> RecoveryScore:
    draw = random.Random(derive(member.seed, "recovery", problem))
    recovered = sum(draw.random() < rate for _ in range(SAMPLES))
    return RecoveryScore(problem, stratum, "value", 0, {"other": SAMPLES - recovered, "recovered": recovered})


def leave(folder: StudyFolder, plan: Plan, member: Member, rate: float, base: float = 0.2, drawn: int = 160) -> None:
    """What the run of a member leaves behind when it is done."""
    run = plan.run(member)
    path = folder.path_of(run.name)
    path.mkdir(parents=True)
    made = RunFolder(path)
    made.save_evaluation(BEFORE, evaluation(plan, member._replace(seed=0), BEFORE, base))
    made.save_evaluation(AFTER, evaluation(plan, member, AFTER, rate))
    step = {"time": 0.0, "event": "rl_step", "stage": "rl", "step": 1, "completions": drawn, "longest": 90}
    made.metrics.write_text(json.dumps(step) + "\n")
    for stage in run.recipe.stages:
        made.finish(StageRecord(stage.name, stage.kind, 1.5, 1000, 1e9, 5e3))
    (path / "recipe.yaml").write_text(dump(run.recipe))


def left(path: Path, given: Registration, rates: dict[str, float]) -> StudyFolder:
    """A folder of a study whose arms are done at all seeds, with these rates."""
    folder = StudyFolder(path)
    folder.register(given)
    plan = given.plan()
    for member in plan.chosen(list(rates)):
        leave(folder, plan, member, rates[member.arm])
    return folder
