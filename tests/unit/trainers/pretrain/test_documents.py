"""What a stage on texts trains on: gold texts, a file of traces; the loss on what follows the prompt."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from actors.config import TokenizerConfig
from actors.policy.text_format import text_format
from actors.policy.tokenizer import EOS, build_tokenizer, decode_with_offsets
from trainers.config import SftConfig
from trainers.learner.packing import Document
from trainers.pretrain.documents import documents_of, require_fitting_traces
from verifier.errors import BadTask

TEXT = text_format(build_tokenizer(TokenizerConfig(templates=("zoo",))))
SIZES: dict[str, Any] = {"steps": 2, "documents_per_step": 4, "checkpoint_every": 2}
ROWS = [{"prompt": f"{n} + 1 =", "completion": f" {n + 1}", "source": "hand"} for n in range(5)]


def written(file: Path, rows: list[dict]) -> Path:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def texts(documents: list[Document]) -> list[str]:
    return [decode_with_offsets(TEXT.tokenizer, d.token_ids)[0] for d in documents]


def test_the_loss_of_a_given_trace_is_on_its_completion_and_its_end(tmp_path):
    config = SftConfig(traces=written(tmp_path / "t.jsonl", ROWS[:1]), **SIZES)
    (document,) = documents_of(config, TEXT, 0, None)(0, 1)
    prompt, _ = decode_with_offsets(TEXT.tokenizer, document.token_ids[: document.loss_from])
    assert prompt == "0 + 1 ="
    assert texts([document]) == ["0 + 1 = 1[EOS]"]
    assert document.token_ids[-1] == EOS


def test_the_loss_of_gold_traces_is_on_them_alone():
    config = SftConfig.model_validate({"task": {"ops": [2], "max_facts": 4}, **SIZES})
    (document,) = documents_of(config, TEXT, 0, None)(0, 1)
    assert document.loss_from > 1
    prompt, _ = decode_with_offsets(TEXT.tokenizer, document.token_ids[: document.loss_from])
    assert prompt.endswith("<solution>")


def test_a_file_is_gone_through_in_epochs_each_in_another_order(tmp_path):
    config = SftConfig(traces=written(tmp_path / "t.jsonl", ROWS), **SIZES)
    stream = documents_of(config, TEXT, 3, None)
    epochs = [texts(stream(5 * epoch, 5)) for epoch in range(4)]
    assert {tuple(sorted(epoch)) for epoch in epochs} == {tuple(sorted(epochs[0]))}
    assert len(set(epochs[0])) == 5
    assert len({tuple(epoch) for epoch in epochs}) > 1
    assert texts(stream(0, 20)) == [text for epoch in epochs for text in epoch]
    assert texts(documents_of(config, TEXT, 3, None)(7, 5)) == texts(stream(7, 5))
    assert texts(documents_of(config, TEXT, 4, None)(0, 20)) != texts(stream(0, 20))


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"prompt": "a"}, "line 2: completion"),
        ({"prompt": "a", "completion": ""}, "line 2: completion"),
        ({"completion": "b"}, "give either prompt or messages"),
        (
            {"prompt": "a", "messages": [{"role": "user", "content": "a"}], "completion": "b"},
            "either prompt or messages",
        ),
    ],
)
def test_a_bad_row_is_named_when_the_recipe_is_read(tmp_path, row, said):
    file = written(tmp_path / "t.jsonl", [ROWS[0], row])
    with pytest.raises(ValidationError, match=said):
        SftConfig(traces=file, **SIZES)


def test_a_stage_trains_on_a_task_or_on_a_file(tmp_path):
    with pytest.raises(ValidationError, match="one of task and traces"):
        SftConfig.model_validate(SIZES)
    both = {"task": {"ops": [2]}, "traces": written(tmp_path / "t.jsonl", ROWS)}
    with pytest.raises(ValidationError, match="one of task and traces"):
        SftConfig.model_validate({**both, **SIZES})
    with pytest.raises(ValidationError, match="there is no file"):
        SftConfig(traces=tmp_path / "none.jsonl", **SIZES)


def test_a_trace_longer_than_the_model_is_named_by_its_line(tmp_path):
    file = written(tmp_path / "t.jsonl", [*ROWS, {"prompt": "x", "completion": " 1" * 40}])
    require_fitting_traces(file, TEXT, 64)
    with pytest.raises(BadTask, match=r"line 6: 4[0-9] tokens, and the model takes 32"):
        require_fitting_traces(file, TEXT, 32)
