"""Verdicts to numbers: the scalar rewards of the paper and its repository, and the credit of single steps.

Pure functions of a verdict. Nothing is centred or scaled here; that is the trainer's business. The repository's reward
bit for bit, computed with the original scorer's own counts, is `verifier.graphs.original.judge`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from verifier.judgement import AnswerStatus, StepStatus, StepVerdict, Verdict

SchemeName = Literal["outcome", "mix", "strict", "published", "dense"]
SCHEMES: tuple[SchemeName, ...] = get_args(SchemeName)

RIGHT_CREDIT = 1.0
WRONG_CREDIT = -1.0


@dataclass(frozen=True, slots=True)
class Scheme:
    """How a verdict becomes a reward in [0, 1]; `alpha` is the weight of the outcome and matters to the blends only.

    - outcome: 1 when the answer is right, whatever the trace (the paper's alpha = 1).
    - mix: alpha * outcome + (1 - alpha) * process accuracy, and 0 when the answer is wrong (the paper: 0.5, 0.2).
    - strict: 1 when the whole process is verified and the answer is right.
    - published: as mix, with the repository's process score, which counts errors instead of right quantities.
    - dense: as mix without the gate: right steps earn their share under a wrong answer too.
    """

    name: SchemeName = "outcome"
    alpha: float = 0.2

    def __post_init__(self) -> None:
        if not 0.0 <= self.alpha <= 1.0:
            raise ValueError(f"alpha is the weight of the outcome and lies in [0, 1], not {self.alpha}")
        if self.name not in _REWARDS:
            raise ValueError(f"there is no reward scheme {self.name!r}; choose one of {', '.join(_REWARDS)}")


def reward(verdict: Verdict, scheme: Scheme) -> float:
    """The reward of one judged text under one scheme, in [0, 1]."""
    return _REWARDS[scheme.name](verdict, scheme.alpha)


def _outcome(verdict: Verdict, alpha: float) -> float:
    return float(verdict.outcome)


def _strict(verdict: Verdict, alpha: float) -> float:
    return float(verdict.verified)


def _mix(verdict: Verdict, alpha: float) -> float:
    return _dense(verdict, alpha) if verdict.outcome else 0.0


def _dense(verdict: Verdict, alpha: float) -> float:
    return alpha * float(verdict.outcome) + (1.0 - alpha) * verdict.process_accuracy


def _published(verdict: Verdict, alpha: float) -> float:
    return alpha + (1.0 - alpha) * published_process(verdict) if verdict.outcome else 0.0


_REWARDS = {"outcome": _outcome, "mix": _mix, "strict": _strict, "published": _published, "dense": _dense}


def published_process(verdict: Verdict) -> float:
    """The repository's process score over this verdict: 1 less the errors per gold quantity, not below 0.

    Wrong values, wrong operands, missing quantities and a bad answer count one each; invented quantities count up to
    the number of gold quantities. Source: `max(0, 1 - (value + deps + missing + min(extra, V) + answer) / V)`. The
    original counts a quantity with a wrong value *and* wrong parents twice; a strict verdict gives a step one status.
    """
    tally = dict.fromkeys(StepStatus, 0)
    for step in verdict.steps:
        tally[step.status] += 1
    extra = min(tally[StepStatus.INVENTED], verdict.quantities)
    errors = extra + int(verdict.answer_status is not AnswerStatus.RIGHT) + sum(tally[status] for status in _COUNTED)
    return max(0.0, 1.0 - errors / verdict.quantities)


_COUNTED = (StepStatus.WRONG_VALUE, StepStatus.WRONG_OPERAND, StepStatus.TOO_EARLY, StepStatus.MISSING)


def step_credits(verdict: Verdict) -> tuple[tuple[int, int, float], ...]:
    """(char start, char end, credit) of the steps that earn or cost something, in text order.

    A right step earns RIGHT_CREDIT. On every path through the trace the first wrong step takes the blame; what reads
    its result is left out, right or wrong, because it is not that step's doing. Left out as well: repetitions and facts
    the answer does not need (or stating them would pay), and missing quantities, which have no text.
    """
    return tuple((step.start, step.end, credit) for step in verdict.steps if (credit := _credit(step)))


def _credit(step: StepVerdict) -> float:
    if step.inherited or step.status in (StepStatus.DUPLICATE, StepStatus.MISSING):
        return 0.0
    return RIGHT_CREDIT if step.status is StepStatus.RIGHT else WRONG_CREDIT
