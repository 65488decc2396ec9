"""A model's own text format: how prompts become ids, which ids end a completion, how messages become text.

Read once from a transformers directory, and used alike in pre-training, RL, evaluation and serving.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import TemplateError

from actors.policy.architecture import ModelRefused
from actors.policy.tokenizer import load_tokenizer
from verifier.task import Prompt

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


@dataclass(frozen=True, slots=True)
class TextFormat:
    """The format of one model.

    `begin_ids` stand before every text prompt (the model's BOS rule; most often none or one). `end_ids` end a
    completion, in the model's order; training texts end with the first.
    """

    tokenizer: PreTrainedTokenizerFast
    begin_ids: tuple[int, ...]
    end_ids: tuple[int, ...]

    def prompt_ids(self, prompt: Prompt) -> tuple[int, ...]:
        """The ids of a text, which the model continues, or of messages, to which it answers.

        Raises ModelRefused where the model has no chat template for messages, or its template fails on them.
        """
        return self.all_prompt_ids([prompt])[0]

    def all_prompt_ids(self, prompts: Sequence[Prompt]) -> list[tuple[int, ...]]:
        """`prompt_ids` of each, in one call of the tokenizer, which is twice as fast. Raises ModelRefused."""
        ids = self._ids([prompt if isinstance(prompt, str) else self.rendered(prompt) for prompt in prompts])
        return [self.begun(i) if isinstance(p, str) else i for p, i in zip(prompts, ids, strict=True)]

    def begun(self, ids: tuple[int, ...]) -> tuple[int, ...]:
        """The ids of a text prompt with `begin_ids` before them, where the text does not have them itself."""
        has_them = ids[: len(self.begin_ids)] == self.begin_ids
        return ids if has_them else (*self.begin_ids, *ids)

    def all_completion_ids(self, texts: Sequence[str]) -> list[tuple[int, ...]]:
        """The ids of texts that the model is to write after a prompt, ended."""
        return [(*ids, self.end_ids[0]) for ids in self._ids(texts)]

    def rendered(self, messages: Prompt) -> str:
        """The text that the model's chat template makes of messages. Raises ModelRefused."""
        if not self.tokenizer.chat_template:
            raise ModelRefused("the model's tokenizer has no chat template: give it prompts of text, not messages")
        chat = [{"role": m.role, "content": m.content} for m in messages if not isinstance(m, str)]
        try:
            return str(self.tokenizer.apply_chat_template(chat, add_generation_prompt=True, tokenize=False))
        except (TemplateError, ValueError, TypeError) as error:
            raise ModelRefused(f"the model's chat template refuses the messages: {error}") from error

    def _ids(self, texts: Sequence[str]) -> list[tuple[int, ...]]:
        return [tuple(ids) for ids in self.tokenizer(list(texts), add_special_tokens=False)["input_ids"]]


def read_text_format(directory: Path) -> TextFormat:
    """The text format of a transformers directory (a model's, or of a tokenizer alone). Raises ModelRefused."""
    try:
        tokenizer = load_tokenizer(directory)
    except Exception as error:  # the tokenizers library raises bare Exceptions of its own
        raise ModelRefused(f"the tokenizer of {directory} cannot be read: {error}") from error
    return text_format(tokenizer, _generation_ends(directory))


def text_format(tokenizer: PreTrainedTokenizerFast, named_ends: tuple[int, ...] = ()) -> TextFormat:
    """The format of a tokenizer whose model also ends at `named_ends`. Raises ModelRefused where nothing ends it.

    Only special tokens count: transformers writes its own default numbers where a model's author gave none, and with
    another tokenizer such a number is a word.
    """
    own = tokenizer.eos_token_id
    ends = [own] if isinstance(own, int) else []
    ends += [end for end in named_ends if end in tokenizer.added_tokens_decoder]
    if not ends:
        raise ModelRefused("the tokenizer names no end-of-text token; set eos_token in tokenizer_config.json")
    return TextFormat(tokenizer, _begin_ids(tokenizer), tuple(dict.fromkeys(ends)))


def require_fitting(text: TextFormat, vocab_size: int) -> None:
    """Raises ModelRefused where the tokenizer has ids that a model of `vocab_size` rows does not know."""
    largest = max(text.tokenizer.get_vocab().values())
    if largest >= vocab_size:
        raise ModelRefused(f"the tokenizer has ids up to {largest}, and the model only {vocab_size} rows")


def _begin_ids(tokenizer: PreTrainedTokenizerFast) -> tuple[int, ...]:
    """What the tokenizer puts before a text when it adds its special tokens."""
    plain: list[int] = list(tokenizer("a", add_special_tokens=False)["input_ids"])
    whole: list[int] = list(tokenizer("a")["input_ids"])
    starts = (i for i in range(len(whole)) if whole[i : i + len(plain)] == plain)
    return tuple(whole[: next(starts, 0)])


def _generation_ends(directory: Path) -> tuple[int, ...]:
    """The end tokens of generation_config.json, where there is one: a number or a list."""
    path = directory / "generation_config.json"
    if not path.is_file():
        return ()
    try:
        ends: Any = json.loads(path.read_bytes()).get("eos_token_id")
    except (ValueError, AttributeError) as error:
        raise ModelRefused(f"{path} is not a JSON object") from error
    return tuple(e for e in (ends if isinstance(ends, list) else [ends]) if isinstance(e, int))
