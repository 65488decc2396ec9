"""A finding, and the diagnosis of a run: all rules over all its RL stages, after its end or step by step as it goes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from actors.diagnosis.metrics import History, StepMetrics
from actors.diagnosis.rules import RULES, Rule, Sign

PAGE: Final = "docs/diagnosis.md"
LIVE: Final = 50
"""Steps that a live diagnosis looks back on besides the first: its cost stays the same however long a stage is."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong with a stage: since which step (and until which, if it ended), by which numbers, what to change."""

    stage: str
    name: str
    since: int
    until: int | None
    says: str
    evidence: str
    knob: str
    docs: str

    @property
    def line(self) -> str:
        """The finding in one line."""
        when = f"since step {self.since}" if self.until is None else f"in steps {self.since} to {self.until}"
        return f"{self.says} {when}: {self.evidence}"


def diagnose(events: Iterable[Mapping[str, Any]]) -> list[Finding]:
    """The findings on every RL stage among the events of a run, by stage and by beginning."""
    stages: dict[str, list[StepMetrics]] = {}
    for event in events:
        if event["event"] == "rl_step":
            _put(stages.setdefault(event["stage"], []), event)
    found: list[Finding] = []
    for stage, steps in stages.items():
        found += sorted(_findings(stage, History.of(steps)), key=lambda finding: finding.since)
    return found


class Watch:
    """The diagnosis of one stage as it goes on: what is found for the first time after each step.

    `events` are those of the run so far: a stage that is resumed is held against its own beginning. What they showed is
    told again, since whoever listens is new.
    """

    def __init__(self, stage: str, events: Iterable[Mapping[str, Any]] = ()) -> None:
        self.stage = stage
        self._steps: list[StepMetrics] = []
        self._told: set[str] = set()
        for event in events:
            if event["event"] == "rl_step" and event["stage"] == stage:
                _put(self._steps, event)

    def see(self, event: Mapping[str, Any]) -> list[Finding]:
        """What the step of this event shows for the first time in the stage."""
        _put(self._steps, event)
        history = History.of(self._steps, LIVE)
        new = [f for f in _findings(self.stage, history) if f.until is None and f.name not in self._told]
        self._told |= {finding.name for finding in new}
        return new


def _put(steps: list[StepMetrics], event: Mapping[str, Any]) -> None:
    """Add a step to those of its stage. One that is done again takes the place of itself and of all after it."""
    step = StepMetrics.of(event)
    while steps and steps[-1].step >= step.step:
        steps.pop()
    steps.append(step)


def _findings(stage: str, history: History) -> Iterable[Finding]:
    for rule in RULES:
        if history.steps and (sign := rule.look(history)) is not None:
            yield _finding(stage, history, rule, sign)


def _finding(stage: str, history: History, rule: Rule, sign: Sign) -> Finding:
    last = sign.steps[-1].step
    return Finding(
        stage=stage,
        name=rule.name,
        since=sign.steps[0].step,
        until=None if last == history.steps[-1].step else last,
        says=rule.says,
        evidence=sign.evidence,
        knob=sign.knob or rule.knob,
        docs=f"{PAGE}#{rule.name}",
    )
