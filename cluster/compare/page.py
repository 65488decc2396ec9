"""A comparison of runs as one static HTML page: figures as inline SVG, no script, no outside request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import matplotlib as mpl
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cluster.compare.content import CURVES
from cluster.compare.text import said
from trainers.evaluation.figures import LINES, STYLE, colour, inline, plain, smoothed, svg

COLUMNS: Final = 2
TITLES: Final = {
    "reward": "reward",
    "strict": "verified",
    "outcome": "answer right",
    "entropy": "entropy, nats per token",
    "completion_tokens": "tokens a completion",
    "truncated": "cut off",
    "no_gradient": "groups without a gradient",
    "kl": "KL, nats per token",
}


def page(found: Mapping[str, Any]) -> str:
    """The whole page. All text of runs and recipes is escaped by the template."""
    environment = Environment(loader=PackageLoader("cluster.compare", "."), autoescape=True, undefined=StrictUndefined)
    with mpl.rc_context(STYLE):
        figure = _figure(found["curves"])
    return environment.get_template("compare.html.j2").render(found=found, figure=figure, said=said)


def _figure(curves: Mapping[str, Mapping[str, Any]]) -> Markup | None:
    """A panel for each number that some run has, a line for each run and stage."""
    lines = [(run, stage, steps) for run, stages in curves.items() for stage, steps in stages.items()]
    keys = [key for key in CURVES if any(any(steps.get(key, ())) for _, _, steps in lines)]
    if not keys:
        return None
    rows = -(-len(keys) // COLUMNS)
    figure = Figure(figsize=(8.4, 2.2 * rows), layout="constrained")
    axes: Sequence[Axes] = figure.subplots(rows, COLUMNS, squeeze=False).flatten().tolist()
    many = any(len(stages) > 1 for stages in curves.values())
    for axis, key in zip(axes, keys, strict=False):
        axis.set_title(TITLES[key], fontsize=9)
        axis.set_xlabel("learner step")
        for number, (run, stage, steps) in enumerate(lines):
            if key in steps:
                _draw(axis, steps["step"], steps[key], plain(f"{run}, {stage}" if many else run), number)
    for axis in axes[len(keys) :]:
        axis.set_axis_off()
    strong = axes[0].get_lines()[1::2]  # named one by one: a label that begins with _ would be left out
    axes[0].legend(strong, [line.get_label() for line in strong], frameon=False, fontsize=7)
    return inline(svg(figure))


def _draw(axis: Axes, steps: Sequence[int], values: Sequence[float | None], label: str, number: int) -> None:
    known = [(step, value) for step, value in zip(steps, values, strict=True) if value is not None]
    xs, ys = [step for step, _ in known], [value for _, value in known]
    axis.plot(xs, ys, color=colour(number), alpha=0.25, linewidth=0.8)
    axis.plot(xs, smoothed(ys), color=colour(number), linestyle=LINES[number % len(LINES)], label=label, linewidth=1.6)
