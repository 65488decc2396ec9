"""The rewards that have a name: pure functions of a judgement, each in [0, 1].

Nothing is centred or scaled here; that is the trainer's business. The repository's own reward bit for bit, computed
with the original scorer's counts, is `verifier.graphs.original.judge`.
"""

from __future__ import annotations

from collections.abc import Callable

from verifier.judgement import AnswerStatus, Judgement, StepStatus, TraceJudgement


def outcome(judgement: Judgement, alpha: float) -> float:
    """1 when the answer is right, whatever the trace (the paper's alpha = 1)."""
    return float(judgement.right)


def score(judgement: Judgement, alpha: float) -> float:
    """The graded answer: partial credit where the family gives it."""
    return judgement.score


def strict(judgement: TraceJudgement, alpha: float) -> float:
    """1 when the whole process is verified and the answer is right."""
    return float(judgement.verified)


def mix(judgement: TraceJudgement, alpha: float) -> float:
    """alpha * outcome + (1 - alpha) * process accuracy, and 0 when the answer is wrong (the paper: 0.5, 0.2)."""
    return dense(judgement, alpha) if judgement.right else 0.0


def dense(judgement: TraceJudgement, alpha: float) -> float:
    """As mix, but right steps earn their share under a wrong answer too."""
    return alpha * float(judgement.right) + (1.0 - alpha) * judgement.process_accuracy


def published(judgement: TraceJudgement, alpha: float) -> float:
    """As mix, with the repository's process score, which counts errors instead of right steps."""
    return alpha + (1.0 - alpha) * published_process(judgement) if judgement.right else 0.0


ANSWER_REWARDS: dict[str, Callable[[Judgement, float], float]] = {"outcome": outcome, "score": score}
STEP_REWARDS: dict[str, Callable[[TraceJudgement, float], float]] = {
    "mix": mix,
    "strict": strict,
    "published": published,
    "dense": dense,
}
"""Rewards of judgements with steps only."""


def published_process(judgement: TraceJudgement) -> float:
    """The repository's process score over this judgement: 1 less the errors per needed step, not below 0.

    Wrong values, wrong operands, missing steps and a bad answer count one each; invented steps count up to the number
    of needed ones. Source: `max(0, 1 - (value + deps + missing + min(extra, V) + answer) / V)`. The original counts a
    step with a wrong value *and* wrong parents twice; a judgement gives a step one status.
    """
    tally = dict.fromkeys(StepStatus, 0)
    for step in judgement.steps:
        tally[step.status] += 1
    extra = min(tally[StepStatus.INVENTED], judgement.needed)
    errors = extra + int(judgement.answer_status is not AnswerStatus.RIGHT) + sum(tally[s] for s in _COUNTED)
    return max(0.0, 1.0 - errors / judgement.needed)


_COUNTED = (StepStatus.WRONG_VALUE, StepStatus.WRONG_OPERAND, StepStatus.TOO_EARLY, StepStatus.MISSING)
