"""The vLLM engine on a GPU: its share of the card, its weight updates, and its agreement with the learner."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import torch

from actors.config import EngineConfig, engine_env
from actors.engines.memory import engine_memory
from actors.engines.protocol import Engine, start_engine
from actors.policy.model import in_dtype
from actors.policy.size import size_of_directory
from actors.records import Sampling
from actors.weights.object_store import publish_model
from actors.weights.parity import Numerics, disagreement, tolerance
from tests.tiny import PROMPT, save_tiny, tiny_model

pytestmark = [pytest.mark.gpu, pytest.mark.timeout(300), pytest.mark.asyncio(loop_scope="module")]
CONFIG = EngineConfig(device="cuda", dtype="bfloat16", max_open_requests=256, kv_cache_mib=1024, compiled="graphs")


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    os.environ.update(engine_env(CONFIG))
    return save_tiny(tmp_path_factory.mktemp("tiny"))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engine(model_dir: Path, ray_session: Path) -> AsyncIterator[Engine]:
    engine = await start_engine(model_dir, CONFIG)
    yield engine
    await engine.stop()


async def test_an_engine_starts_where_most_of_the_card_is_taken(engine: Engine, model_dir: Path) -> None:
    free, total = torch.cuda.mem_get_info()
    assert total - free < 2 * engine_memory(size_of_directory(model_dir), CONFIG).total
    done = await asyncio.gather(*(engine.generate(PROMPT, Sampling(64, seed=i), i) for i in range(64)))
    assert len({c.token_ids for c in done}) > 1


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
async def test_every_update_reaches_the_graphs_that_were_recorded_before_it(engine: Engine, dtype: torch.dtype) -> None:
    for version, scale in ((1, 1.0), (2, 1.5), (3, 1.0)):
        model: Any = in_dtype(tiny_model(version, scale), dtype)
        weights = publish_model(version, model.cuda())
        await engine.load(weights, 30, 30)
        apart = disagreement(weights.parity, await engine.score(weights.parity.token_ids))
        assert apart.within(tolerance(weights.parity.numerics, Numerics(CONFIG.device, CONFIG.dtype))), apart


async def test_what_the_engine_draws_has_the_log_probabilities_that_it_scores(engine: Engine) -> None:
    done = await engine.generate(PROMPT, Sampling(64, seed=3))
    scored = await engine.score([*PROMPT, *done.token_ids])
    apart = [abs(a - b) for a, b in zip(done.logprobs, scored[len(PROMPT) - 1 :], strict=True)]
    assert max(apart) < 0.3
