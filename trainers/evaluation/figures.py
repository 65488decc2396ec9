"""The style of the figures in all reports, and their SVG, as a file or inside a page."""

from __future__ import annotations

import io
from typing import Any, Final

from markupsafe import Markup
from matplotlib.figure import Figure

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


def svg(figure: Figure) -> str:
    """A figure as an SVG file; the same figure gives the same bytes."""
    out = io.StringIO()
    figure.savefig(out, format="svg", bbox_inches="tight", metadata={"Date": None, "Creator": None})
    return out.getvalue()


def inline(file: str) -> Markup:
    """The SVG element of a file that `svg` made, for use inside HTML."""
    return Markup(file[file.index("<svg") :])  # noqa: S704  # matplotlib's own output
