"""Every architecture through the weight update into real vLLM engines, in one process of Ray's.

Not in this process: for OLMo 2 vLLM rewrites transformers' classes, and other tests make models of them.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import get_args

import pytest
import ray
import torch
from transformers import AutoModelForCausalLM, PreTrainedModel

from actors.config import Architecture, engine_env
from actors.engines.protocol import start_engine
from actors.policy.model import build
from actors.weights.object_store import publish_model
from actors.weights.parity import disagreement
from actors.weights.version import WeightVersion
from tests.tiny import ENGINE, POLICY, VOCAB

pytestmark = pytest.mark.timeout(1200)
LOAD_S = 60.0
CASES = [(architecture, tied) for architecture in get_args(Architecture) for tied in (True, False)]

Differences = tuple[float, float]
"""Nats per token between learner and engine, before the update and after it."""


def sharpened(architecture: str, tied: bool, seed: int) -> PreTrainedModel:
    """A model whose every weight differs from that of another seed, norms and biases included."""
    config = build(POLICY.model_copy(update={"architecture": architecture}), VOCAB, 0).config
    config.tie_word_embeddings = tied
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(config).float().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.5).add_(0.05 * torch.randn_like(parameter))
    return model


async def _update(directory: Path, weights: WeightVersion) -> Differences:
    engine = await start_engine(directory, ENGINE)
    tokens = weights.parity.token_ids
    before = disagreement(weights.parity, await engine.score(tokens)).largest
    await engine.load(weights, LOAD_S, LOAD_S)
    after = disagreement(weights.parity, await engine.score(tokens)).largest
    await engine.stop()
    return before, after


def update_each(given: list[tuple[Path, WeightVersion]]) -> list[Differences]:
    """Start an engine on each directory, one after another, and give it the weights."""
    return [asyncio.run(_update(directory, weights)) for directory, weights in given]


@pytest.fixture(scope="module")
def differences(tmp_path_factory: pytest.TempPathFactory, ray_session: Path) -> dict[tuple[str, bool], Differences]:
    given = []
    for case in CASES:
        directory = tmp_path_factory.mktemp(case[0])
        sharpened(*case, seed=0).save_pretrained(directory)
        given.append((directory, publish_model(1, sharpened(*case, seed=1))))
    environment = {"env_vars": engine_env(ENGINE)}
    task = ray.remote(update_each).options(num_cpus=0.5, max_retries=0, runtime_env=environment)
    return dict(zip(CASES, ray.get(task.remote(given), timeout=1100), strict=True))


@pytest.mark.parametrize(("architecture", "tied"), CASES)
def test_after_an_update_the_engine_scores_as_the_learner_does(
    architecture: str, tied: bool, differences: dict[tuple[str, bool], Differences]
) -> None:
    before, after = differences[architecture, tied]
    assert before > 0.1
    assert after <= 1e-4
