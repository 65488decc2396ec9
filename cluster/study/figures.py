"""The figures of a study's report, as SVG. Arms differ in marker and line, not in colour alone."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from matplotlib.ticker import StrMethodFormatter

from trainers.evaluation.figures import COLOURS, LINES, STYLE, colour, plain, svg

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


def _once(band: Content) -> Content:
    """The estimate of pass@1 in a band."""
    return band["scores"][_main(band["scores"])]["1"]


def _bands(measured: Content) -> list[str]:
    """The bands that are evaluated: the same for all arms."""
    return list(next(iter(measured.values()))["bands"])


def _start(study: Content, of: Content, band: str) -> Content | None:
    """What the base from which an arm started scored in a band; None if that was not evaluated."""
    base = study["base"] if of["base"] is None else of["base"]
    return base["bands"].get(band)


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
        axis.set_title(plain(name), fontsize=9)
    return figure, list(axes)


def _rows(axes: list[Axes], names: list[str]) -> None:
    """A row for each name: the name left of the first panel, and a line through all of them."""
    rows = range(len(names))
    axes[0].set_yticks(rows, names)
    for axis in axes[1:]:  # a grid of one piece, since ticks are what takes longest
        axis.set_yticks([])
        axis.hlines(rows, 0, 1, STYLE["grid.color"], linewidth=0.8, transform=axis.get_yaxis_transform(), zorder=0.5)
    for axis in axes:
        axis.set_ylim(len(names) - 0.5, -0.5)


def _arms(study: Content, measured: Content) -> Figure:
    """pass@1 of every arm against the bands: the mean, its interval, each seed; as a line its base, or that of all."""
    bands = _bands(measured)
    figure, axes = _panels([f"{band} ({study['bands'][band]})" for band in bands], 0.32 * len(measured) + 1.0)
    for axis, band in zip(axes, bands, strict=True):
        once = [_once(of["bands"][band]) for of in measured.values()]
        seeds = [(value, row) for row, one in enumerate(once) for value in one["per_seed"]]
        lo, hi = ([one[end] for one in once] for end in ("lo", "hi"))
        axis.hlines(range(len(once)), lo, hi, COLOURS[0], linewidth=2)
        axis.plot(*zip(*seeds, strict=True), "|", color="black", markersize=9)
        axis.plot([one["mean"] for one in once], range(len(once)), "o", color=COLOURS[0], markersize=5)
        if band in study["base"]["bands"]:
            axis.axvline(_once(study["base"]["bands"][band])["mean"], color="black", linestyle=":", linewidth=1)
        for row, of in enumerate(measured.values()):
            if of["base"] is not None and (start := _start(study, of, band)) is not None:
                axis.vlines(_once(start)["mean"], row - 0.4, row + 0.4, color="black", linestyle=":", linewidth=1)
        axis.set_xlabel("pass@1 (dotted: before RL)")
    _rows(axes, list(measured))
    return figure


def _curves(study: Content, measured: Content) -> Figure:
    """pass@k of the arms for each band, and of the base if they share one; else a thin dotted line is an arm's own."""
    bands = _bands(measured)
    figure, axes = _panels(bands, 2.8)
    for axis, band in zip(axes, bands, strict=True):
        if band in study["base"]["bands"]:
            _curve(axis, study["base"]["bands"][band], label="base", **BASE_STYLE)
        for number, (arm, of) in enumerate(list(measured.items())[:SHOWN]):
            _curve(axis, of["bands"][band], label=arm, **_style(number))
            if of["base"] is not None and (start := _start(study, of, band)) is not None:
                _curve(axis, start, color=colour(number), linestyle=":", linewidth=0.8)
        axis.set_xscale("log", base=2)
        axis.xaxis.set_major_formatter(StrMethodFormatter("{x:.0f}"))
        axis.set_xlabel("k")
    first = next(iter(measured.values()))["bands"][bands[0]]["scores"]
    axes[0].set_ylabel("pass@k, verified" if "verified" in first else "pass@k, answer")
    axes[-1].legend(frameon=False, fontsize=7, bbox_to_anchor=(1.02, 1), loc="upper left")
    return figure


def _curve(axis: Axes, band: Content, **style: Any) -> None:
    curve = band["scores"][_main(band["scores"])]
    axis.plot([int(k) for k in curve], [e["mean"] for e in curve.values()], markersize=4, **style)


