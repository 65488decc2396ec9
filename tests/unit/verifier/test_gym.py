import inspect
import pickle
import re
from fractions import Fraction
from typing import Any

import pytest
from pydantic import ValidationError
from reasoning_gym.factory import DATASETS, create_dataset

from verifier.errors import BadTask
from verifier.families import config_of, open_task
from verifier.gym import EVALUATED, UNUSABLE, GymConfig, is_formula, is_literal
from verifier.judgement import MAX_TEXT, Judgement, checked
from verifier.splits import digest_of, split_of_hash
from verifier.task import SPLITS, Item, Message, Stratum

SUMS = {"dataset": "chain_sum", "config": {"min_terms": 2, "max_terms": 2, "max_digits": 2}}


def gym(*datasets, **settings) -> GymConfig:
    return GymConfig.model_validate({"family": "gym", "datasets": list(datasets), **settings})


def entry_of(item: Item) -> dict[str, Any]:
    assert isinstance(item.payload, dict)
    return item.payload


def first(name, **config):
    task = open_task(gym({"dataset": name, "config": config}))
    return task, task.item(task.strata()[0], 0, 0, "train")


def test_an_item_is_a_pure_function_of_its_address_and_is_of_its_split_alone():
    config = gym(SUMS)
    tasks = config.task(), config.task()
    stratum = tasks[0].strata()[0]
    ids: dict[str, set[str]] = {}
    for split in SPLITS:
        for index in range(40):
            item = tasks[0].item(stratum, 3, index, split)
            assert item == tasks[1].item(stratum, 3, index, split)
            assert pickle.loads(pickle.dumps(item)) == item
            assert split_of_hash(digest_of(entry_of(item)["question"])) == split
            ids.setdefault(split, set()).add(item.id)
    assert not ids["train"] & ids["test"]
    assert len(ids["train"]) > 30


def test_several_configs_of_one_dataset_are_strata_by_what_differs_between_them():
    easy = {"dataset": "chain_sum", "config": {"min_terms": 2, "max_terms": 3}}
    hard = {"dataset": "chain_sum", "config": {"min_terms": 2, "max_terms": 6}}
    assert open_task(gym(easy, hard, {"dataset": "gcd"})).strata() == (
        Stratum.of(dataset="chain_sum", max_terms=3),
        Stratum.of(dataset="chain_sum", max_terms=6),
        Stratum.of(dataset="gcd"),
    )


def test_the_scorers_partial_credit_is_the_graded_score():
    task, item = first("chain_sum", max_digits=1)
    answer = entry_of(item)["answer"]
    assert task.judge(item, item.gold or "").right
    assert task.judge(item, f"Let me see.\n<answer>{answer}</answer>").right
    nearly = task.judge(item, f"it is {answer} I think")
    assert not nearly.right
    assert 0 < nearly.score < 1
    assert task.judge(item, "").score == 0


def test_an_answer_that_is_too_long_is_wrong_and_no_error_of_the_judge():
    for name in ("gcd", "countdown"):
        task, item = first(name)
        text = "1 + " * MAX_TEXT + "1"
        judged = checked(task.judge(item, text), text)
        assert (judged.right, judged.score) == (False, 0.0)
        assert judged.answer == text[:MAX_TEXT]


def test_a_system_message_makes_the_prompt_a_chat():
    task = open_task(gym(SUMS, system="Answer between <answer> and </answer>."))
    prompt = task.item(task.strata()[0], 0, 0, "train").prompt
    assert isinstance(prompt, tuple)
    assert prompt[0] == Message("system", "Answer between <answer> and </answer>.")
    assert prompt[1].role == "user"


def test_settings_survive_the_file_they_are_written_to():
    config = gym(SUMS, {"dataset": "gcd"}, shares=[0.25, 0.75])
    assert config_of("gym").model_validate_json(config.model_dump_json()) == config


@pytest.mark.parametrize(
    ("datasets", "settings", "message"),
    [
        ([{"dataset": "chain_sums"}], {}, r"no dataset 'chain_sums'; did you mean chain_sum"),
        ([{"dataset": "chain_sum", "config": {"terms": 3}}], {}, "chain_sum refuses its config"),
        ([{"dataset": "chain_sum", "config": {"min_terms": 5, "max_terms": 2}}], {}, "max_terms must be >= min_terms"),
        ([{"dataset": "chain_sum", "config": {"seed": 5}}], {}, "leave seed out"),
        ([SUMS, SUMS], {}, "two datasets are the same"),
        ([SUMS], {"shares": [0.5, 0.5]}, "2 shares for 1 datasets"),
        ([{"dataset": "ransom_note"}], {}, "ransom_note cannot be used: it draws from sets of text"),
        ([{"dataset": "gcd", "config": [1, 2]}], {}, r"must be a map of the generator's own settings, not \[1, 2\]"),
    ],
)
def test_settings_that_cannot_be_drawn_from_are_refused(datasets, settings, message):
    with pytest.raises(ValidationError, match=message):
        gym(*datasets, **settings)


def test_a_config_for_which_the_generator_makes_no_question_is_told():
    with pytest.raises(BadTask, match="word_ladder makes no question with this config"):
        gym({"dataset": "word_ladder", "config": {"min_chain_length": 90, "max_chain_length": 99}}).task()


