from cluster.recipe.config import RlStage
from cluster.recipe.load import load
from cluster.run.work.stages import rl_seed


def test_an_rl_stage_after_another_asks_other_problems_and_the_first_those_of_the_runs_seed() -> None:
    recipe = load("smoke", ["seed=5"])
    rl = next(stage for stage in recipe.stages if isinstance(stage, RlStage))
    later = [rl.model_copy(update={"name": name}) for name in ("more", "most")]
    longer = recipe.model_copy(update={"stages": (*recipe.stages, *later)})
    seeds = [rl_seed(longer, name) for name in ("rl", "more", "most")]
    assert seeds[0] == 5
    assert len(set(seeds)) == 3
