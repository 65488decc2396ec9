"""Problems of Reasoning Gym: its generators by name and config, judged by the generator's own scorer.

A stratum is a generator with its config; where one generator is listed with several configs, what differs between them
are axes too. An item is right when the scorer gives 1; what it gives below that is partial credit.

Several scorers evaluate the answer as Python or as a SymPy formula, which would run what a model wrote. Those are given
an answer only if it is a Python literal or a plain formula; any other one scores 0, unless it is the generator's own
answer, letter by letter. A text that a scorer cannot read scores 0 too (docs/decisions 0196).
Source: the package reasoning-gym (Apache 2.0), version in `REQUIREMENT`.
"""

from __future__ import annotations

import ast
import difflib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Annotated, Any, Literal, Self, cast

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, ValidationInfo, model_validator

from verifier.errors import BadTask, TooFewItems
from verifier.families import TaskConfig, opens
from verifier.final_answer import final_answer
from verifier.judgement import MAX_TEXT, Judgement, cut
from verifier.outside.extras import need
from verifier.seeds import Index, item_seed
from verifier.splits import digest_of, split_of_hash
from verifier.task import Address, Item, Message, Prompt, Split, Stratum, Task, Value, distinct_items

REQUIREMENT = "reasoning-gym==0.1.25"
ANSWER_SIGN = "\nAnswer:"

_ENDLESS = 1 << 31
# The most items of the generators that refuse more.
_MOST = {"word_ladder": 20_000}
# Draws for an item of a split before the generator counts as having none: one in twenty is of the test split.
_TRIES = 2_000
# They list their items when they are made, so that a new one is made for every draw.
_MADE_AT_ONCE = frozenset({"acre", "gsm_symbolic", "list_functions"})
# A scorer may take these for right, whatever the question, since min(1.0, nan) is 1.0; one removes spaces first.
_NO_NUMBER = re.compile(r"(?<![a-z])(?:n\s*a\s*n|i\s*n\s*f(?:inity)?)\s*[ij]?(?![a-z])", re.IGNORECASE)
# A number that takes a scorer seconds or for ever to write out: 1e-999999999.
_HUGE = re.compile(r"[\d.][eE][-+]?[\d_]{6}")
# What a scorer raises on a text that is not of the form which it expects.
_UNREADABLE = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError)

Setting = Value | bool | tuple[Value, ...] | None


def _as_pairs(value: Any) -> Any:
    if not isinstance(value, Mapping):
        raise ValueError(f"must be a map of the generator's own settings, not {value!r:.60}")
    settings: Any = cast(Any, value)
    return tuple((name, _frozen(setting)) for name, setting in settings.items())


def _frozen(value: Any) -> Any:
    return tuple(cast(list[Any], value)) if isinstance(value, list) else value


Settings = Annotated[tuple[tuple[str, Setting], ...], BeforeValidator(_as_pairs), PlainSerializer(dict)]


