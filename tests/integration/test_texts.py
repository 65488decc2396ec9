"""Supervised and rejection stages as a person runs them, one after another, on real Ray and DeepSpeed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from actors.policy.checkpoint import CheckpointStore
from tests.integration.test_run import SHORT, interplay

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1300)]

ENGINE = "engine.backend=torch"  # starts sooner; the weight update into vLLM has its own tests
SIZES = "documents_per_step: 4, checkpoint_every: 1, task: {ops: [2], max_facts: 4}"
STAGES = f"""[
  {{name: base, kind: base, base: tiny-base}},
  {{name: gold, kind: sft, sft: {{steps: 1, {SIZES}}}}},
  {{name: own, kind: rejection, rejection: {{steps: 2, {SIZES}, prompts: 4, group_size: 4, max_tokens: 64}}}},
]"""


def run(run_dir: Path, *more: str) -> None:
    with interplay("run", str(SHORT), f"stages={STAGES}", ENGINE, "--run-dir", str(run_dir), *more) as process:
        output, _ = process.communicate(timeout=600)
    assert process.returncode == 0, output


def test_supervised_and_rejection_stages_follow_one_another_and_are_drawn_again_alike(tmp_path):
    run(tmp_path)
    store = CheckpointStore(tmp_path / "checkpoints")
    assert [(m.id, m.parent) for m in store.list() if m.stage in ("gold", "own")] == [
        ("gold-1", "base-4500"),
        ("own-1", "gold-1"),
        ("own-2", "gold-1"),
    ]
    records = {r["name"]: r for r in json.loads((tmp_path / "stages.json").read_text())}
    drawn = json.loads((tmp_path / "drawn" / "own.json").read_text())
    assert 0 < len(drawn["documents"]) <= 16
    assert records["own"]["flops"] > drawn["spent"]["flops"] > 0
    assert records["own"]["paper_tokens"] == drawn["spent"]["paper_tokens"] + records["own"]["tokens"]

    last = store.get("own-2").weight_hash
    (tmp_path / "stages.json").write_text(json.dumps([records["base"], records["gold"]]))
    for lost in ("own-1", "own-2"):
        shutil.rmtree(store.path(lost))
    shutil.rmtree(tmp_path / "drawn")
    run(tmp_path, "--resume")
    assert store.get("own-2").weight_hash == last
