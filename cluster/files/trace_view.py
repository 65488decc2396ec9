"""A judged text for a terminal: each step in the colour of its status, with the reason where it is wrong.

The marks at the left say the same as the colours, for pipes and for readers who do not see colours. Control characters
in a model's text are replaced, so that it cannot control the terminal.
"""

from __future__ import annotations

import re
import textwrap

import typer

from verifier.judgement import AnswerStatus, Judgement, StepJudgement, StepStatus, TraceJudgement

WIDTH = 100
MARK = max(len(status.value) for status in StepStatus) + 2
_COLOURS = {
    StepStatus.RIGHT: typer.colors.GREEN,
    StepStatus.DUPLICATE: typer.colors.CYAN,
    StepStatus.TOO_EARLY: typer.colors.YELLOW,
    StepStatus.MISSING: typer.colors.MAGENTA,
}
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\u202a-\u202e\u2066-\u2069]")


def render(text: str, judgement: Judgement) -> str:
    """The whole view with ANSI colours; the caller drops them where the output is not a terminal."""
    lines: list[str] = []
    at = 0
    for step in judgement.steps if isinstance(judgement, TraceJudgement) else ():
        if step.status is not StepStatus.MISSING and step.start >= at:
            lines += _loose(text[at : step.start])
            at = step.end
        lines += _step(text, step)
    lines += _loose(text[at:])
    return "\n".join([*lines, *_summary(judgement)]) + "\n"


def wrapped(text: str) -> str:
    """Plain text, wrapped to the view's width."""
    return textwrap.fill(_clean(text), WIDTH)


def one_line(text: str) -> str:
    """Text of any source on one line."""
    return _clean(text)


def _step(text: str, step: StepJudgement) -> list[str]:
    colour = _COLOURS.get(step.status, typer.colors.RED)
    if step.status is StepStatus.MISSING:
        return [_marked(step.status, f"{_clean(step.name)}: {_clean(step.reason)}", colour)]
    lines = [_marked(step.status, _clean(text[step.start : step.end]), colour)]
    if step.status is not StepStatus.RIGHT:
        lines.append(_wrapped("", f"^ {_clean(step.reason)}", " " * MARK))
    return lines


def _marked(status: StepStatus, body: str, colour: str) -> str:
    return typer.style(_wrapped(status.value, body, " " * MARK), fg=colour)


def _wrapped(mark: str, body: str, indent: str) -> str:
    return textwrap.fill(body, WIDTH, initial_indent=mark.ljust(MARK), subsequent_indent=indent)


def _loose(text: str) -> list[str]:
    """Text outside any step: the opening, the closing equations, the answer."""
    body = _clean(text)
    return [typer.style(_wrapped("", body, " " * MARK), dim=True)] if body else []


def _clean(text: str) -> str:
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", " ".join(text.split()))


def _summary(judgement: Judgement) -> list[str]:
    answer = "none" if judgement.answer is None else _clean(judgement.answer)
    right = judgement.answer_status is AnswerStatus.RIGHT
    told = typer.style(
        f"{'answer'.ljust(MARK)}{answer} ({judgement.answer_status.value})", fg="green" if right else "red"
    )
    if not isinstance(judgement, TraceJudgement):
        return [told]
    faults = [
        typer.style(_wrapped("fault", _clean(fault), " " * MARK), fg=typer.colors.RED) for fault in judgement.faults
    ]
    colour = typer.colors.GREEN if judgement.verified else typer.colors.RED
    head = "verified" if judgement.verified else "not verified"
    said = f"{'judgement'.ljust(MARK)}{head}, process accuracy {judgement.process_accuracy:.3f}"
    return [*faults, told, typer.style(said, fg=colour, bold=True)]