class Generator(BaseModel):
    """One of Reasoning Gym's generators with its config."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset: str = Field(description="the name that Reasoning Gym registers it under, for example chain_sum")
    config: Settings = Field(default=(), description="fields of the generator's own config that are not its defaults")

    def open(self, seed: int, size: int) -> Any:
        """The generator itself. Raises BadTask where it does not exist or refuses the config."""
        factory = need("reasoning_gym.factory", "gym", REQUIREMENT)
        if self.dataset not in factory.DATASETS:
            near = difflib.get_close_matches(self.dataset, list[str](factory.DATASETS), n=3, cutoff=0.0)
            raise BadTask(f"Reasoning Gym has no dataset {self.dataset!r}; did you mean {', '.join(near)}?")
        if self.dataset in UNUSABLE:
            raise BadTask(f"{self.dataset} cannot be used: {UNUSABLE[self.dataset]}")
        try:
            return factory.create_dataset(self.dataset, seed=seed, size=size, **dict(self.config))
        except (TypeError, ValueError, AssertionError) as error:
            raise BadTask(f"{self.dataset} refuses its config: {error}") from error


class GymConfig(TaskConfig, frozen=True):
    """Problems of Reasoning Gym."""

    family: Literal["gym"] = "gym"
    datasets: tuple[Generator, ...] = Field(min_length=1, description="the generators; a stratum each")
    system: str | None = Field(
        default=None, description="ask in chat, after this system message; left out: the question as plain text"
    )

    @model_validator(mode="after")
    def _can_be_drawn(self, info: ValidationInfo) -> Self:
        for generator in self.datasets:
            taken = {"seed", "size"} & dict(generator.config).keys()
            if taken:
                raise ValueError(
                    f"leave {taken.pop()} out of the config of {generator.dataset}: the run's seed decides"
                )
            if opens(info):
                generator.open(seed=0, size=1)
        if len(set(self.datasets)) < len(self.datasets):
            raise ValueError("two datasets are the same, config and all: give one of them its share")
        if self.shares and len(self.shares) != len(self.datasets):
            raise ValueError(f"{len(self.shares)} shares for {len(self.datasets)} datasets")
        return self

    def task(self) -> Task:
        """The generators as a task."""
        sources = {_stratum(each, self.datasets): _source(each) for each in self.datasets}
        has_gold = all(source.entry(0)["answer"] is not None for source in sources.values())
        return GymTask(sources, self.system, has_gold)


@dataclass(frozen=True, slots=True)
class GymTask:
    """Items of Reasoning Gym. The payload of an item is the generator's entry: question, answer and metadata.

    Some generators give no answer and only score one; with such a generator, `has_gold` is false.
    """

    sources: Mapping[Stratum, _Source]
    system: str | None
    has_gold: bool
    has_steps: bool = False

    def strata(self) -> tuple[Stratum, ...]:
        """The generators, in the recipe's order."""
        return tuple(self.sources)

    def item(self, stratum: Stratum, seed: int, index: Index, split: Split) -> Item:
        """The first entry of the split among those that the address draws. Raises TooFewItems where there is none."""
        source = self._source(stratum)
        for attempt in range(_TRIES):
            entry = source.entry(item_seed(seed, index, attempt))
            if split_of_hash(digest_of(entry["question"])) == split:
                return self._item(entry, Address(stratum, seed, index, split))
        raise TooFewItems(f"{stratum.name} has no {split} items among {_TRIES}: widen its config")

    def judge(self, item: Item, text: str) -> Judgement:
        """The scorer's judgement of the text's final answer; it is not given one that is longer than MAX_TEXT."""
        source = self._source(item.stratum)
        answer = final_answer(text)
        if answer is None or len(answer) > MAX_TEXT:
            return Judgement(right=False, answer=answer and cut(answer), partial=0.0)
        score = source.score(answer, cast(dict[str, Any], item.payload))
        return Judgement(right=score >= 1.0, answer=answer, partial=score)

    def held_out(self, stratum: Stratum, count: int, seed: int) -> tuple[Item, ...]:
        """The first `count` distinct test items. Raises TooFewItems."""
        return distinct_items(self, stratum, count, seed)

    def _item(self, entry: dict[str, Any], address: Address) -> Item:
        question, answer = entry["question"], entry["answer"]
        identity = digest_of(address.stratum.name, question)
        gold = None if answer is None else f" {answer}"
        return Item(identity, address, self._prompt(question), gold, entry)

    def _prompt(self, question: str) -> Prompt:
        if self.system is None:
            return question + ANSWER_SIGN
        return Message("system", self.system), Message("user", question)

    def _source(self, stratum: Stratum) -> _Source:
        if stratum not in self.sources:
            raise BadTask(f"{stratum.name} is no stratum of this task")
        return self.sources[stratum]


@dataclass(frozen=True, slots=True)
class _Source:
    generator: Generator
    dataset: Any

    def entry(self, draw: int) -> dict[str, Any]:
        """The entry of a draw. Raises BadTask where the generator makes none of its config."""
        name = self.generator.dataset
        try:
            if name in _MADE_AT_ONCE:
                return self.generator.open(seed=draw % _ENDLESS, size=1)[0]
            return self.dataset[draw % _size(name)]
        except (LookupError, RuntimeError, ValueError) as error:
            raise BadTask(f"{name} makes no question with this config ({error}); change the config") from error

    def score(self, answer: str, entry: dict[str, Any]) -> float:
        """What the scorer gives to the answer; 0 where it cannot read it, or is not given it."""
        own = tuple(_own_answers(entry))
        if answer in own:
            return 1.0
        if not self._may_score(answer, own, entry):
            return 0.0
        try:
            score = float(self.dataset.score_answer(answer, entry))
        except _UNREADABLE:
            return 0.0
        return score if 0 <= score <= 1 else 0.0  # above 1 are some wrong answers only

    def _may_score(self, answer: str, own: tuple[str, ...], entry: dict[str, Any]) -> bool:
        """Whether the scorer would neither run the answer, nor work on it for ever, nor be misled by it."""
        runs_nothing = EVALUATED.get(self.generator.dataset, _anything)(answer)
        misleads = _NO_NUMBER.search(answer) is not None and not any(map(_NO_NUMBER.search, own))
        if misleads or not runs_nothing or _HUGE.search(answer) is not None:
            return False
        may_be_right = MISLED.get(self.generator.dataset)
        return may_be_right is None or may_be_right(answer, entry)


