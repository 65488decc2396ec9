"""What the stand-in for the HTTP API answers about planted errors, the same each time: two kinds at four steps."""

from __future__ import annotations

import zlib

from serving.probe.bodies.recovery import (
    CellEvent,
    DrawBody,
    PlantedBody,
    RecoveryRequest,
    RecoveryStart,
    UnplantedBody,
)
from serving.probe.recovery import shares
from tests.web.fake_answers import problem_of, script_of, step_of
from verifier.recovery import Outcome

_WORST_FIRST = (Outcome.CUT_OFF, Outcome.OTHER, Outcome.FOLLOWED, Outcome.ANSWER_ONLY, Outcome.RECOVERED)


def planted_start(request: RecoveryRequest) -> RecoveryStart:
    """A wrong value and an omission at the first four steps."""
    assert request.problem is not None
    problem, nodes = problem_of(request.problem)
    planted: list[PlantedBody] = []
    for step, key in enumerate("abcd"):
        node = nodes[key]
        right = f"Define {node.name} as {key}; so {key} = {node.value}."
        wrong = f"Define {node.name} as {key}; so {key} = {node.value + 1}."
        common = {"step": step, "node": node.name, "right": right, "first_error": node.name}
        planted.append(
            PlantedBody(alternative="value", told=wrong, prefix=wrong, leads_to=problem.answer + 1, **common)
        )
        planted.append(PlantedBody(alternative="omission", told="", prefix=wrong, leads_to=None, **common))
    refused = UnplantedBody(
        step=0, node=nodes["a"].name, alternative="operand", reason="the step reads no other quantity"
    )
    return RecoveryStart(
        request_id="req-fake-map", problem_id=problem.id, trace=problem.solution, seed=request.seed or 0,
        models=list(request.models), samples=request.samples, planted=planted, unplanted=[refused],
    )  # fmt: skip


def cell_of(request: RecoveryRequest, start: RecoveryStart, place: int, planted: int) -> CellEvent:
    """A better checkpoint has better outcomes."""
    assert request.problem is not None
    level = step_of(request.models[place])
    text = script_of(level, problem_of(request.problem)[1]).text
    draws: list[DrawBody] = []
    for sample in range(request.samples):
        luck = zlib.crc32(f"{planted}-{sample}".encode()) % 60
        outcome = _WORST_FIRST[min(4, (level + luck) // 32)]
        draws.append(DrawBody(seed=sample, outcome=outcome.value, answer=None, text=text))
    outcomes = [Outcome(draw.outcome) for draw in draws]
    return CellEvent(model=place, planted=planted, shares=shares(outcomes), draws=draws)
