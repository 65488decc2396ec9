"""The runs of a study: every arm for every seed, and once the stages that several of them share.

A `Run` is a part of a recipe with a folder of its own: the stages that one arm has at one seed, or the first stages of
several. Runs form trees: each starts from the results of the run before it. Pure functions of a study and its recipes;
nothing but recipes is read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from cluster.recipe.config import EvalStage, Recipe, RlStage, training_of
from cluster.recipe.identity import identities
from cluster.recipe.load import load
from cluster.study.claims import BASE, Greater, Unchanged
from cluster.study.load import StudyError
from cluster.study.model import AFTER, BEFORE, COMPUTE_TOLERANCE, SHARED, Arm, Changes, Scale, Study, Unit
from verifier.families import open_task


class Member(NamedTuple):
    """One arm at one seed."""

    arm: str
    seed: int

    def __str__(self) -> str:
        return f"{self.arm}/{self.seed}"


@dataclass(frozen=True, slots=True)
class Run:
    """Stages that are run together in one folder, after those of the run `before`.

    `name` is the folder's: `ARM/SEED` within the study's, or `shared/STAGE-IDENTITY` beside it. `recipe` has all
    stages, from the first one. `identity` is that of its last stage; `members` are the arms and seeds that need it.
    """

    name: str
    recipe: Recipe
    before: str | None
    own: tuple[str, ...]
    identity: str
    members: tuple[Member, ...]

    @property
    def shared(self) -> bool:
        """Whether several members need it."""
        return len(self.members) > 1


@dataclass(frozen=True, slots=True)
class Plan:
    """All runs of a study, each after the one it starts from; ordered by seed, so that one seed is complete first."""

    study: Study
    runs: tuple[Run, ...]

    def run(self, member: Member) -> Run:
        """A member's own run."""
        return next(run for run in self.runs if run.name == str(member))

    def chosen(self, arms: Sequence[str] | None = None, seeds: str | None = None) -> list[Member]:
        """The members with these arms and seeds (typed as `0,2`); by default all. Raises StudyError."""
        known = {"arm": [*self.study.arms], "seed": [str(seed) for seed in self.study.seeds]}
        asked = {"arm": arms or known["arm"], "seed": seeds.split(",") if seeds is not None else known["seed"]}
        for what, names in asked.items():
            if strange := [name for name in names if name not in known[what]]:
                raise StudyError(f"the study has no {what} {strange[0]!r}.", f"It has {', '.join(known[what])}.")
        return [Member(arm, int(seed)) for seed in asked["seed"] for arm in asked["arm"]]

    def needed(self, members: Sequence[Member]) -> tuple[Run, ...]:
        """The runs that some members need, in the plan's order."""
        return tuple(run for run in self.runs if set(run.members) & set(members))


def make_plan(study: Study, scale: Scale, overrides: Sequence[str] = ()) -> Plan:
    """The plan of a study at a scale, with `key.path=value` overrides for every arm.

    Raises RecipeError for a change that does not fit the recipe, StudyError for claims that the recipe cannot answer
    and for a scale that changes an arm that the study does not have.
    """
    if strange := [name for name in scale.arms if name not in study.arms]:
        raise StudyError(f"the scale changes an arm {strange[0]!r}.", f"The study has {', '.join(study.arms)}.")
    laid = [*_as_overrides(scale.changes), *overrides]
    of_arms = {name: load(scale.recipe, [*laid, *_of_arm(name, arm, scale)]) for name, arm in study.arms.items()}
    recipes = {
        Member(arm, seed): recipe.model_copy(update={"seed": seed, "name": f"{arm}-{seed}"})
        for seed in study.seeds
        for arm, recipe in of_arms.items()
    }
    chains = {member: list(identities(recipe).values()) for member, recipe in recipes.items()}
    _check(study, recipes, chains)
    users: dict[str, list[Member]] = {}
    for member, chain in chains.items():
        for identity in chain:
            users.setdefault(identity, []).append(member)
    runs: dict[str, Run] = {}
    for member, recipe in recipes.items():
        for run in _runs(member, recipe, chains[member], users):
            runs.setdefault(run.name, run)
    return Plan(study, tuple(runs.values()))


def _of_arm(name: str, arm: Arm, scale: Scale) -> list[str]:
    """An arm's changes, and then those that its scale makes to it."""
    return [*_as_overrides(arm.changes), *_as_overrides(scale.arms.get(name, {}))]


def _as_overrides(changes: Changes) -> list[str]:
    return [f"{key}={json.dumps(value)}" for key, value in changes.items()]


def _runs(member: Member, recipe: Recipe, chain: Sequence[str], users: Mapping[str, Sequence[Member]]) -> list[Run]:
    """The runs that lead to a member's result, in order: one for each sequence of stages with the same members.

    No run ends with a tokenizer, which is made from the texts of the pre-training after it.
    """
    names = [stage.name for stage in recipe.stages]
    last = [i for i in range(len(chain)) if i + 1 == len(chain) or users[chain[i]] != users[chain[i + 1]]]
    shared = [i for i in last if len(users[chain[i]]) > 1 and recipe.stages[i].kind != "tokenizer"]
    found: list[Run] = []
    first = 0
    for end in shared:
        name = f"{names[end][:23]}-{chain[end][:8]}"
        part = recipe.model_copy(update={"name": name, "stages": recipe.stages[: end + 1]})
        before = found[-1].name if found else None
        own = tuple(names[first : end + 1])
        found.append(Run(f"{SHARED}/{name}", part, before, own, chain[end], tuple(users[chain[end]])))
        first = end + 1
    before = found[-1].name if found else None
    return [*found, Run(str(member), recipe, before, tuple(names[first:]), chain[-1], (member,))]