def test_an_answer_that_is_code_never_reaches_a_scorer_that_evaluates_it(tmp_path):
    made = tmp_path / "made"
    code = f"__import__('pathlib').Path({str(made)!r}).touch()"
    for name in EVALUATED:
        task, item = first(name)
        assert task.judge(item, f"<answer>{code}</answer>").score == 0
        assert not made.exists(), name


def test_every_scorer_that_evaluates_is_listed():
    evaluates = re.compile(r"(?<!literal_)eval\(answer\)|parse_expr\(answer|sympify\(answer|exec\(answer")
    found = {name for name, (cls, _) in DATASETS.items() if evaluates.search(inspect.getsource(cls))}
    assert found - set(UNUSABLE) == set(EVALUATED)


def test_literals_and_formulas_are_told_from_code():
    assert is_literal("[[1, 0], ['a']]")
    assert not is_literal("open('x')")
    assert not is_literal("[" * 100_000)
    assert is_formula("2*x**2 - sin(x)/4 + C")
    for text in ("x.diff()", "open('x')", "__import__", "Symbol(x)", "lambda: 1", "a[0]"):
        assert not is_formula(text), text


@pytest.mark.parametrize("run", ["1", "a", "1.5", "sin"])
def test_a_long_text_is_told_from_a_formula_in_one_pass(run):
    assert not is_formula(run * 10_000 + "=")


def test_a_formula_has_small_powers():
    for text in ("x**(3/2)", "2*x**3 + x**2", "E**(2*x)", "x**-2", "x**(2 + 1)/(2 + 1)", "2**2*2**2"):
        assert is_formula(text), text
    for text in ("9**9**9", "9**(9**9)", "(9**99)** 99", "x**9999", "9**-(+9999)"):
        assert not is_formula(text), text


@pytest.mark.parametrize("name", ["coin_flip", "countdown", "puzzle24", "simple_integration"])
@pytest.mark.parametrize("text", ["9**9**9", "1e-999999999", "1.E+99_99_99_999"])
def test_a_number_without_end_is_never_given_to_a_scorer(name, text):
    task, item = first(name)
    assert task.judge(item, text).score == 0


@pytest.mark.parametrize("text", ["nan", "NaN", "nanj", "nan + 1i", "1 - nani", "n a n", r"\boxed{nan}", "(nan)"])
def test_what_is_no_number_is_never_right(text):
    task, item = first("complex_arithmetic")
    assert task.judge(item, item.gold or "").right
    assert task.judge(item, text).score == 0


@pytest.mark.parametrize(
    ("name", "text"), [("coin_flip", "0"), ("coin_flip", "0.0"), ("puzzle24", "1*2*3*4"), ("puzzle24", "6*4*1*1")]
)
def test_no_answer_is_right_whatever_the_question(name, text):
    task, _ = first(name)
    items = [task.item(task.strata()[0], 0, index, "train") for index in range(5)]
    right = [item for item in items if task.judge(item, text).right]
    assert len(right) < len(items)
    assert all(task.judge(item, item.gold or "").right for item in items)


def test_the_right_numbers_in_another_order_make_24_and_a_probability_may_be_a_fraction():
    task, item = first("puzzle24")
    for text in (f"0 + {item.gold}", "9" * 5_000):
        assert task.judge(item, text).score == 0
    assert task.judge(item, f"({item.gold})").right
    task, item = first("coin_flip")
    probability = entry_of(item)["answer"]
    assert task.judge(item, str(Fraction(probability))).right
    assert task.judge(item, f"{float(Fraction(probability)) + 0.0002}").score == 0


def test_a_wrong_answer_that_the_scorer_gives_more_than_1_scores_0():
    task, item = first("spell_backward", min_word_len=9, max_word_len=9)
    longer = f"{(item.gold or '').strip()}s"
    assert create_dataset("spell_backward").score_answer(longer, entry_of(item)) > 1
    assert checked(task.judge(item, longer), longer) == Judgement(right=False, answer=longer, partial=0)


# tests/contracts/test_gym_datasets.py has all others.
LISTED = ["acre", "gsm_symbolic", "list_functions"]
MAY_EVALUATE = ["binary_matrix", "n_queens", "spiral_matrix", "string_insertion", "countdown"]


@pytest.mark.parametrize("name", ["gcd", "products", "word_sorting", "word_ladder", *LISTED, *MAY_EVALUATE])
def test_gold_texts_are_judged_right(name):
    task, item = first(name)
    assert task.has_gold
    assert item == task.item(item.stratum, 0, 0, "train")
    assert task.judge(item, item.gold or "").right


def test_any_of_the_answers_that_a_generator_gives_is_right():
    task, item = first("n_queens", min_remove=7)
    valid = entry_of(item)["metadata"]["valid_answers"]
    assert len(valid) > 1
    assert all(task.judge(item, f"<answer>\n{answer}\n</answer>").right for answer in valid)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("prime_factorization", "I do not know"),
        ("boxnet", "12"),
        ("boxnet", "[1, 2, 3]"),
        ("game_of_life", '{"a": 1}'),
        ("coin_flip", "1e400"),
    ],
)
def test_a_text_that_the_scorer_cannot_read_scores_0(name, text):
    task, item = first(name)
    assert checked(task.judge(item, text), text) == Judgement(right=False, answer=text, partial=0)


def test_a_dataset_that_only_scores_has_no_gold():
    task, item = first("graph_color")
    assert not task.has_gold
    assert item.gold is None
