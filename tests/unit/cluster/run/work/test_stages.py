from pathlib import Path

import pytest

from cluster.recipe.config import RlStage
from cluster.recipe.load import load
from cluster.run.folder import RunFolder
from cluster.run.lock import held, note_stop
from cluster.run.work.stages import rl_seed, run_stages


def test_an_rl_stage_after_another_asks_other_problems_and_the_first_those_of_the_runs_seed() -> None:
    recipe = load("smoke", ["seed=5"])
    rl = next(stage for stage in recipe.stages if isinstance(stage, RlStage))
    later = [rl.model_copy(update={"name": name}) for name in ("more", "most")]
    longer = recipe.model_copy(update={"stages": (*recipe.stages, *later)})
    seeds = [rl_seed(longer, name) for name in ("rl", "more", "most")]
    assert seeds[0] == 5
    assert len(set(seeds)) == 3


def test_a_run_that_was_asked_to_stop_begins_no_other_stage(tmp_path: Path) -> None:
    recipe = load("tiny-cpu", [f"stages.{name}=null" for name in ("before", "rl", "after")])
    folder = RunFolder(tmp_path / "run")
    folder.open(recipe, resume=False)
    with held(folder.path):
        assert note_stop(folder.path)  # as in the last moment of a stage, when nothing is left to interrupt
        with pytest.raises(KeyboardInterrupt):
            run_stages(recipe, folder, None, False, 0)
    assert folder.stages() == []
