"""What changed between two checkpoints on the same held-out problems: which are solved now, and which errors are left.

A problem counts as solved by a checkpoint if at least half of its completions are verified (right, where no steps are
judged). Pure arithmetic on the scores of two evaluations; whether a difference is more than chance is said by the
paired intervals of `trainers.evaluation.evaluate.gain`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from trainers.evaluation.evaluate import Evaluation, ProblemScore, TextSample
from verifier.judgement import Judgement
from verifier.task import Stratum

Fate = Literal["gained", "lost", "kept", "never"]
"""Solved only after, only before, by both, by neither."""


@dataclass(frozen=True, slots=True)
class BeforeAfter:
    """A number of each checkpoint; None where it has none."""

    before: float | None
    after: float | None


@dataclass(frozen=True, slots=True)
class Change:
    """A stratum: its problems by what became of them, and what the completions were like.

    `errors` are steps that are not right, by status, per completion. `first_error` is the mean number of steps before
    the first wrong one, repeated ones included, over the completions that have one. `traces` is the mean number of
    different traces of a problem. The last three are empty or None where no steps are judged.
    """

    problems: int
    gained: int
    lost: int
    kept: int
    never: int
    errors: dict[str, BeforeAfter]
    first_error: BeforeAfter
    traces: BeforeAfter


def changes(before: Evaluation, after: Evaluation) -> dict[Stratum, Change]:
    """The change of each stratum. Raises ValueError unless both hold the same problems in the same order."""
    if [score.problem_id for score in before.scores] != [score.problem_id for score in after.scores]:
        raise ValueError("a change needs the same problems on both sides")
    return {stratum: _change(_of(before, stratum), _of(after, stratum)) for stratum in before.strata()}


@dataclass(frozen=True, slots=True)
class Attempts:
    """What one checkpoint made of a problem: `right` of `samples` completions, and a typical one."""

    right: int
    samples: int
    text: str
    judgement: Judgement


@dataclass(frozen=True, slots=True)
class ChangedProblem:
    """A problem to look at, with what became of it."""

    fate: Fate
    prompt: str
    before: Attempts
    after: Attempts


def changed_problems(before: Evaluation, after: Evaluation) -> dict[Stratum, list[ChangedProblem]]:
    """The problems of each stratum of which both evaluations have kept a text; none in those of older versions."""
    return {
        stratum: [
            ChangedProblem(_fate(old, new), shown.prompt, _attempts(old, was), _attempts(new, shown))
            for (old, was), (new, shown) in zip(_shown(before, stratum), _shown(after, stratum), strict=False)
        ]
        for stratum in before.strata()
    }


def _shown(evaluation: Evaluation, stratum: Stratum) -> list[tuple[ProblemScore, TextSample]]:
    texts = [text for text in evaluation.texts if text.address.stratum == stratum]
    return list(zip(_of(evaluation, stratum), texts, strict=False))


def _attempts(score: ProblemScore, typical: TextSample) -> Attempts:
    return Attempts(score.right, score.samples, typical.text, typical.judgement)


def _of(evaluation: Evaluation, stratum: Stratum) -> list[ProblemScore]:
    return [score for score in evaluation.scores if score.stratum == stratum]


def _change(before: Sequence[ProblemScore], after: Sequence[ProblemScore]) -> Change:
    fates = Counter(_fate(old, new) for old, new in zip(before, after, strict=True))
    rates = _errors(before), _errors(after)
    return Change(
        problems=len(before),
        gained=fates["gained"],
        lost=fates["lost"],
        kept=fates["kept"],
        never=fates["never"],
        errors={kind: BeforeAfter(*(rate.get(kind, 0.0) for rate in rates)) for kind in sorted({*rates[0], *rates[1]})},
        first_error=BeforeAfter(_first_error(before), _first_error(after)),
        traces=BeforeAfter(_traces(before), _traces(after)),
    )


def _fate(before: ProblemScore, after: ProblemScore) -> Fate:
    if after.solved:
        return "kept" if before.solved else "gained"
    return "lost" if before.solved else "never"


def _errors(scores: Sequence[ProblemScore]) -> dict[str, float]:
    """Wrong steps per completion, by status."""
    found: Counter[str] = Counter()
    for score in scores:
        found.update(score.errors)
    completions = sum(score.samples for score in scores)
    return {status: count / completions for status, count in found.items()}


def _first_error(scores: Sequence[ProblemScore]) -> float | None:
    """The mean place of the first wrong step, counted from 0."""
    places: Counter[int] = Counter()
    for counts in (counts for score in scores for counts in score.first_errors.values()):
        places.update(dict(enumerate(counts)))
    return _mean((place for place, count in places.items() for _ in range(count)))


def _traces(scores: Sequence[ProblemScore]) -> float | None:
    return _mean(score.traces for score in scores if score.traces is not None)


def _mean(values: Iterable[float]) -> float | None:
    known = list(values)
    return sum(known) / len(known) if known else None
