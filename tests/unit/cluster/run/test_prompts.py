"""The prompts of all stages are measured once the tokenizer is there, against the context of the run's own model."""

from __future__ import annotations

from pathlib import Path

import pytest

from actors.policy.tokenizer import phrase_tokenizer
from cluster.recipe.load import load
from cluster.run.folder import RunFolder
from cluster.run.prompts import check_prompts
from trainers.prompt_length import PromptTooLong


@pytest.mark.parametrize("stage", ["pretrain", "rl", "after"])
def test_a_stage_whose_prompts_do_not_fit_is_found_before_any_stage_works(tmp_path: Path, stage: str) -> None:
    folder = RunFolder(tmp_path)
    phrase_tokenizer([]).save_pretrained(folder.path / "tokenizer")
    part = {"pretrain": "train", "rl": "rl", "after": "eval"}[stage]
    recipe = load("smoke", ["policy.max_positions=512", f"stages.{stage}.{part}.task={{ops: [20]}}"])
    with pytest.raises(PromptTooLong, match="the model takes 512, answer included"):
        check_prompts(recipe, folder, recipe.stages[1:])
    check_prompts(recipe, folder, [s for s in recipe.stages if s.name != stage])
