"""Estimates from judged samples: unbiased pass@k, bootstrap intervals over problems, process accuracy, error types.

Plain Python on plain numbers. The unit of resampling is always the problem, never the sample: samples of one problem
are not independent of one another.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import comb, fsum

from verifier.judgement import AnswerStatus, StepStatus, Verdict

RESAMPLES = 1000


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean over problems with its bootstrap interval."""

    mean: float
    lo: float
    hi: float


@dataclass(frozen=True, slots=True)
class PassAtK:
    """One point of a pass@k curve: the mean over problems."""

    k: int
    value: float


@dataclass(frozen=True, slots=True)
class ErrorShares:
    """Shares of texts, each in [0, 1]: verified ones, those with at least one error of a kind, and the lucky guesses.

    `answer` is a wrong or missing answer, `right_answer_wrong_process` a right answer under a trace that does not hold.
    """

    verified: float
    steps: dict[StepStatus, float]
    answer: float
    right_answer_wrong_process: float


def pass_at_k(n: int, c: int, k: int) -> float:
    """The unbiased estimate of pass@k from `c` right samples among `n`: 1 - C(n - c, k) / C(n, k).

    Raises:
        ValueError: not 0 <= c <= n, or not 1 <= k <= n (fewer samples than k say nothing about pass@k).
    """
    if not 0 <= c <= n:
        raise ValueError(f"{c} right samples among {n} is not possible")
    if not 1 <= k <= n:
        raise ValueError(f"pass@{k} needs at least {k} samples per problem, not {n}")
    return 1.0 - comb(n - c, k) / comb(n, k)


def pass_at_k_curve(counts: Sequence[tuple[int, int]], ks: Sequence[int]) -> tuple[PassAtK, ...]:
    """Mean pass@k over problems for every k of `ks`; `counts` holds (samples, right samples) per problem.

    Raises:
        ValueError: no problem, or a problem with fewer samples than the largest k.
    """
    if not counts:
        raise ValueError("a pass@k curve needs at least one problem")
    return tuple(PassAtK(k, fsum(pass_at_k(n, c, k) for n, c in counts) / len(counts)) for k in ks)


def bootstrap_interval(values: Sequence[float], seed: int, level: float = 0.95) -> Interval:
    """The mean of one value per problem with its percentile bootstrap interval; the same seed gives the same interval.

    Raises:
        ValueError: no value, or a level outside (0, 1).
    """
    if not values:
        raise ValueError("an interval needs at least one value")
    if not 0.0 < level < 1.0:
        raise ValueError(f"the level of an interval lies in (0, 1), not {level}")
    draw = random.Random(seed)  # noqa: S311 - a statistic, not a secret
    size = len(values)
    means = sorted(fsum(draw.choices(values, k=size)) / size for _ in range(RESAMPLES))
    tail = (1.0 - level) / 2.0
    low = means[round(tail * (RESAMPLES - 1))]
    high = means[round((1.0 - tail) * (RESAMPLES - 1))]
    return Interval(fsum(values) / size, low, high)


def paired_interval(before: Sequence[float], after: Sequence[float], seed: int, level: float = 0.95) -> Interval:
    """The mean difference after - before, problem by problem, with its bootstrap interval.

    Raises:
        ValueError: the two do not hold one value for each of the same problems.
    """
    if len(before) != len(after):
        raise ValueError(
            f"a paired comparison needs the same problems on both sides, not {len(before)} and {len(after)}"
        )
    return bootstrap_interval([b - a for a, b in zip(before, after, strict=True)], seed, level)


def process_accuracy(verdicts: Iterable[Verdict]) -> float:
    """The paper's ProcessAcc over many texts: the mean share of gold quantities derived rightly.

    Raises:
        ValueError: no verdict.
    """
    shares = [verdict.process_accuracy for verdict in verdicts]
    if not shares:
        raise ValueError("process accuracy needs at least one verdict")
    return fsum(shares) / len(shares)


def error_shares(verdicts: Sequence[Verdict]) -> ErrorShares:
    """How often which kind of error occurs: shares of texts with at least one.

    Raises:
        ValueError: no verdict.
    """
    if not verdicts:
        raise ValueError("a breakdown needs at least one verdict")
    kinds = [{step.status for step in verdict.steps} for verdict in verdicts]
    size = len(verdicts)
    return ErrorShares(
        verified=sum(verdict.verified for verdict in verdicts) / size,
        steps={status: sum(status in kind for kind in kinds) / size for status in _ERRORS},
        answer=sum(verdict.answer_status is not AnswerStatus.RIGHT for verdict in verdicts) / size,
        right_answer_wrong_process=sum(verdict.outcome and not verdict.verified for verdict in verdicts) / size,
    )


_ERRORS = tuple(status for status in StepStatus if status not in (StepStatus.RIGHT, StepStatus.DUPLICATE))
