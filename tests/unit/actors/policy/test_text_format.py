from __future__ import annotations

import json

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from actors.config import TokenizerConfig
from actors.policy.architecture import ModelRefused
from actors.policy.text_format import read_text_format, require_fitting, text_format
from actors.policy.tokenizer import EOS, build_tokenizer
from verifier.task import Message

OURS = build_tokenizer(TokenizerConfig(templates=("zoo",)))
TEMPLATE = "{{ bos_token }}{% for m in messages %}[{{ m.role }}] {{ m.content }} {% endfor %}"
TEMPLATE += "{% if add_generation_prompt %}[assistant]{% endif %}"
CHAT = (Message("system", "x y"), Message("user", "y"))


def theirs(**special: str | None) -> PreTrainedTokenizerFast:
    """A tokenizer as other people's: ids 3 and 6 are words, a BOS before every text, an end of turn besides the EOS."""
    words = ["<s>", "</s>", "<|end|>", "$", "x", "y", "[", "]", "assistant", "user", "system"]
    made = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="$"))
    made.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Whitespace()])
    made.add_special_tokens(["<s>", "</s>", "<|end|>"])
    made.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    return PreTrainedTokenizerFast(tokenizer_object=made, **({"bos_token": "<s>", "eos_token": "</s>"} | special))


def saved(directory, tokenizer, ends):
    tokenizer.save_pretrained(directory)
    (directory / "generation_config.json").write_text(json.dumps({"eos_token_id": ends}))
    return directory


def test_our_tokenizers_add_nothing_and_end_at_their_own_token(tmp_path):
    ours = read_text_format(saved(tmp_path, OURS, EOS))
    assert (ours.begin_ids, ours.end_ids) == ((), (EOS,))
    assert ours.prompt_ids("<question> a </question>")[0] == 4
    assert ours.all_completion_ids([" Define"]) == [(*OURS(" Define")["input_ids"], EOS)]


def test_a_list_of_end_tokens_is_kept_and_a_number_that_is_a_word_is_not(tmp_path):
    assert read_text_format(saved(tmp_path, theirs(), [2, 1, 3])).end_ids == (1, 2)
    assert read_text_format(saved(tmp_path, theirs(), 3)).end_ids == (1,)
    assert read_text_format(saved(tmp_path, theirs(), None)).end_ids == (1,)


def test_a_text_begins_as_the_models_own_tokenizer_begins_it_and_only_once():
    format_ = text_format(theirs())
    assert format_.begin_ids == (0,)
    assert format_.prompt_ids("x y") == format_.prompt_ids("<s> x y") == (0, 4, 5)


def test_messages_go_through_the_chat_template_which_begins_them_itself():
    tokenizer = theirs()
    tokenizer.chat_template = TEMPLATE
    words = tokenizer.convert_ids_to_tokens(list(text_format(tokenizer).prompt_ids(CHAT)))
    assert " ".join(words) == "<s> [ system ] x y [ user ] y [ assistant ]"


@pytest.mark.parametrize(
    ("template", "reason"),
    [(None, "no chat template"), ("{{ raise_exception('no system') }}", "no system"), ("{% for %}", "refuses")],
)
def test_messages_that_the_model_cannot_take_are_refused_with_the_reason(template, reason):
    tokenizer = theirs()
    tokenizer.chat_template = template
    with pytest.raises(ModelRefused, match=reason):
        text_format(tokenizer).prompt_ids(CHAT)


def test_a_tokenizer_that_cannot_work_is_refused(tmp_path):
    with pytest.raises(ModelRefused, match="no end-of-text token"):
        text_format(theirs(eos_token=None), (3,))
    with pytest.raises(ModelRefused, match="ids up to 10, and the model only 10 rows"):
        require_fitting(text_format(theirs()), 10)
    require_fitting(text_format(theirs()), 11)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(ModelRefused, match="cannot be read"):
        read_text_format(tmp_path)
