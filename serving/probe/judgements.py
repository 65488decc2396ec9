"""Judgements on the wire, and what each reward pays for them. No HTTP, no model."""

from __future__ import annotations

from serving.probe.bodies.judgements import JudgementBody, StepBody
from verifier.judgement import Judgement, StepJudgement, TraceJudgement
from verifier.rewards.named import ANSWER_REWARDS, STEP_REWARDS
from verifier.rewards.registry import Reward


def judgement_body(judgement: Judgement) -> JudgementBody:
    """A judgement on the wire; what needs judged steps is null, and the lists empty, where there are none."""
    steps = judgement if isinstance(judgement, TraceJudgement) else None
    return JudgementBody(
        verified=steps and steps.verified,
        outcome=judgement.right,
        score=judgement.score,
        process_accuracy=steps and steps.process_accuracy,
        answer=judgement.answer,
        answer_status=judgement.answer_status.value,
        steps=[step_body(i, step) for i, step in enumerate(steps_of(judgement))],
        first_error=steps and steps.first_error,
        faults=list(steps.faults) if steps else [],
    )


def step_body(index: int, step: StepJudgement) -> StepBody:
    """A step's judgement on the wire."""
    return StepBody(
        index=index,
        node=step.name,
        status=step.status.value,
        reason=step.reason,
        start=step.start,
        end=step.end,
        inherited=step.inherited,
    )


def steps_of(judgement: Judgement) -> tuple[StepJudgement, ...]:
    """The judged steps, if there are any."""
    return judgement.steps if isinstance(judgement, TraceJudgement) else ()


def rewards(judgement: Judgement) -> dict[str, float]:
    """What each named reward pays for a judgement, with the paper's default weight of the outcome."""
    alpha = Reward().alpha
    paid = {name: function(judgement, alpha) for name, function in ANSWER_REWARDS.items()}
    if isinstance(judgement, TraceJudgement):
        paid |= {name: function(judgement, alpha) for name, function in STEP_REWARDS.items()}
    return paid
