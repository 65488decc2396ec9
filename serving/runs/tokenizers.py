"""The tokenizers of the served runs, each read once from a checkpoint. Blocking: call it in a thread."""

from __future__ import annotations

from transformers import PreTrainedTokenizerFast

from actors.policy.architecture import ModelRefused
from actors.policy.checkpoint import CheckpointError
from actors.policy.text_format import read_text_format
from serving.models.registry import Entry, Registry


class RunTokenizers:
    """Tokenizers by their hash: a run that was done again in its folder may have another."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._read: dict[str, PreTrainedTokenizerFast] = {}

    def of(self, run: str) -> PreTrainedTokenizerFast | None:
        """The tokenizer of a run, which all its checkpoints share; None while no checkpoint has one to read."""
        for entry in reversed(self._registry.entries().values()):
            if entry.run == run:
                try:
                    return self._of(entry)
                except (CheckpointError, ModelRefused):
                    continue
        return None

    def _of(self, entry: Entry) -> PreTrainedTokenizerFast:
        name = entry.manifest.tokenizer_hash
        if name not in self._read:
            self._read[name] = read_text_format(entry.store.path(entry.manifest.id)).tokenizer
        return self._read[name]
