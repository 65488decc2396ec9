"""The learner on one and two ranks under every ZeRO stage, in processes of its own (`tests/integration/ranks.py`)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import ray

ROOT = Path(__file__).resolve().parents[2]
STAGES = (0, 1, 2, 3)
pytestmark = pytest.mark.timeout(1200)


@pytest.fixture(scope="module")
def seen(ray_session: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[int, dict[str, Any]]:
    """What rank 0 of one rank and of two saw; each number resumes what both had saved."""
    folder = tmp_path_factory.mktemp("ranks")
    address = ray.get_runtime_context().gcs_address
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "tests.integration.ranks"]
    ranks = [
        subprocess.Popen([*command, str(rank), str(count), str(folder), address], cwd=ROOT, env=environment)
        for count in (1, 2)
        for rank in range(count)
    ]
    try:
        assert [process.wait(timeout=1000) for process in ranks] == [0, 0, 0]
    finally:
        for process in ranks:
            process.kill()
    return {count: json.loads((folder / f"{count}.json").read_text()) for count in (1, 2)}


@pytest.mark.parametrize(("count", "stage"), [*product((1, 2), STAGES)])
def test_every_zero_stage_trains_and_publishes_the_same_on_one_rank_and_on_two(seen, count, stage):
    straight, made = seen[1]["zero-0"], seen[count][f"zero-{stage}"]
    for name in ("losses", "norms", "kl"):
        assert made[name] == pytest.approx(straight[name], rel=1e-3, abs=1e-5), name
    assert made["predicted"] == straight["predicted"]
    for logprobs, expected, predicted in zip(made["logprobs"], straight["logprobs"], made["predicted"], strict=True):
        assert len(logprobs) == predicted
        assert logprobs == pytest.approx(expected, abs=1e-3)
    assert made["published"] == pytest.approx(straight["published"], rel=1e-3, abs=1e-3)
    assert made["parity"] == pytest.approx(straight["parity"], abs=1e-3)


@pytest.mark.parametrize(("wrote", "stage", "count"), [*product((1, 2), STAGES, (1, 2))])
def test_a_checkpoint_is_continued_by_another_number_of_ranks_and_zero_stage(seen, wrote, stage, count):
    for resumed, losses in seen[count]["resumed"][f"saved-{wrote}-zero-{stage}"].items():
        assert losses == pytest.approx(seen[1]["zero-0"]["losses"][2:], rel=1e-3, abs=1e-5), resumed
        if (wrote, str(stage)) == (count, resumed):
            assert losses == seen[count][f"zero-{stage}"]["losses"][2:]  # to the bit


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("what", ["save", "save_optimizer", "load_optimizer"])
def test_a_disk_that_fails_on_one_rank_is_an_error_of_all(seen, count, what):
    assert "No space left" in seen[count]["refused"][what]


@pytest.mark.parametrize("count", [1, 2])
def test_a_directory_that_cannot_be_made_costs_a_checkpoint_and_the_last_one_the_stage(seen, count):
    assert seen[count]["refused"]["pretrain-1"] == "pretrain-3"  # and of those written the last alone was kept
    assert seen[count]["refused"]["pretrain-3"] == "CheckpointWriteError"
