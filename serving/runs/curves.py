"""A run's log as bodies: cards, curves of a range of steps, findings, and the steps since a step. No HTTP."""

from __future__ import annotations

from dataclasses import asdict
from typing import Final

from actors.runs.log import RunLog, StageCurves
from actors.runs.series import POINTS, Curve, Series
from serving.http.errors import NotFound
from serving.runs.bodies import (
    CurveBody,
    FindingBody,
    FindingList,
    LiveBody,
    MetricsAnswer,
    RunAnswer,
    RunCard,
    StageBody,
    StepsEvent,
    StratumBody,
    WorkerBody,
)

LAST: Final = 2**63 - 1
STRATUM_POINTS: Final = POINTS // 4  # there are many strata, and their plots are small


def card(name: str, log: RunLog) -> RunCard:
    """A run in the list."""
    return RunCard(name=name, updated=log.updated, stages=_stages(log))


def overview(name: str, log: RunLog, live: LiveBody | None, controls: bool) -> RunAnswer:
    """A run by itself."""
    return RunAnswer(
        name=name,
        updated=log.updated,
        stages=_stages(log),
        workers=[WorkerBody(**asdict(worker)) for _, worker in sorted(log.workers.items())],
        counters=log.counters,
        noted=dict(log.noted),
        left_out=log.left_out,
        live=live,
        controls=controls,
    )


def findings(log: RunLog) -> FindingList:
    """What the diagnosis says of a run."""
    found = [{**asdict(finding), "line": finding.line} for finding in log.findings()]
    return FindingList(data=[FindingBody.model_validate(one) for one in found])


def metrics(run: str, log: RunLog, stage: str | None, first: int, last: int) -> MetricsAnswer:
    """The curves of a stage (of the newest one unless it is named) between two steps. NotFound."""
    found = chosen(log, stage)
    return MetricsAnswer(
        run=run,
        stage=found.name,
        kind=found.kind,
        first=first,
        last=min(last, found.numbers.steps[-1]),
        steps=len(found.numbers.within(first, last)),
        points=POINTS,
        curves=_curves(found.numbers, first, last),
        evaluations=_curves(found.evaluations, first, last),
        strata=_strata(found, first, last),
        strata_left_out=len(found.shares.left_out),
    )


def chosen(log: RunLog, stage: str | None) -> StageCurves:
    """A stage of a run that has steps; the newest one unless it is named. NotFound."""
    with_steps = {name: one for name, one in log.stages.items() if one.numbers.steps}
    if stage is None and with_steps:
        return max(with_steps.values(), key=lambda one: one.ended)
    if stage not in with_steps:
        raise NotFound("the run has no steps of such a stage yet", param="stage", code="stage_not_found")
    return with_steps[stage]


def steps_after(stage: StageCurves, after: int) -> StepsEvent:
    """The rows of the steps after one."""
    numbers = _rows(stage.numbers, after)
    pass_rates, shares = _rows(stage.pass_rates, after), _rows(stage.shares, after)
    return StepsEvent(
        stage=stage.name,
        total=stage.total,
        steps=[stage.numbers.steps[place] for place in stage.numbers.within(after + 1, LAST)],
        curves=numbers,
        strata={name: {"pass_rate": pass_rates[name], "share": shares[name]} for name in shares if name in pass_rates},
    )


def _stages(log: RunLog) -> list[StageBody]:
    return [
        StageBody(
            name=stage.name,
            kind=stage.kind,
            step=stage.numbers.steps[-1],
            steps=stage.total,
            began=stage.began,
            updated=stage.ended,
        )
        for stage in log.stages.values()
        if stage.numbers.steps
    ]


def _curves(series: Series, first: int, last: int) -> dict[str, CurveBody]:
    rows = series.within(first, last)
    curves = {name: _body(series.curve(name, rows)) for name in series.names}
    return {name: curve for name, curve in curves.items() if curve.steps}


def _strata(stage: StageCurves, first: int, last: int) -> list[StratumBody]:
    pass_rates, shares = stage.pass_rates.within(first, last), stage.shares.within(first, last)
    return [
        StratumBody(
            name=name,
            pass_rate=_body(stage.pass_rates.curve(name, pass_rates, STRATUM_POINTS)),
            share=_body(stage.shares.curve(name, shares, STRATUM_POINTS)),
        )
        for name in stage.shares.names
        if name in stage.pass_rates.names
    ]


def _body(curve: Curve) -> CurveBody:
    return CurveBody(steps=curve.steps, values=[_short(value) for value in curve.values])


def _rows(series: Series, after: int) -> dict[str, list[float | None]]:
    rows = [series.row(place) for place in series.within(after + 1, LAST)]
    return {name: [None if (value := row[name]) is None else _short(value) for row in rows] for name in series.names}


def _short(value: float) -> float:
    """Six digits: more than a picture shows, and half of the bytes."""
    return float(f"{value:.6g}")
