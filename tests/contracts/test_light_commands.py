"""Commands that only ask or stop something load no model code: each import of torch or transformers costs seconds."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("torch", "transformers", "vllm", "deepspeed")


@pytest.mark.parametrize(
    "modules",
    [
        "cluster.run.client, cluster.study.folder, cluster.study.command",  # status, scale
        "cluster.run.stop, cluster.ray.jobs",  # stop, submit
        "cluster.recipe.base, cluster.recipe.cards, cluster.recipe.keys, cluster.recipe.load",  # recipe
        "cluster.evaluation.target, cluster.run.lock",  # run, eval: what is checked before they start
        "cluster.run.results.rollouts, actors.rollouts.reading",  # rollouts
        "cluster.run.results.report, trainers.evaluation.page",  # report
        "cluster.serve.keys",  # serve --add-key
    ],
)
def test_what_a_light_command_imports_has_no_model_code(modules: str) -> None:
    assert _loaded(modules, HEAVY) == "[]"


def test_what_runs_beside_the_models_loads_torch_only_to_read_one() -> None:
    modules = "cluster.run.work.stages, trainers.controller, trainers.learner_group.handle, trainers.pretrain.pretrain"
    assert _loaded(modules, ("torch", "vllm", "deepspeed")) == "[]"


def _loaded(modules: str, names: tuple[str, ...]) -> str:
    code = f"import sys, {modules}; print([name for name in {names!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=400, check=True)
    return done.stdout.strip()