def _strata(study: Content, measured: Content) -> Figure:
    """A heat map of pass@1: arms and bases by strata, the number in every cell."""
    rows: dict[str, Content] = {"base": study["base"]["strata"]} if study["base"]["strata"] else {}
    for arm, of in measured.items():
        if of["base"] is not None:
            rows[f"base of {arm}"] = of["base"]["strata"]
        rows[arm] = of["strata"]
    columns = list(next(iter(measured.values()))["strata"])
    figure = Figure(figsize=(0.62 * len(columns) + 1.6, 0.3 * len(rows) + 0.8))
    axis: Axes = figure.subplots()
    grid = [[_cell(of.get(column)) for column in columns] for of in rows.values()]
    axis.imshow(grid, cmap="Greys", vmin=0, vmax=1, aspect="auto")
    if len(rows) <= 4 * SHOWN:
        for y, row in enumerate(grid):
            for x, value in enumerate(row):
                ink = "white" if value > 0.5 else "black"
                axis.text(
                    x, y, "" if math.isnan(value) else f"{value:.2f}", ha="center", va="center", fontsize=7, color=ink
                )
    axis.set_xticks(range(len(columns)), map(plain, columns))
    axis.set_yticks(range(len(rows)), list(rows))
    axis.grid(visible=False)
    return figure


def _cell(of: Mapping[str, float | None] | None) -> float:
    """The share of a stratum's completions that are right; NaN where it was not evaluated."""
    if of is None:
        return math.nan
    return (of["outcome"] if of["verified"] is None else of["verified"]) or 0.0


def _answers(study: Content, measured: Content) -> Figure:
    """Verified against right answers at k = 1, with a line from the base; below the diagonal, traces are wrong."""
    bands = _bands(measured)
    figure, axes = _panels(bands, 2.8)
    for axis, band in zip(axes, bands, strict=True):
        cross: dict[str, Any] = {"marker": "x", "color": "black", "linestyle": ""}
        if band in study["base"]["bands"]:
            axis.plot(*([value] for value in _answered(study["base"]["bands"][band])), label="base", **cross)
        for number, (arm, of) in enumerate(list(measured.items())[:SHOWN]):
            point = _answered(of["bands"][band])
            if (base := _start(study, of, band)) is not None:
                start = _answered(base)
                axis.plot(*zip(start, point, strict=True), color="#b0b6bd", linewidth=0.8)
                if of["base"] is not None:
                    axis.plot(*([value] for value in start), markersize=4, **cross)
            axis.plot(*([value] for value in point), label=arm, **{**_style(number), "linestyle": ""})
        top = max(axis.get_xlim()[1], axis.get_ylim()[1])
        axis.plot([0, top], [0, top], color="black", linewidth=0.6, linestyle=":")
        axis.set_xlabel("answer right")
    axes[0].set_ylabel("trace verified")
    axes[-1].legend(frameon=False, fontsize=7, bbox_to_anchor=(1.02, 1), loc="upper left")
    return figure


def _answered(band: Content) -> tuple[float, float]:
    """Right answers and verified traces at k = 1."""
    return band["scores"]["outcome"]["1"]["mean"], band["scores"]["verified"]["1"]["mean"]


def _first_errors(measured: Content) -> Figure:
    """The kinds of the first errors of the completions in each band, as shares; hatches tell the kinds apart."""
    bands = _bands(measured)
    figure, axes = _panels(bands, 0.32 * len(measured) + 1.0)
    kinds = sorted({kind for of in measured.values() for band in of["bands"].values() for kind in band["first_errors"]})
    hatches = ("", "//", "..", "xx", "\\\\", "++", "oo")
    for axis, band in zip(axes, bands, strict=True):
        left = [0.0] * len(measured)
        for number, kind in enumerate(kinds):
            of_band = [of["bands"][band] for of in measured.values()]
            shares = [sum(b["first_errors"].get(kind, [])) / b["completions"] for b in of_band]
            ends = [a + b for a, b in zip(left, shares, strict=True)]
            bars = PolyCollection(  # one for all arms: a patch for each takes ten times as long
                [_bar(row, a, b) for row, (a, b) in enumerate(zip(left, ends, strict=True)) if b > a],
                label=kind,
                edgecolor="black",
                linewidth=0.4,
                facecolor=colour(number),
                hatch=hatches[number % len(hatches)],
            )
            axis.add_collection(bars)
            left = ends
        axis.set_xlim(0, 1)
        axis.set_xlabel("share of completions")
    _rows(axes, list(measured))
    axes[-1].legend(frameon=False, fontsize=7, bbox_to_anchor=(1.02, 1), loc="upper left")
    return figure


def _bar(row: int, left: float, right: float) -> list[tuple[float, float]]:
    """The corners of a horizontal bar."""
    return [(left, row - 0.35), (right, row - 0.35), (right, row + 0.35), (left, row + 0.35)]
