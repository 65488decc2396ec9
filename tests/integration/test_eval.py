"""Other people's checkpoints: another architecture and a tokenizer that is not byte-level, through the real command."""

from __future__ import annotations

import json
import subprocess
import sys
from itertools import islice
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from actors.policy.tokenizer import decode_with_offsets, load_tokenizer
from trainers.pretrain.items import corpus
from verifier.families import config_of
from verifier.graphs.family import GraphsConfig
from verifier.graphs.judge.judge import prepare, verify
from verifier.graphs.splits import stream
from verifier.graphs.tell import completion_text

TASKS = config_of("graphs").model_validate({"ops": (2, 3)})


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Llama with a tokenizer as SentencePiece makes them: word marks, byte fall-back, its own specials."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    specials = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    trainer = trainers.BpeTrainer(vocab_size=800, special_tokens=specials, show_progress=False)
    tokenizer.train_from_iterator(islice(corpus(TASKS, 0), 300), trainer)
    folder = tmp_path_factory.mktemp("llama")
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", bos_token="<s>", eos_token="</s>"
    ).save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=512,
        bos_token_id=1,
        eos_token_id=2,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def test_a_right_trace_in_another_tokenizer_is_read_as_it_was_written(llama):
    tokenizer = load_tokenizer(llama)
    for problem in islice(stream(GraphsConfig.model_validate(TASKS.model_dump()).grid(), 0, "test"), 20):
        ids = tokenizer(" " + completion_text(problem.solution), add_special_tokens=False)["input_ids"]
        text, spans = decode_with_offsets(tokenizer, ids)
        assert verify(text, prepare(problem.problem, problem.question, problem.solution)).verified
        assert len(spans) == len(ids)


@pytest.mark.timeout(900)
def test_pass_at_k_of_another_architecture_is_measured(llama, tmp_path):
    out = tmp_path / "scores.json"
    sizes = ["task.ops=[2,3]", "--problems", "2", "--samples", "2", "--max-tokens", "16"]
    command = [sys.executable, "-m", "cluster", "eval", str(llama), *sizes, "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=800, check=False)
    assert done.returncode == 0, done.stderr
    assert "verified@2" in done.stdout
    record = json.loads(out.read_text())
    assert [(dict(s["stratum"]["axes"])["op"], s["samples"]) for s in record["scores"]] == [
        (2, 2),
        (2, 2),
        (3, 2),
        (3, 2),
    ]
    assert 0 < record["tokens"] <= 8 * 16
    assert record["flops"] > 0
