"""The figures of a study's report, as SVG. Arms differ in marker and line, not in colour alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import StrMethodFormatter

from trainers.evaluation.figures import COLOURS, LINES, STYLE, colour, svg

Content = Mapping[str, Any]

MARKERS: Final = ("o", "s", "^", "D", "v", "P", "X", "*")
BASE_STYLE: Final[dict[str, Any]] = {"color": "black", "linestyle": ":", "marker": "."}
SHOWN: Final = 12
"""Most arms in a figure of curves; the tables list more."""


def figures(study: Content) -> dict[str, str]:
    """The figures that can be drawn from the runs so far, by name."""
    measured = {arm: of for arm, of in study["arms"].items() if of["bands"]}
    if not measured:
        return {}
    with mpl.rc_context(STYLE):
        drawn = {"arms": _arms(study, measured), "curves": _curves(study, measured), "strata": _strata(study, measured)}
        if any("verified" in band["scores"] for of in measured.values() for band in of["bands"].values()):
            drawn |= {"answers": _answers(study, measured), "first-errors": _first_errors(measured)}
        return {name: svg(figure) for name, figure in drawn.items()}


def _main(scores: Content) -> str:
    return "verified" if "verified" in scores else "outcome"


def _style(number: int) -> dict[str, Any]:
    return {
        "color": colour(number),
        "marker": MARKERS[number % len(MARKERS)],
        "linestyle": LINES[number % len(LINES)],
    }


def _panels(names: list[str], height: float, width: float = 2.6) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(width * len(names) + 0.8, height))
    axes = figure.subplots(1, len(names), squeeze=False)[0]
    for axis, name in zip(axes, names, strict=True):
        axis.set_title(name, fontsize=9)
    return figure, list(axes)


def _arms(study: Content, measured: Content) -> Figure:
    """pass@1 of every arm against the bands: the mean, its interval, each seed, and the base as a line."""
    bands = list(study["bands"])
    figure, axes = _panels([f"{band} ({study['bands'][band]})" for band in bands], 0.32 * len(measured) + 1.0)
    for axis, band in zip(axes, bands, strict=True):
        for row, of in enumerate(measured.values()):
            scores = of["bands"][band]["scores"]
            one = scores[_main(scores)]["1"]
            axis.plot([one["lo"], one["hi"]], [row, row], color=COLOURS[0], linewidth=2)
            axis.plot(one["per_seed"], [row] * len(one["per_seed"]), "|", color="black", markersize=9)
            axis.plot([one["mean"]], [row], "o", color=COLOURS[0], markersize=5)
        base = study["base"]["bands"][band]["scores"]
        axis.axvline(base[_main(base)]["1"]["mean"], color="black", linestyle=":", linewidth=1)
        axis.set_yticks(range(len(measured)), list(measured) if band == bands[0] else [])
        axis.invert_yaxis()
        axis.set_xlabel("pass@1 (dotted: before RL)")
    return figure


def _curves(study: Content, measured: Content) -> Figure:
    """pass@k of the arms for each band."""
    bands = list(study["bands"])
    figure, axes = _panels(bands, 2.8)
    for axis, band in zip(axes, bands, strict=True):
        for number, (arm, of) in enumerate([("base", study["base"]), *list(measured.items())[:SHOWN]]):
            scores = of["bands"][band]["scores"]
            curve = scores[_main(scores)]
            style = _style(number - 1) if number else BASE_STYLE
            axis.plot([int(k) for k in curve], [e["mean"] for e in curve.values()], label=arm, markersize=4, **style)
        axis.set_xscale("log", base=2)
        axis.xaxis.set_major_formatter(StrMethodFormatter("{x:.0f}"))
        axis.set_xlabel("k")
    first = next(iter(measured.values()))["bands"][bands[0]]["scores"]
    axes[0].set_ylabel("pass@k, verified" if "verified" in first else "pass@k, answer")
    axes[-1].legend(frameon=False, fontsize=7, bbox_to_anchor=(1.02, 1), loc="upper left")
    return figure


def _strata(study: Content, measured: Content) -> Figure:
    """A heat map of pass@1: arms by strata, the number in every cell."""
    rows = {"base": study["base"]["strata"], **{arm: of["strata"] for arm, of in measured.items()}}
    columns = list(study["base"]["strata"])
    figure = Figure(figsize=(0.62 * len(columns) + 1.6, 0.3 * len(rows) + 0.8))
    axis: Axes = figure.subplots()
    grid = [[_cell(of[column]) for column in columns] for of in rows.values()]
    axis.imshow(grid, cmap="Greys", vmin=0, vmax=1, aspect="auto")
    if len(rows) <= 4 * SHOWN:
        for y, row in enumerate(grid):
            for x, value in enumerate(row):
                ink = "white" if value > 0.5 else "black"
                axis.text(x, y, f"{value:.2f}", ha="center", va="center", fontsize=7, color=ink)
    axis.set_xticks(range(len(columns)), columns)
    axis.set_yticks(range(len(rows)), list(rows))
    axis.grid(visible=False)
    return figure


def _cell(of: Mapping[str, float | None]) -> float:
    return (of["outcome"] if of["verified"] is None else of["verified"]) or 0.0


def _answers(study: Content, measured: Content) -> Figure:
    """Verified against right answers at k = 1, with an arrow from the base; below the diagonal, traces are wrong."""
    bands = list(study["bands"])
    figure, axes = _panels(bands, 2.8)
    for axis, band in zip(axes, bands, strict=True):
        base = study["base"]["bands"][band]["scores"]
        start = base["outcome"]["1"]["mean"], base["verified"]["1"]["mean"]
        axis.plot(*([value] for value in start), marker="x", color="black", linestyle="", label="base")
        for number, (arm, of) in enumerate(list(measured.items())[:SHOWN]):
            scores = of["bands"][band]["scores"]
            point = scores["outcome"]["1"]["mean"], scores["verified"]["1"]["mean"]
            axis.plot(*zip(start, point, strict=True), color="#b0b6bd", linewidth=0.8)
            axis.plot(*([value] for value in point), label=arm, **{**_style(number), "linestyle": ""})
        top = max(axis.get_xlim()[1], axis.get_ylim()[1])
        axis.plot([0, top], [0, top], color="black", linewidth=0.6, linestyle=":")
        axis.set_xlabel("answer right")
    axes[0].set_ylabel("trace verified")
    axes[-1].legend(frameon=False, fontsize=7, bbox_to_anchor=(1.02, 1), loc="upper left")
    return figure


def _first_errors(measured: Content) -> Figure:
    """The first error of the completions in the last band but one, by kind and place; hatches tell the kinds apart."""
    bands = list(next(iter(measured.values()))["bands"])
    figure, axes = _panels(bands, 0.32 * len(measured) + 1.0)
    kinds = sorted({kind for of in measured.values() for band in of["bands"].values() for kind in band["first_errors"]})
    hatches = ("", "//", "..", "xx", "\\\\", "++", "oo")
    for axis, band in zip(axes, bands, strict=True):
        left = [0.0] * len(measured)
        for number, kind in enumerate(kinds):
            of_band = [of["bands"][band] for of in measured.values()]
            shares = [sum(b["first_errors"].get(kind, [])) / b["completions"] for b in of_band]
            axis.barh(
                range(len(measured)),
                shares,
                left=left,
                label=kind,
                height=0.7,
                edgecolor="black",
                linewidth=0.4,
                color=colour(number),
                hatch=hatches[number % len(hatches)],
            )
            left = [a + b for a, b in zip(left, shares, strict=True)]
        axis.set_yticks(range(len(measured)), list(measured) if band == bands[0] else [])
        axis.invert_yaxis()
        axis.set_xlim(0, 1)
        axis.set_xlabel("share of completions")
    axes[-1].legend(frameon=False, fontsize=7, bbox_to_anchor=(1.02, 1), loc="upper left")
    return figure