def _check(study: Study, recipes: Mapping[Member, Recipe], chains: Mapping[Member, Sequence[str]]) -> None:
    seed = study.seeds[0]
    seen: dict[tuple[str, ...], str] = {}
    for arm in study.arms:
        recipe = recipes[Member(arm, seed)]
        _require_evaluations(arm, recipe)
        twin = seen.setdefault(tuple(chains[Member(arm, seed)]), arm)
        if twin != arm:
            raise StudyError(f"arms.{arm}: is the same as arms.{twin}.", "Change it, or leave one out.")
    for claim in study.claims:
        _check_claim(study, claim, {arm: recipes[Member(arm, seed)] for arm in study.arms})


def _require_evaluations(arm: str, recipe: Recipe) -> None:
    evaluated = [stage.name for stage in recipe.stages if isinstance(stage, EvalStage)]
    for name in (BEFORE, AFTER):
        if name not in evaluated:
            raise StudyError(
                f"arms.{arm}: its recipe has no eval stage {name!r}.", "A study compares `before` with `after`."
            )


def _check_claim(study: Study, claim: Greater | Unchanged, recipes: Mapping[str, Recipe]) -> None:
    arms = [arm for arm in claim.arms if arm != BASE]
    for arm in arms:
        _require_measured(claim, arm, recipes[arm])
    bases = {identities(recipes[arm])[BEFORE] for arm in arms}
    if BASE in claim.arms and len(bases) > 1:
        raise StudyError(f"claims.{claim.name}: its arms start from different bases.", "Compare them with one another.")
    budgets = {arm: _budget(claim, arm, recipes[arm], study.equal) for arm in arms}
    if min(budgets.values()) < (1 - COMPUTE_TOLERANCE) * max(budgets.values()):
        said = ", ".join(f"{arm} {amount:,.0f}" for arm, amount in budgets.items())
        raise StudyError(f"claims.{claim.name}: its arms have different {study.equal}: {said}.", "Make them equal.")


def _budget(claim: Greater | Unchanged, arm: str, recipe: Recipe, unit: Unit) -> float:
    """What an arm may spend after the base is measured. Raises StudyError if a stage has its budget in another unit."""
    names = [stage.name for stage in recipe.stages]
    own = [(s, training_of(s)) for s in recipe.stages[names.index(BEFORE) :]]
    wanted = "steps" if unit == "samples" else unit
    for stage, training in own:
        if training is not None and training[1].budget.unit != wanted:
            raise StudyError(
                f"claims.{claim.name}: its arms are to be equal in {unit}, and stages.{stage.name} of arm {arm} says "
                f"its length in {training[1].budget.unit}.",
                f"Set stages.{stage.name}.{training[0]}.{wanted}, or another `equal`.",
            )
    if unit == "samples":
        _require_known_samples(claim, arm, recipe)
        return samples(recipe)
    return sum(training[1].budget.amount for _, training in own if training is not None)


def _require_known_samples(claim: Greater | Unchanged, arm: str, recipe: Recipe) -> None:
    """Raises StudyError if a stage draws refills, whose number depends on what the policy gets right."""
    for stage in recipe.stages:
        if isinstance(stage, RlStage) and stage.rl.refills:
            raise StudyError(
                f"claims.{claim.name}: its arms are to be equal in samples, and stages.{stage.name} of arm {arm} draws "
                "more where a group has no gradient.",
                f"Set stages.{stage.name}.rl.refills=0, or another `equal`.",
            )


def _require_measured(claim: Greater | Unchanged, arm: str, recipe: Recipe) -> None:
    """Raises StudyError unless the arm's evaluation measures the claim's band, at its k, by its metric."""
    stage = next(stage for stage in recipe.stages if stage.name == AFTER)
    assert isinstance(stage, EvalStage)
    task = open_task(stage.eval.task)
    where = f"claims.{claim.name}"
    if claim.band not in recipe.bands.ranges:
        raise StudyError(f"{where}.band: no band {claim.band!r}.", f"The recipe has {', '.join(recipe.bands.ranges)}.")
    if not any(recipe.bands.holds(claim.band, stratum) for stratum in task.strata()):
        raise StudyError(
            f"{where}.band: arm {arm} evaluates no problem in {claim.band!r}.", "Widen its evaluation's task."
        )
    if 2 * claim.k > stage.eval.samples:
        raise StudyError(
            f"{where}.k: pass@{claim.k} needs {2 * claim.k} samples a problem, not {stage.eval.samples}.",
            f"Set stages.{AFTER}.eval.samples={2 * claim.k}, or a smaller k.",
        )
    if claim.metric != "outcome" and not task.has_steps:
        raise StudyError(f"{where}.metric: {claim.metric} needs judged steps.", "Use the metric outcome.")


def samples(recipe: Recipe) -> int:
    """The completions that a recipe's RL stages draw for training; unknown for a budget in another unit."""
    stages = [stage.rl for stage in recipe.stages if isinstance(stage, RlStage)]
    return sum((rl.steps or 0) * rl.prompts_per_step * rl.group_size for rl in stages)
