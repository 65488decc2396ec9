"""An engine that takes every request and finishes none."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from actors.config import EngineConfig
from actors.records import Completion, Sampling


class EndlessEngine:
    """The part of an engine that a worker with open groups and health checks uses."""

    progress = open_requests = 0

    async def generate(self, prompt_ids: Sequence[int], sampling: Sampling, index: int = 0) -> Completion:
        """Never ends."""
        self.open_requests += 1
        await asyncio.Event().wait()
        raise AssertionError


async def open_endless(model_dir: Path, config: EngineConfig) -> Any:
    """In place of `start_engine`."""
    return EndlessEngine()