def _source(generator: Generator) -> _Source:
    dataset = generator.open(seed=0, size=_size(generator.dataset))
    if generator.dataset == "word_ladder":  # its gold paths follow the order of these sets, which each process has anew
        for near in dataset.word_graphs.values():
            near.update({word: sorted(words) for word, words in near.items()})
    return _Source(generator, dataset)


def _size(dataset: str) -> int:
    """How many items the dataset is opened with."""
    return 1 if dataset in _MADE_AT_ONCE else _MOST.get(dataset, _ENDLESS)


def _own_answers(entry: dict[str, Any]) -> Iterator[str]:
    """The answers that the generator itself gives to its question, as `final_answer` would find them."""
    given = (entry["answer"], *entry.get("metadata", {}).get("valid_answers", ()))
    return (str(answer).strip() for answer in given if answer is not None)


def _stratum(generator: Generator, among: tuple[Generator, ...]) -> Stratum:
    """The dataset, and those of its settings that differ or are absent in another config of the same dataset."""
    others = [dict(other.config) for other in among if other.dataset == generator.dataset]
    told = {name: _value(value) for name, value in generator.config if any(o.get(name) != value for o in others)}
    return Stratum((("dataset", generator.dataset), *told.items()))


def _value(setting: Setting) -> Value:
    return setting if isinstance(setting, int | float | str) and not isinstance(setting, bool) else str(setting)


def _anything(answer: str) -> bool:
    return True


def is_literal(text: str) -> bool:
    """Whether the text is a Python literal, so that evaluating it runs nothing."""
    try:
        ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return False
    return True


_NAME = re.compile(r"[A-Za-z_]\w*")
# Possessive, so that a text is read once: `\w*` and `\d+` could share a long run in as many ways as there are.
_FORMULA = re.compile(r"(?:[A-Za-z]\w*+|\d++(?:\.\d++)?|[-+*/^(), \n])*+")
# A power of a number to four digits, or of one to another power: 9**9**9 has 369 million digits.
_HUGE_POWER = re.compile(r"\*\*[-+ (]*+\d++(?:(?<=\d{4})|[ )]*+\*\*)")
_FUNCTIONS = frozenset({"sin", "cos", "tan", "asin", "acos", "atan", "sqrt", "exp", "log", "ln", "pi"})


def is_formula(text: str) -> bool:
    """Whether the text has numbers, small powers, variables of one letter, elementary functions, and nothing else."""
    names = cast(list[str], _NAME.findall(text))
    known = all(len(name) == 1 or name in _FUNCTIONS for name in names)
    return known and _FORMULA.fullmatch(text) is not None and _HUGE_POWER.search(text) is None


EVALUATED: dict[str, Callable[[str], bool]] = {
    "binary_matrix": is_literal,
    "n_queens": is_literal,
    "spiral_matrix": is_literal,
    "string_insertion": is_literal,
    "countdown": is_formula,
    "intermediate_integration": is_formula,
    "puzzle24": is_formula,
    "simple_integration": is_formula,
}
"""The datasets whose scorers evaluate an answer, and the check that an answer must pass first."""


def _is_near(answer: str, entry: dict[str, Any]) -> bool:
    """Whether the answer is the entry's number, as near as the scorer of `coin_flip` asks."""
    try:
        return abs(Fraction(answer.replace(",", "")) - Fraction(entry["answer"])) <= Fraction(1, 10_000)
    except (ValueError, ZeroDivisionError):
        return False


def _has_its_numbers(answer: str, entry: dict[str, Any]) -> bool:
    """Whether the answer has the numbers of the entry's question, each as often."""
    return sorted(re.findall(r"\d+", answer)) == sorted(map(str, entry["metadata"]["numbers"]))


MISLED: dict[str, Callable[[str, dict[str, Any]], bool]] = {"coin_flip": _is_near, "puzzle24": _has_its_numbers}
"""The datasets whose scorers take one and the same answer for right on every question, and what an answer must pass.

`coin_flip` takes any number that begins as the right one does, such as 0; `puzzle24` any four numbers that make 24.
"""

_ANOTHER_QUESTION = "it draws from sets of text: the same seed gives another question in every process"
UNUSABLE: dict[str, str] = {
    "composite": "its config lists other datasets; list these under datasets instead",
    "game_of_life_halting": "its scorer takes any text for right",
    "isomorphic_strings": _ANOTHER_QUESTION,
    "knight_swap": "the same seed gives another answer in every process",
    "polynomial_multiplication": _ANOTHER_QUESTION,
    "ransom_note": _ANOTHER_QUESTION,
}
"""The datasets that cannot be used, with the reason. docs/problems.md shows them."""
