"""The op-graph problems as a family of tasks: strata by op, mode, template and depth, judged step by step.

Which ops in which shares, or a mixture of the paper by name; numbers and facts are limited alike in all strata.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import count as count_from
from typing import Literal, Self

from pydantic import BaseModel, Field, model_validator

from verifier.errors import TooFewItems
from verifier.families import TaskConfig
from verifier.graphs.draw import judgement_svg
from verifier.graphs.generate import sketch
from verifier.graphs.graph import graph_hash
from verifier.graphs.judge.gold import Gold, prepare
from verifier.graphs.judge.judge import verify
from verifier.graphs.mixture import Cell
from verifier.graphs.mixture import Mixture as GraphMixture
from verifier.graphs.plant import plant, verify_as_if
from verifier.graphs.presets import preset
from verifier.graphs.problem import (
    DEFAULT_MAX_ANSWER,
    DEFAULT_MAX_CONSTANT,
    MODES,
    TEMPLATES,
    Mode,
    Problem,
    ProblemSpec,
    Template,
)
from verifier.graphs.tell import completion_text, prompt_text
from verifier.judgement import Judgement, TraceJudgement
from verifier.mixture import Mixture
from verifier.recovery import Alternative, Planted, Unplanted
from verifier.seeds import Index, item_seed, mix
from verifier.splits import split_of_hash
from verifier.task import Address, Item, Split, Stratum, Task

_HELD_OUT_DRAW = 3
# Draws for a held-out set before a stratum counts as exhausted: these, and 200 an item wanted (about 20 are needed).
_TRIES = 2_000


class GraphsPart(BaseModel, frozen=True, extra="forbid"):
    """A part of a mixture of several kinds of problems: its ops are equally frequent within it."""

    ops: tuple[int, ...] = Field(min_length=1, description="operations of its problems; a stratum each [operations]")
    share: float = Field(gt=0, le=1, description="of all problems; those of the parts sum to 1")
    mode: Mode = Field(default=MODES[0], description="ask for a result, or for an unknown at the start")
    template: Template = Field(default=TEMPLATES[0], description="the words of the story")
    depth: int = Field(default=2, ge=2, le=3, description="3 has averages as well [levels of the graph]")

    def cells(self) -> list[Cell]:
        """A cell for each op."""
        return [Cell(op, self.mode, self.template, self.share / len(self.ops), self.depth) for op in self.ops]


class GraphsConfig(TaskConfig, frozen=True):
    """Op-graph problems. `preset` excludes `ops` and all that shapes them; so does `parts`, but for the limits."""

    family: Literal["graphs"] = "graphs"
    preset: str | None = Field(default=None, description="a mixture of arXiv 2512.07783 by name, instead of ops")
    parts: tuple[GraphsPart, ...] = Field(
        default=(), description="a mixture of several modes, stories or depths, each with its ops and its share"
    )
    ops: tuple[int, ...] = Field(
        default=(), description="arithmetic operations that a solution needs; a stratum each [operations]"
    )
    mode: Mode = Field(default=MODES[0], description="ask for a result, or for an unknown at the start")
    template: Template = Field(default=TEMPLATES[0], description="the words of the story")
    depth: int = Field(default=2, ge=2, le=3, description="3 has averages as well [levels of the graph]")
    max_facts: int | None = Field(default=None, ge=1, description="longest problem; distractors give way [sentences]")
    max_answer: int = Field(
        default=DEFAULT_MAX_ANSWER, ge=1, description="largest answer of a reverse problem [no unit]"
    )
    max_constant: int = Field(
        default=DEFAULT_MAX_CONSTANT, ge=1, description="number range: constants are 1 to this [no unit]"
    )

    @model_validator(mode="after")
    def _one_way_to_say_it(self) -> Self:
        if [self.preset is not None, bool(self.parts), bool(self.ops)].count(True) != 1:
            raise ValueError("name either a preset, parts or the ops")
        if self.preset is not None and self != GraphsConfig.model_construct(preset=self.preset):
            raise ValueError(f"preset {self.preset!r} already sets all these fields: leave all but preset out")
        if self.parts and self != self.model_copy(update=_OF_EACH_PART):
            raise ValueError(f"each part has its own: leave {', '.join(_OF_EACH_PART)} out")
        if self.shares and len(self.shares) != len(self.ops):
            raise ValueError(f"{len(self.shares)} shares for {len(self.ops)} ops")
        cells = self.grid().cells  # raises where the preset is unknown, shares do not sum to 1, no problem can be made
        names = [_stratum(cell).name for cell in cells]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise ValueError(f"{twice} is named twice: give it one share")
        return self

    def grid(self) -> GraphMixture:
        """The cells with their shares and the limits that they have in common."""
        if self.preset is not None:
            return preset(self.preset)
        return GraphMixture(tuple(self._cells()), self.max_facts, self.max_answer, self.max_constant)

    def _cells(self) -> list[Cell]:
        if self.parts:
            return [cell for part in self.parts for cell in part.cells()]
        shares = self.shares or tuple(1 / len(self.ops) for _ in self.ops)
        return [
            Cell(op=op, mode=self.mode, template=self.template, share=share, depth=self.depth)
            for op, share in zip(self.ops, shares, strict=True)
        ]

    def task(self) -> Task:
        """The op-graph problems of this grid."""
        return GraphTask(self.grid())

    def mixture(self) -> Mixture:
        """The cells as strata."""
        cells = self.grid().cells
        return Mixture(tuple(_stratum(cell) for cell in cells), tuple(cell.share for cell in cells))


_OF_EACH_PART: dict[str, object] = {"shares": (), "mode": MODES[0], "template": TEMPLATES[0], "depth": 2}


@dataclass(frozen=True, slots=True)
class GraphTask:
    """Op-graph problems of a grid. The payload of an item is its `Problem`."""

    grid: GraphMixture
    has_steps: bool = True
    has_gold: bool = True

    def strata(self) -> tuple[Stratum, ...]:
        """The cells of the grid."""
        return tuple(_stratum(cell) for cell in self.grid.cells)

    def item(self, stratum: Stratum, seed: int, index: Index, split: Split) -> Item:
        """The first problem of the split among those that the address draws; even the smallest stratum has some."""
        spec = self._spec(stratum)
        for drawn_with in _seeds(spec, seed, index, split):
            drawn = sketch(spec, drawn_with)
            if split_of_hash(graph_hash(drawn.graph)) == split:
                return item_of(drawn.tell(), Address(stratum, seed, index, split))
        raise AssertionError("the seeds have no end")

    def judge(self, item: Item, text: str) -> TraceJudgement:
        """Judge a trace step by step."""
        return verify(text, gold_of(problem_of(item)))

    def plant(self, item: Item, trace: str, step: int, alternative: Alternative, seed: int) -> Planted | Unplanted:
        """One alternative at one step of a right trace. Raises NotARightTrace."""
        return plant(trace, gold_of(problem_of(item)), step, alternative, seed)

    def judge_as_if(self, planted: Planted, text: str) -> TraceJudgement | None:
        """Judge a trace as if the planted error were true."""
        return verify_as_if(text, planted)

    def held_out(self, stratum: Stratum, count: int, seed: int) -> tuple[Item, ...]:
        """The first `count` distinct test problems in the stratum's own order of seeds. Raises TooFewItems."""
        spec = self._spec(stratum)
        key = _held_out_key(spec, seed)
        found: dict[str, Item] = {}
        for index in range(_TRIES + 200 * count):
            if len(found) == count:
                break
            drawn = sketch(spec, mix(*key, index))
            digest = graph_hash(drawn.graph)
            if digest not in found and split_of_hash(digest) == "test":
                found[digest] = item_of(drawn.tell(), Address(stratum, seed, index, "test"))
        if len(found) < count:
            raise TooFewItems(
                f"only {len(found)} distinct test problems of {spec} were found, not {count}: ask for fewer"
            )
        return tuple(found.values())

    def _spec(self, stratum: Stratum) -> ProblemSpec:
        for cell in self.grid.cells:
            if _stratum(cell) == stratum:
                return self.grid.spec(cell)
        raise ValueError(f"{stratum.name} is no stratum of this task")


