"""The tokenizer of each served run, read once from its newest checkpoint. Blocking: call it in a thread."""

from __future__ import annotations

from transformers import PreTrainedTokenizerFast

from actors.policy.architecture import ModelRefused
from actors.policy.checkpoint import CheckpointError
from actors.policy.text_format import read_text_format
from serving.models.registry import Registry


class RunTokenizers:
    """Tokenizers by run."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._read: dict[str, PreTrainedTokenizerFast] = {}

    def of(self, run: str) -> PreTrainedTokenizerFast | None:
        """The tokenizer of a run, which all its checkpoints share; None while no checkpoint has one to read."""
        if run not in self._read:
            for entry in reversed(self._registry.entries().values()):
                if entry.run == run:
                    try:
                        self._read[run] = read_text_format(entry.store.path(entry.manifest.id)).tokenizer
                        break
                    except (CheckpointError, ModelRefused):
                        continue
        return self._read.get(run)
