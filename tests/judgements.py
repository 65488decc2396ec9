"""Judgements of traces for tests that need no text."""

from verifier.judgement import StepJudgement, StepStatus, TraceJudgement

HARMLESS = (StepStatus.RIGHT, StepStatus.DUPLICATE)


def trace(*statuses: StepStatus, right: bool = True, answer: str | None = "3", needed: int = 4, inherited=()):
    """A trace whose steps q0, q1, ... have these statuses and stand at characters 0-9, 10-19, ..."""
    steps = tuple(
        StepJudgement(f"q{i}", status, "because", 10 * i, 10 * i + 9, i in inherited)
        for i, status in enumerate(statuses)
    )
    wrong = [i for i, step in enumerate(steps) if step.status not in HARMLESS]
    return TraceJudgement(
        right=right,
        answer=answer,
        verified=not wrong and right,
        process_accuracy=sum(step.status is StepStatus.RIGHT for step in steps) / needed,
        steps=steps,
        first_error=wrong[0] if wrong else None,
        faults=(),
        needed=needed,
    )


def verified(whole: bool) -> TraceJudgement:
    """A right answer whose trace is verified, or wrong in its one step."""
    return trace(StepStatus.RIGHT if whole else StepStatus.WRONG_VALUE, needed=1)
