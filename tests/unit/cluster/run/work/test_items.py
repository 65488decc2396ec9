"""All items are checked once the tokenizer is there: prompts against the context of the run's own model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from actors.policy.tokenizer import phrase_tokenizer
from cluster.recipe.load import load
from cluster.run.folder import RunFolder
from cluster.run.work.items import check_items
from trainers.prompt_length import PromptTooLong
from verifier.errors import TooFewItems
from verifier.graphs.templates.connectives import connectives


@pytest.mark.parametrize("stage", ["pretrain", "rl", "after"])
def test_a_stage_whose_prompts_do_not_fit_is_found_before_any_stage_works(tmp_path: Path, stage: str) -> None:
    folder = RunFolder(tmp_path)
    phrase_tokenizer(connectives()).save_pretrained(folder.path / "tokenizer")
    part = {"pretrain": "train", "rl": "rl", "after": "eval"}[stage]
    recipe = load("smoke", ["policy.max_positions=512", f"stages.{stage}.{part}.task={{ops: [20]}}"])
    with pytest.raises(PromptTooLong, match="the model takes 512, answer included"):
        check_items(recipe, folder, recipe.stages[1:])
    check_items(recipe, folder, [s for s in recipe.stages if s.name != stage])


@pytest.mark.parametrize("stage", ["rl", "after"])
def test_an_evaluation_of_more_items_than_there_are_is_found_before_any_stage_works(tmp_path: Path, stage: str) -> None:
    folder = RunFolder(tmp_path)
    phrase_tokenizer(connectives()).save_pretrained(folder.path / "tokenizer")
    part = {"rl": "rl.eval", "after": "eval"}[stage]
    few = {"family": "gym", "datasets": [{"dataset": "prime_factorization", "config": {"max_value": 99}}]}
    asked = {"task": few, "problems": 40, "target_problems": 40, "samples": 4, "max_tokens": 8}
    within = ["stages.rl.rl.eval_every=2", "stages.rl.rl.checkpoint_every=2"] if stage == "rl" else []
    recipe = load("smoke", ["policy.max_positions=512", f"stages.{stage}.{part}={json.dumps(asked)}", *within])
    with pytest.raises(TooFewItems, match=r"has only [0-9] distinct test items, not 40"):
        check_items(recipe, folder, recipe.stages[1:])
