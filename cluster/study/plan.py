"""The runs of a study: every arm for every seed, and once the stages that several of them share.

A `Run` is a part of a recipe with a folder of its own: the stages that one arm has at one seed, or the first stages of
several. Runs form trees: each starts from the results of the run before it. Pure functions of a study and its recipes;
nothing but recipes is read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, NamedTuple

from cluster.recipe import plain_yaml
from cluster.recipe.config import EvalStage, Recipe, RlStage, Stage, training_of
from cluster.recipe.identity import changes, identities
from cluster.recipe.load import load
from cluster.study.claims import BASE, Greater, Unchanged
from cluster.study.load import StudyError
from cluster.study.model import AFTER, BEFORE, COMPUTE_TOLERANCE, SHARED, Arm, Changes, Scale, Study, Unit
from trainers.evaluation.evaluate import EvalConfig
from verifier.families import open_task

OWN_KEYS: Final = MappingProxyType(
    {"seed": "Use --seeds, or the study's `seeds`.", "name": "Leave it out: a run is called by its arm and seed."}
)
"""Keys of a recipe that a study sets for each run, and what to do instead of changing one."""


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
    """All runs of a study, each after the one it starts from; ordered by seed, so that one seed is complete first.

    `one_base` says whether all arms start from the same base, which may be another one at another seed.
    """

    study: Study
    runs: tuple[Run, ...]
    one_base: bool

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

    Raises RecipeError for a change that does not fit the recipe, StudyError for claims that the recipe cannot answer,
    for a change of OWN_KEYS, and for a scale that changes an arm that the study does not have.
    """
    if strange := [name for name in scale.arms if name not in study.arms]:
        raise StudyError(f"the scale changes an arm {strange[0]!r}.", f"The study has {', '.join(study.arms)}.")
    laid = [*_as_overrides(scale.changes), *overrides]
    given = {name: [*laid, *_of_arm(name, arm, scale)] for name, arm in study.arms.items()}
    _refuse_own_keys(given)
    of_arms = {name: load(scale.recipe, own) for name, own in given.items()}
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
    bases = _bases(recipes[Member(arm, study.seeds[0])] for arm in study.arms)
    return Plan(study, tuple(runs.values()), one_base=len(bases) == 1)


def _refuse_own_keys(given: Mapping[str, Sequence[str]]) -> None:
    """Raises StudyError if the overrides of an arm have a key that is set for each run: it would have no effect."""
    for arm, overrides in given.items():
        for key in (text.partition("=")[0] for text in overrides):
            if key in OWN_KEYS:
                raise StudyError(f"arms.{arm}: a study gives each run its own {key}.", OWN_KEYS[key])


def _of_arm(name: str, arm: Arm, scale: Scale) -> list[str]:
    """An arm's changes, and then those that its scale makes to it."""
    return [*_as_overrides(arm.changes), *_as_overrides(scale.arms.get(name, {}))]


def _as_overrides(changes: Changes) -> list[str]:
    return [f"{key}={plain_yaml.write_value(value)}" for key, value in changes.items()]


def _runs(member: Member, recipe: Recipe, chain: Sequence[str], users: Mapping[str, Sequence[Member]]) -> list[Run]:
    """The runs that lead to a member's result, in order: one for each sequence of stages with the same members.

    No shared run ends with a tokenizer, which is made from the texts of the pre-training after it, or with a recipe's
    last stage: an arm that is the same at all seeds is evaluated by each of its members, which the report reads.
    """
    names = [stage.name for stage in recipe.stages]
    last = [i for i in range(len(chain) - 1) if users[chain[i]] != users[chain[i + 1]]]
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
    of_arms = {arm: recipes[Member(arm, seed)] for arm in study.arms}
    _require_alike(of_arms)
    for claim in study.claims:
        _check_claim(study, claim, of_arms)


def _require_evaluations(arm: str, recipe: Recipe) -> None:
    evaluated = [stage.name for stage in recipe.stages if isinstance(stage, EvalStage)]
    for name in (BEFORE, AFTER):
        if name not in evaluated:
            raise StudyError(
                f"arms.{arm}: its recipe has no eval stage {name!r}.", "A study compares `before` with `after`."
            )


def _require_alike(recipes: Mapping[str, Recipe]) -> None:
    """Raises StudyError unless all arms are evaluated alike: they are paired by problem and shown side by side."""
    (first, wanted), *others = recipes.items()
    for arm, recipe in others:
        lines = [
            str(c) for c in changes(wanted.bands.model_dump(mode="json"), recipe.bands.model_dump(mode="json"), "bands")
        ]
        lines += _unlike(_evaluation(wanted, AFTER), _evaluation(recipe, AFTER), AFTER)
        if lines:
            raise StudyError(
                f"arms.{arm}: is evaluated otherwise than arms.{first}: {'; '.join(lines)}.",
                f"Give all arms the same bands and the same stages.{AFTER}.eval.",
            )


def _unlike(one: EvalConfig, other: EvalConfig, stage: str) -> list[str]:
    """The keys in which two evaluations of problems differ, a line each; planted errors are no such problems."""
    old, new = (of.model_dump(mode="json", exclude={"recovery"}) for of in (one, other))
    return [str(change) for change in changes(old, new, f"stages.{stage}.eval")]


