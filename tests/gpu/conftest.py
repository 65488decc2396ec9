"""Tests that need a CUDA device: `make test-gpu`, each file in a process of its own. No network, no Ray cluster.

vLLM and DeepSpeed both form process-wide groups, so a process tests the learner or an engine.
"""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True, scope="session")
def _cuda() -> None:
    import torch

    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
