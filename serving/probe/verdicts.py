"""Judgements on the wire, and what each reward pays for them. No HTTP, no model."""

from __future__ import annotations

from serving.probe.bodies.verdicts import StepBody, VerdictBody
from verifier.judgement import Judgement, StepJudgement, TraceJudgement
from verifier.rewards.named import ANSWER_REWARDS, STEP_REWARDS
from verifier.rewards.registry import Reward


def verdict_body(verdict: Judgement) -> VerdictBody:
    """A verdict on the wire; what needs judged steps is null, and the lists empty, where there are none."""
    steps = verdict if isinstance(verdict, TraceJudgement) else None
    return VerdictBody(
        verified=steps and steps.verified,
        outcome=verdict.right,
        score=verdict.score,
        process_accuracy=steps and steps.process_accuracy,
        answer=verdict.answer,
        answer_status=verdict.answer_status.value,
        steps=[step_body(i, step) for i, step in enumerate(steps_of(verdict))],
        first_error=steps and steps.first_error,
        faults=list(steps.faults) if steps else [],
    )


def step_body(index: int, step: StepJudgement) -> StepBody:
    """A step's verdict on the wire."""
    return StepBody(
        index=index,
        node=step.name,
        status=step.status.value,
        reason=step.reason,
        start=step.start,
        end=step.end,
        inherited=step.inherited,
    )


def steps_of(verdict: Judgement) -> tuple[StepJudgement, ...]:
    """The judged steps, if there are any."""
    return verdict.steps if isinstance(verdict, TraceJudgement) else ()


def rewards(verdict: Judgement) -> dict[str, float]:
    """What each named reward pays for a verdict, with the paper's default weight of the outcome."""
    alpha = Reward().alpha
    paid = {name: function(verdict, alpha) for name, function in ANSWER_REWARDS.items()}
    if isinstance(verdict, TraceJudgement):
        paid |= {name: function(verdict, alpha) for name, function in STEP_REWARDS.items()}
    return paid