def _evaluation(recipe: Recipe, name: str) -> EvalConfig:
    """The settings of the eval stage `before` or `after`, which is there (`_require_evaluations`)."""
    return next(stage.eval for stage in recipe.stages if isinstance(stage, EvalStage) and stage.name == name)


def _bases(recipes: Iterable[Recipe]) -> set[str]:
    """The identities of the evaluated bases from which recipes start."""
    return {identities(recipe)[BEFORE] for recipe in recipes}


def _check_claim(study: Study, claim: Greater | Unchanged, recipes: Mapping[str, Recipe]) -> None:
    arms = [arm for arm in claim.arms if arm != BASE]
    for arm in arms:
        _require_measured(claim, arm, recipes[arm], AFTER)
    if BASE in claim.arms:
        _require_one_base(claim, {arm: recipes[arm] for arm in arms})
    budgets = {arm: _budget(claim, arm, recipes[arm], study.equal) for arm in arms}
    if min(budgets.values()) < (1 - COMPUTE_TOLERANCE) * max(budgets.values()):
        said = ", ".join(f"{arm} {amount:,.0f}" for arm, amount in budgets.items())
        raise StudyError(f"claims.{claim.name}: its arms have different {study.equal}: {said}.", "Make them equal.")


def _require_one_base(claim: Greater | Unchanged, recipes: Mapping[str, Recipe]) -> None:
    """Raises StudyError unless the arms start from one base, which was evaluated as they are."""
    if len(_bases(recipes.values())) > 1:
        raise StudyError(f"claims.{claim.name}: its arms start from different bases.", "Compare them with one another.")
    arm, recipe = next(iter(recipes.items()))
    _require_measured(claim, arm, recipe, BEFORE)
    if lines := _unlike(_evaluation(recipe, BEFORE), _evaluation(recipe, AFTER), AFTER):
        raise StudyError(
            f"claims.{claim.name}: the base is evaluated otherwise than arm {arm}: {'; '.join(lines)}.",
            f"Give stages.{BEFORE}.eval and stages.{AFTER}.eval the same values.",
        )


def _budget(claim: Greater | Unchanged, arm: str, recipe: Recipe, unit: Unit) -> float:
    """What an arm may spend after the base is measured. Raises StudyError if a stage has its budget in another unit."""
    stages = _since_base(recipe)
    own = [(stage, training_of(stage)) for stage in stages]
    wanted = "steps" if unit == "samples" else unit
    for stage, training in own:
        if training is not None and training[1].budget.unit != wanted:
            raise StudyError(
                f"claims.{claim.name}: its arms are to be equal in {unit}, and stages.{stage.name} of arm {arm} says "
                f"its length in {training[1].budget.unit}.",
                f"Set stages.{stage.name}.{training[0]}.{wanted}, or another `equal`.",
            )
    if unit == "samples":
        _require_known_samples(claim, arm, stages)
        return _samples(stages)
    return sum(training[1].budget.amount for _, training in own if training is not None)


def _since_base(recipe: Recipe) -> Sequence[Stage]:
    """The stages after the base is measured."""
    names = [stage.name for stage in recipe.stages]
    return recipe.stages[names.index(BEFORE) + 1 :]


def _require_known_samples(claim: Greater | Unchanged, arm: str, stages: Sequence[Stage]) -> None:
    """Raises StudyError if a stage draws refills, whose number depends on what the policy gets right."""
    for stage in stages:
        if isinstance(stage, RlStage) and stage.rl.refills:
            raise StudyError(
                f"claims.{claim.name}: its arms are to be equal in samples, and stages.{stage.name} of arm {arm} draws "
                "more where a group has no gradient.",
                f"Set stages.{stage.name}.rl.refills=0, or another `equal`.",
            )


def _require_measured(claim: Greater | Unchanged, arm: str, recipe: Recipe, name: str) -> None:
    """Raises StudyError unless an evaluation of the arm measures the claim's band, at its k, by its metric."""
    config = _evaluation(recipe, name)
    task = open_task(config.task)
    where = f"claims.{claim.name}"
    if claim.band not in recipe.bands.ranges:
        raise StudyError(f"{where}.band: no band {claim.band!r}.", f"The recipe has {', '.join(recipe.bands.ranges)}.")
    if not any(recipe.bands.holds(claim.band, stratum) for stratum in task.strata()):
        raise StudyError(
            f"{where}.band: stages.{name} of arm {arm} evaluates no problem in {claim.band!r}.",
            f"Widen stages.{name}.eval.task.",
        )
    if 2 * claim.k > config.samples:
        raise StudyError(
            f"{where}.k: pass@{claim.k} needs {2 * claim.k} samples a problem, not {config.samples}.",
            f"Set stages.{name}.eval.samples={2 * claim.k}, or a smaller k.",
        )
    if claim.metric != "outcome" and not task.has_steps:
        raise StudyError(f"{where}.metric: {claim.metric} needs judged steps.", "Use the metric outcome.")
    if claim.metric == "recovery" and not config.recovery:
        raise StudyError(
            f"{where}.metric: stages.{name} of arm {arm} plants no errors to recover from.",
            f"Set stages.{name}.eval.recovery=true, or another metric.",
        )


def _samples(stages: Sequence[Stage]) -> int:
    """The completions that the RL stages draw for training; unknown for a budget in another unit."""
    drawing = [stage.rl for stage in stages if isinstance(stage, RlStage)]
    return sum((rl.steps or 0) * rl.prompts_per_step * rl.group_size for rl in drawing)
