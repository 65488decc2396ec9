"""The report as one static HTML page: figures as inline SVG, no script, no outside request.

This module is only about the layout; every number comes from `trainers.evaluation.report`, and every judgement of a
trace from `verifier`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import StrMethodFormatter

from actors.files import replace_text
from trainers.evaluation.evaluate import TextSample, kinds
from trainers.evaluation.figures import LINES, STYLE, inline, plain, smoothed, svg
from trainers.evaluation.report import RunRecord, changed_texts, summary
from verifier.families import TaskConfig, drawing, open_task
from verifier.judgement import Judgement, TraceJudgement
from verifier.task import item_at, labels

_BEFORE, _AFTER, _OUTCOME, _CUT_OFF = "#8a8f98", "#1f6feb", "#c4892b", "#cf222e"
_PASSES: Final = ("strict_pass@1", "outcome_pass@1")
_SHARES: Final = (
    ("outcome", "answer right", _OUTCOME),
    ("strict", "process verified", _AFTER),
    ("truncated", "cut off", _CUT_OFF),
)


def page(run: RunRecord, content: Mapping[str, Any]) -> str:
    """The whole page. All text from models and recipes is escaped by the template."""
    environment = Environment(
        loader=PackageLoader("trainers.evaluation", "."), autoescape=True, undefined=StrictUndefined
    )
    with mpl.rc_context(STYLE):
        figures = {
            "loss": _loss([e for e in run.events if e["event"] == "pretrain_step"]),
            "training": _training([e for e in run.events if e["event"] == "rl_step"]),
            "curves": _curves(content["bands"]),
            "stages": _stages(content["stages"]),
        }
    samples = run.after.samples if run.after is not None else ()
    return environment.get_template("report.html.j2").render(
        run=run,
        content=content,
        figures=figures,
        traces=[_trace(sample, run.task) for sample in samples],
        target=run.bands.target,
        target_rows=_target_rows(run),
        traced=_traced(run),
        stepwise=run.after is not None and "strict" in kinds(run.after.scores),
        passes=[key for key in _PASSES if any(key in event for event in content["evaluations"])],
    )


def _traced(run: RunRecord) -> dict[str, str]:
    """The id of the text of each stratum that has one."""
    if run.after is None:
        return {}
    names = labels(run.after.strata())
    places = {sample.address.stratum: f"trace-{number}" for number, sample in enumerate(run.after.samples)}
    return {name: places[stratum] for stratum, name in names.items() if stratum in places}


def _target_rows(run: RunRecord) -> list[str]:
    measured, target = run.before or run.after, run.bands.target
    if measured is None or target is None:
        return []
    return [name for stratum, name in labels(measured.strata()).items() if run.bands.holds(target, stratum)]


def write(run_dir: Path, run: RunRecord) -> dict[str, Any]:
    """Write both reports, and the texts behind what changed; returns the content of `report.json`."""
    content = summary(run)
    replace_text(run_dir / "changed.json", json.dumps(changed_texts(run)) + "\n")
    replace_text(run_dir / "report.json", json.dumps(content, indent=1) + "\n")
    replace_text(run_dir / "report.html", page(run, content))
    return content


def _loss(steps: Sequence[Mapping[str, Any]]) -> Markup | None:
    """Loss over the tokens of pre- and mid-training, a line per stage."""
    if not steps:
        return None
    figure = Figure(figsize=(7.2, 2.2))
    axis: Axes = figure.subplots()
    for stage in dict.fromkeys(s["stage"] for s in steps):
        told = [s for s in steps if s["stage"] == stage and s["loss"] is not None]
        axis.plot([s["tokens"] for s in told], [s["loss"] for s in told], label=stage, linewidth=1.4)
    axis.set_xlabel("tokens")
    axis.set_ylabel("loss, nats per token")
    axis.set_yscale("log")
    axis.legend(frameon=False)
    return inline(svg(figure))


def _training(steps: Sequence[Mapping[str, Any]]) -> Markup | None:
    """Shares of the rollouts over the learner steps, a line per stage."""
    if not steps:
        return None
    figure = Figure(figsize=(7.2, 2.6))
    rates: Axes = figure.subplots()
    stages = list(dict.fromkeys(s["stage"] for s in steps))
    for (number, stage), (key, label, colour) in product(enumerate(stages), _SHARES):
        told = [s for s in steps if s["stage"] == stage and key in s]
        xs, values = [s["step"] for s in told], [s[key] for s in told]
        if told:
            rates.plot(xs, values, color=colour, alpha=0.3, linewidth=0.8)
            rates.plot(
                xs,
                smoothed(values),
                color=colour,
                linestyle=LINES[number % len(LINES)],
                label=f"{stage}: {label}" if len(stages) > 1 else label,
                linewidth=1.8,
            )
    rates.set_xlabel("learner step")
    rates.set_ylabel("share of rollouts")
    rates.set_ylim(0, 1)
    rates.legend(frameon=False)
    return inline(svg(figure))


def _curves(bands: Mapping[str, Any]) -> Markup | None:
    """pass@k per band, before and after, strict solid and outcome dashed, with 95% bands on strict."""
    shown = {b: c for b, c in bands.items() if "before" in c or "after" in c}
    if not shown:
        return None
    figure = Figure(figsize=(2.6 * len(shown), 2.6))
    axes = figure.subplots(1, len(shown), sharey=True, squeeze=False)[0]
    for axis, (band, content) in zip(axes, shown.items(), strict=True):
        for name, colour in (("before", _BEFORE), ("after", _AFTER)):
            if name in content:
                _curve(axis, content[name], name, colour)
        axis.set_title(plain(f"{band} ({content['axes']})"), fontsize=9)
        axis.set_xscale("log", base=2)
        axis.xaxis.set_major_formatter(StrMethodFormatter("{x:.0f}"))
        axis.set_xlabel("k")
        axis.set_ylim(0, 1)
    axes[0].set_ylabel("pass@k")
    axes[0].legend(frameon=False, fontsize=7)
    return inline(svg(figure))


def _curve(axis: Axes, curves: Mapping[str, Any], name: str, colour: str) -> None:
    main = "strict" if "strict" in curves else "outcome"
    said = {"strict": "verified", "outcome": "answer"}
    ks = [int(key.removeprefix("pass@")) for key in curves[main]]
    points = list(curves[main].values())
    axis.plot(ks, [i["mean"] for i in points], color=colour, marker="o", markersize=3, label=f"{name}, {said[main]}")
    axis.fill_between(ks, [i["lo"] for i in points], [i["hi"] for i in points], color=colour, alpha=0.15, linewidth=0)
    if main == "strict":
        outcome = [i["mean"] for i in curves["outcome"].values()]
        axis.plot(ks, outcome, color=colour, linestyle="--", linewidth=1, label=f"{name}, {said['outcome']}")


def _stages(stages: Sequence[Mapping[str, Any]]) -> Markup:
    figure = Figure(figsize=(7.2, 0.3 * len(stages) + 0.7))
    axis: Axes = figure.subplots()
    names = [s["name"] for s in stages][::-1]
    axis.barh(names, [s["seconds"] for s in stages][::-1], color=_AFTER, height=0.6)
    axis.set_xlabel("seconds")
    return inline(svg(figure))


@dataclass(frozen=True, slots=True)
class _Trace:
    """A sample as the page shows it: `pieces` are (text, status or "", reason), in order and nothing left out."""

    sample: TextSample
    pieces: list[tuple[str, str, str]]
    graph: Markup | None


def _trace(sample: TextSample, task: TaskConfig) -> _Trace:
    draw = drawing(task.family)
    graph = None
    if draw is not None:
        graph = Markup(draw(item_at(open_task(task), sample.address), sample.judgement))  # noqa: S704  # a drawing escapes all names itself
    return _Trace(sample, _pieces(sample.text, sample.judgement), graph)


def _pieces(text: str, judgement: Judgement) -> list[tuple[str, str, str]]:
    steps = judgement.steps if isinstance(judgement, TraceJudgement) else ()
    spans = {(s.start, s.end): (s.status.value, s.reason) for s in steps if s.end > s.start}
    cuts = sorted({0, len(text), *(c for span in spans for c in span)})
    pieces = []
    for start, end in pairwise(cuts):
        inside = next((v for (a, b), v in spans.items() if a <= start and end <= b), ("", ""))
        pieces.append((text[start:end], *inside))
    return pieces