def _seeds(spec: ProblemSpec, seed: int, index: Index, split: Split) -> Iterator[int]:
    """The tries at one address. Test problems have an order of their own, so that no training seed draws them."""
    if split == "test" and isinstance(index, int):
        key = (*_held_out_key(spec, seed), index)
        yield mix(*key)
        yield from (mix(*key, attempt) for attempt in count_from(1))
    yield from (item_seed(seed, index, attempt) for attempt in count_from())


def _held_out_key(spec: ProblemSpec, seed: int) -> tuple[int, ...]:
    return seed, spec.op, MODES.index(spec.mode), TEMPLATES.index(spec.template), spec.depth, _HELD_OUT_DRAW


def _stratum(cell: Cell) -> Stratum:
    return Stratum.of(op=cell.op, mode=cell.mode, template=cell.template, depth=cell.depth)


def item_of(problem: Problem, address: Address) -> Item:
    """A problem as an item: asked as training asks it, its gold trace separated from the prompt by a space."""
    prompt = prompt_text(problem.problem, problem.question)
    return Item(problem.id, address, prompt, f" {completion_text(problem.solution)}", problem)


def problem_of(item: Item) -> Problem:
    """The problem behind an item of this family."""
    assert isinstance(item.payload, Problem), "the item is of another family"
    return item.payload


def gold_of(problem: Problem) -> Gold:
    """The problem's gold trace, prepared for judging; kept for the next text on the same problem."""
    return _prepared(problem.problem, problem.question, problem.solution)


_prepared = lru_cache(maxsize=1024)(prepare)


def drawing(item: Item, judgement: Judgement) -> str:
    """The dependency graph of an item as SVG, with what became of each of its quantities."""
    assert isinstance(judgement, TraceJudgement)
    return judgement_svg(gold_of(problem_of(item)), judgement)
