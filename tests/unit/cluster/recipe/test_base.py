"""A run starts from a shipped base, from another run's checkpoint or from a plain transformers directory."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from actors.config import PolicyConfig, TokenizerConfig
from actors.policy.checkpoint import CheckpointError, CheckpointStore, Lineage
from actors.policy.model import build, load, save
from actors.policy.tokenizer import build_tokenizer, load_tokenizer
from cluster.recipe.base import NoModel, adopt, missing_bases, require_model
from verifier.errors import UserError

ORIGIN = Lineage(run="mine", stage="base", step=0, parent=None, seed=3)


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    """A Qwen2 in a directory, as other tools leave one."""
    tokenizer = build_tokenizer(TokenizerConfig(templates=("zoo",)))
    directory = tmp_path / "plain"
    directory.mkdir()
    save(build(PolicyConfig(layers=1, hidden=32, ffn=32, heads=2, kv_heads=1), len(tokenizer), 0), tokenizer, directory)
    return directory


@pytest.fixture
def store(tmp_path: Path) -> CheckpointStore:
    return CheckpointStore(tmp_path / "run" / "checkpoints")


def test_a_shipped_base_becomes_the_first_checkpoint_and_says_where_it_comes_from(store: CheckpointStore) -> None:
    adopt("tiny-base", store, ORIGIN)
    (manifest,) = store.list()
    assert (manifest.id, manifest.run, manifest.parent) == ("base-4500", "mine", "tiny-base.pretrain@4500")
    assert manifest.tokens > 10_000_000
    assert store.get(manifest.id).weight_hash == manifest.weight_hash


def test_a_transformers_directory_becomes_the_first_checkpoint(store: CheckpointStore, plain: Path) -> None:
    adopt(str(plain), store, ORIGIN)
    (manifest,) = store.list()
    assert (manifest.id, manifest.run, manifest.seed) == ("base-0", "mine", 3)
    ours, theirs = (load(d).state_dict() for d in (store.path("base-0"), plain))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert load_tokenizer(store.path("base-0")).get_vocab() == load_tokenizer(plain).get_vocab()


def test_another_runs_checkpoint_is_taken_whole_and_a_damaged_one_is_refused(
    store: CheckpointStore, plain: Path, tmp_path: Path
) -> None:
    other = CheckpointStore(tmp_path / "other")
    theirs = Lineage(run="mine", stage="rl", step=7, parent="base-0", seed=5, tokens=99, score=0.9)
    made = other.publish(theirs, lambda d: (shutil.copytree(plain, d, dirs_exist_ok=True), None)[1])
    adopt(str(other.path(made.id)), store, ORIGIN)
    assert store.latest("rl") is None  # or this run's own RL would take it for its last checkpoint
    taken = store.get("base-7")
    assert taken.weight_hash == made.weight_hash
    assert (taken.parent, taken.seed, taken.tokens, taken.score) == ("mine.rl@7", 3, 99, None)

    weights = other.path(made.id) / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"!")
    with pytest.raises(CheckpointError, match="does not match its hash"):
        adopt(str(other.path(made.id)), CheckpointStore(tmp_path / "second"), ORIGIN)


def test_what_is_no_base_is_named_with_the_fix(store: CheckpointStore, plain: Path, tmp_path: Path) -> None:
    with pytest.raises(NoModel, match="no base named 'tiny-bas'") as unknown:
        adopt("tiny-bas", store, ORIGIN)
    assert unknown.value.fix.startswith("Name one of tiny-base, or a folder")
    for odd in ("", ".", ".."):
        with pytest.raises(NoModel, match="no base named") as refused:
            adopt(odd, store, ORIGIN)
        assert refused.value.fix == unknown.value.fix
    with pytest.raises(UserError, match=r"there is no folder .*nowhere"):
        adopt(str(tmp_path / "nowhere"), store, ORIGIN)
    with pytest.raises(UserError, match=r"has no config\.json"):
        adopt(str(tmp_path), store, ORIGIN)
    config = plain / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"model_type": "vit"}))
    with pytest.raises(NoModel, match="a vit model, which is no causal language model"):
        adopt(str(plain), store, ORIGIN)
    for odd in ("{", "[]", "{}", '{"model_type": "unheard-of"}', "\xff"):
        config.write_text(odd, encoding="latin-1")
        with pytest.raises(NoModel, match="cannot be read by transformers"):
            adopt(str(plain), store, ORIGIN)
    (plain / "model.safetensors").rename(plain / "pytorch_model.bin")
    with pytest.raises(NoModel, match="no safetensors"):
        adopt(str(plain), store, ORIGIN)
    assert store.list() == []


def test_a_model_that_reads_images_too_is_told_by_its_text_config(
    store: CheckpointStore, plain: Path, tmp_path: Path
) -> None:
    text = {"model_type": "gemma3_text", "sliding_window": 1024, "max_position_embeddings": 131072, "vocab_size": 4000}
    published = {"model_type": "gemma3", "text_config": text, "vision_config": {"model_type": "siglip_vision_model"}}
    (plain / "config.json").write_text(json.dumps(published))
    require_model(plain)
    with pytest.raises(NoModel, match=r"a gemma3 model .*: its attention sees a sliding window of 1024"):
        adopt(str(plain), store, ORIGIN)
    (plain / "config.json").write_text(json.dumps(published | {"text_config": text | {"vocab_size": 8}}))
    with pytest.raises(NoModel, match="8 rows"):
        require_model(plain)


def test_a_model_of_a_hub_is_to_be_downloaded_first(store: CheckpointStore) -> None:
    with pytest.raises(NoModel, match=r"there is no folder Qwen/Qwen3-0\.6B here") as refused:
        adopt("Qwen/Qwen3-0.6B", store, ORIGIN)
    assert "hf download Qwen/Qwen3-0.6B --local-dir Qwen/Qwen3-0.6B" in refused.value.fix


def test_bases_that_cannot_be_taken_are_named_by_their_keys() -> None:
    stages = [{"name": name, "kind": "base", "base": base} for name, base in (("a", "a/b"), ("b", "x"))]
    lines = missing_bases([*stages, 3, {"kind": "base"}, {"kind": "base", "base": ""}, {"name": "rl", "kind": "rl"}])
    assert [line.partition(": ")[0] for line in lines] == ["stages.a.base", "stages.b.base"]
    assert missing_bases(tuple(stages)) == lines
    assert missing_bases(3) == []


def test_a_folder_that_is_not_there_is_told_so() -> None:
    with pytest.raises(NoModel, match=r"there is no folder nosuch\."):
        require_model(Path("./nosuch"))
