"""The picture of the rooms in docs/architecture.md, drawn from the import contracts in pyproject.toml, which name every
room and module of a package; `python -m tests.golden.rooms_picture` draws it anew.
"""

from __future__ import annotations

import textwrap
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
PICTURE = ROOT / "docs" / "images" / "rooms.svg"
HOLDS = {
    "cluster": "all that a person types",
    "trainers": "learning",
    "serving": "HTTP, and the page in web",
    "actors": "the acting side",
    "verifier": "tasks and their truth",
}
LINE, GAP, EDGE, HEAD, LETTER = 16, 8, 12, 34, 7.2  # px; the width of a letter at 12 px, monospaced
WIDTH, HALF, BETWEEN = 912, 446, 36
LEFT, RIGHT = 14, 480


class Cell(NamedTuple):
    """Names that stand together: a room, or the modules of a layer. `share` is its part of the layer's width."""

    names: str
    share: float


class Row(NamedTuple):
    """A layer of a package, its lines of text counted at a width."""

    cells: list[Cell]
    height: int


def drawn() -> str:
    """The picture as SVG."""
    parts: list[str] = []
    top, bottoms = 10, dict[str, int]()
    for level in (("cluster",), ("trainers", "serving"), ("actors", "verifier")):
        width = WIDTH if len(level) == 1 else HALF
        rows = {package: _rows(package, width - 2 * EDGE) for package in level}
        height = max(HEAD + sum(row.height + GAP for row in package) for package in rows.values()) + EDGE - GAP
        for package, left in zip(level, (LEFT, RIGHT), strict=False):
            parts += _package(package, rows[package], left, top, width, height)
            bottoms[package] = top + height
        top += height + BETWEEN
    parts += _arrows(bottoms)
    return _svg(parts, top - BETWEEN + 10)


def _rows(package: str, width: float) -> list[Row]:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (layers,) = (contract["layers"] for contract in contracts if contract.get("containers") == [package])
    return [_row(package, layer.split(" | "), width) for layer in layers]


def _row(package: str, names: Sequence[str], width: float) -> Row:
    rooms = [name for name in names if (ROOT / package / name).is_dir()]
    modules = [f"{name}.py" for name in names if name not in rooms]
    shown = [*rooms, ", ".join(modules)] if modules else rooms
    shares = [1.0] * len(rooms) + [max(1.0, min(len(modules), 2))] * bool(modules)
    cells = [Cell(name, share / sum(shares)) for name, share in zip(shown, shares, strict=True)]
    most = max(len(_lines(cell, width)) for cell in cells)
    return Row(cells, LINE * most + 10)


def _lines(cell: Cell, width: float) -> list[str]:
    return textwrap.wrap(cell.names, int((width * cell.share - 2 * GAP) / LETTER))


def _package(package: str, rows: Sequence[Row], left: float, top: float, width: float, height: float) -> Iterator[str]:
    yield f'<rect x="{left}" y="{top}" width="{width}" height="{height}" rx="5" fill="#f4f4f4" stroke="#111"/>'
    yield (
        f'<text x="{left + EDGE}" y="{top + 22}" font-size="16" font-weight="bold">{package}'
        f'<tspan font-size="13" font-weight="normal" dx="10" fill="#444">{HOLDS[package]}</tspan></text>'
    )
    y = top + HEAD
    for row in rows:
        yield from _row_at(row, left + EDGE, y, width - 2 * EDGE)
        y += row.height + GAP


def _row_at(row: Row, left: float, top: float, width: float) -> Iterator[str]:
    free = width - GAP * (len(row.cells) - 1)
    for cell in row.cells:
        wide = free * cell.share
        at = f'x="{left:g}" y="{top:g}" width="{wide:g}" height="{row.height}"'
        yield f'<rect {at} rx="3" fill="#fff" stroke="#666"/>'
        lines = _lines(cell, width)
        first = top + row.height / 2 - LINE * (len(lines) - 1) / 2 + 4.5
        for number, line in enumerate(lines):
            yield (
                f'<text x="{left + wide / 2:g}" y="{first + LINE * number:g}" text-anchor="middle" '
                f'font-family="Menlo, Consolas, monospace" font-size="12">{line}</text>'
            )
        left += wide + GAP


def _arrows(bottom: dict[str, int]) -> Iterator[str]:
    """Who imports whom: down a level, from serving to actors, and from actors to verifier beside it."""
    first, second = bottom["cluster"], bottom["trainers"]
    beside = (second + BETWEEN + bottom["actors"]) / 2
    for path in (
        f"M237 {first}V{first + BETWEEN - 2}",
        f"M703 {first}V{first + BETWEEN - 2}",
        f"M237 {second}V{second + BETWEEN - 2}",
        f"M600 {second}V{second + BETWEEN / 2:g}H400V{second + BETWEEN - 2}",
        f"M{LEFT + HALF} {beside:g}H{RIGHT - 2}",
    ):
        yield f'<path d="{path}" fill="none" stroke="#111" stroke-width="1.6" marker-end="url(#tip)"/>'


def _svg(parts: Sequence[str], height: float) -> str:
    head = f"""\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 940 {height:g}" role="img" aria-labelledby="title desc" \
font-family="Helvetica, Arial, sans-serif" font-size="13" fill="#111">
  <title id="title">Five packages and their rooms</title>
  <desc id="desc">cluster imports trainers and serving, which import actors, which imports verifier. Within a package \
everything imports only what is drawn below it.</desc>
  <defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto">\
<path d="M0 0 8 4 0 8z"/></marker></defs>
  <rect width="940" height="{height:g}" fill="#fff"/>
"""
    return head + "".join(f"  {part}\n" for part in parts) + "</svg>\n"


if __name__ == "__main__":
    PICTURE.write_text(drawn(), encoding="utf-8")
