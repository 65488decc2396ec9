"""The style of the figures in all reports, and their SVG, as a file or inside a page."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any, Final, Literal

from markupsafe import Markup
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

STYLE: Final[Any] = {
    "svg.hashsalt": "interplay",  # the same figures, the same bytes
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e3e6ea",
    "axes.axisbelow": True,
}


COLOURS: Final = ("#1f6feb", "#c4892b", "#2da44e", "#8250df", "#cf222e", "#57606a")
LINES: Final = ("-", "--", "-.", ":")


def colour(number: int) -> str:
    """The colour of the n-th line of a figure."""
    return COLOURS[number % len(COLOURS)]


def plain(text: str) -> str:
    """A person's text as a figure shows it as it is: matplotlib takes what is between dollars for a formula."""
    return text.replace("$", r"\$")


def smoothed(values: Sequence[float]) -> list[float]:
    """Exponential moving average over about ten values, which shows the trend."""
    smooth: list[float] = []
    for value in values:
        smooth.append(value if not smooth else 0.9 * smooth[-1] + 0.1 * value)
    return smooth


def svg(figure: Figure) -> str:
    """A figure as an SVG file; the same figure gives the same bytes."""
    out = io.StringIO()
    figure.savefig(out, format="svg", bbox_inches=_filled(figure), metadata={"Date": None, "Creator": None})
    return out.getvalue()


def _filled(figure: Figure) -> Bbox | Literal["tight"]:
    """The part of a figure that holds something: "tight" draws it all once more, only to lay out its parts."""
    if figure.get_layout_engine() is not None:
        return "tight"
    FigureCanvasSVG(figure)  # by which text is measured
    return figure.get_tightbbox().padded(0.1)


def inline(file: str) -> Markup:
    """The SVG element of a file that `svg` made, for use inside HTML."""
    return Markup(file[file.index("<svg") :])  # noqa: S704  # matplotlib's own output
