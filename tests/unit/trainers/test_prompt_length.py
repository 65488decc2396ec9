"""Prompts that take a model's whole context are named before a stage starts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from actors.policy.architecture import ModelRefused
from actors.policy.text_format import TextFormat, text_format
from actors.policy.tokenizer import phrase_tokenizer
from trainers.prompt_length import PromptTooLong, require_prompts_fit
from verifier.families import TaskConfig, config_of

WORDS = "zoo " * 40


@pytest.fixture(scope="module")
def text() -> TextFormat:
    return text_format(phrase_tokenizer([]))


def answers(folder: Path, *rows: dict) -> TaskConfig:
    file = folder / "rows.jsonl"
    ends = [{"prompt": "a", "answer": 1, "split": split} for split in ("train", "test")]
    file.write_text("\n".join(json.dumps(row) for row in (*ends, *rows)))
    return config_of("answers").model_validate({"family": "answers", "file": file})


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_every_row_of_a_file_is_measured(tmp_path: Path, text: TextFormat, split: str) -> None:
    rows = [{"id": f"row {n}", "prompt": "b", "answer": 1, "split": split} for n in range(100)]
    task = answers(tmp_path, *rows, {"id": "the long one", "prompt": WORDS, "answer": 1, "split": split})
    tokens = len(text.prompt_ids(WORDS))
    require_prompts_fit(task, text, tokens + 1, seed=0)
    with pytest.raises(
        PromptTooLong, match=f"item the long one has {tokens} tokens, and the model takes {tokens}, answer"
    ):
        require_prompts_fit(task, text, tokens, seed=0)


def test_items_that_a_task_makes_are_tried(text: TextFormat) -> None:
    task = config_of("graphs").model_validate({"ops": [2, 9]})
    require_prompts_fit(task, text, 4096, seed=0)
    with pytest.raises(PromptTooLong):
        require_prompts_fit(task, text, 64, seed=0)


def test_messages_for_a_model_without_a_chat_template_are_named(tmp_path: Path, text: TextFormat) -> None:
    chat = {"messages": [{"role": "user", "content": "hello"}], "answer": 1, "split": "train"}
    with pytest.raises(ModelRefused, match="no chat template"):
        require_prompts_fit(answers(tmp_path, chat), text, 4096, seed=0)
