"""A judged text on a terminal says what it is, and does nothing else there."""

from __future__ import annotations

from cluster.files.trace_view import render
from verifier.judgement import StepJudgement, StepStatus, TraceJudgement

TEXT = "\x1b[2Jone. two."


def test_no_word_of_a_text_or_of_its_judge_controls_the_terminal() -> None:
    quoted = f"cannot read {TEXT}"
    steps = (
        StepJudgement("one", StepStatus.WRONG_VALUE, quoted, 0, 8),
        StepJudgement(TEXT, StepStatus.MISSING, quoted, len(TEXT), len(TEXT)),
    )
    judged = TraceJudgement(
        right=False,
        answer=TEXT,
        verified=False,
        process_accuracy=0.0,
        steps=steps,
        first_error=0,
        faults=(quoted,),
        needed=2,
    )
    shown = render(TEXT, judged)
    assert "\x1b[2J" not in shown
    assert shown.count("\N{REPLACEMENT CHARACTER}[2J") == 6
