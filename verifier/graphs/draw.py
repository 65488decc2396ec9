"""Dependency graphs as SVG: of a problem, and of a judgement with its quantities marked by status.

Pure text to text; no fonts, scripts, ids or outside references, so that any number of drawings fit on one page. Colours
are light or dark as the reader's system is; a status always shows as a sign and in words too, never by colour alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

from verifier.graphs.graph import layout
from verifier.graphs.judge.gold import Gold
from verifier.graphs.problem import Graph
from verifier.judgement import StepStatus, TraceJudgement

MAX_NODES = 40  # a larger drawing cannot be read; the needed quantities come first
_BOX_WIDTH, _BOX_HEIGHT, _GAP_X, _GAP_Y, _MARGIN = 216, 58, 22, 46, 12
_LINE = 30  # characters of a name on one line of a box

_SIGNS = {
    StepStatus.RIGHT: "\N{CHECK MARK}",
    StepStatus.WRONG_VALUE: "\N{MULTIPLICATION SIGN}",
    StepStatus.WRONG_OPERAND: "\N{NOT EQUAL TO}",
    StepStatus.TOO_EARLY: "\N{LEFTWARDS ARROW}",
    StepStatus.DUPLICATE: "\N{IDENTICAL TO}",
    StepStatus.INVENTED: "?",
    StepStatus.MISSING: "\N{EMPTY SET}",
}
_KINDS = {
    StepStatus.RIGHT: "right",
    StepStatus.DUPLICATE: "duplicate",
    StepStatus.TOO_EARLY: "early",
    StepStatus.MISSING: "missing",
}

_STYLE = """
svg.graph{--g-ink:#1f2430;--g-line:#8a93a5;--g-box:#fff;--g-right:#1a7f4b;--g-said:#0e7490;--g-early:#9a6700;
--g-wrong:#c0362c;--g-dim:#6b7280;font:12px system-ui,sans-serif}
@media(prefers-color-scheme:dark){svg.graph{--g-ink:#e6e9f0;--g-line:#7c8598;--g-box:#161b22;--g-right:#4cc38a;
--g-said:#5bc8de;--g-early:#e3b341;--g-wrong:#ff7b6e;--g-dim:#9aa3b2}}
.graph rect{--g-mark:var(--g-line);fill:color-mix(in srgb,var(--g-mark) 14%,var(--g-box));stroke:var(--g-mark);
stroke-width:1.5}
.graph text{fill:var(--g-ink)}
.graph path{fill:none;stroke:var(--g-line);stroke-width:1.3}
.graph .value{font-weight:600}
.graph .needed rect,.graph .distractor rect{--g-mark:var(--g-line);fill:var(--g-box)}
.graph .right rect{--g-mark:var(--g-right)}
.graph .duplicate rect{--g-mark:var(--g-said)}
.graph .early rect{--g-mark:var(--g-early)}
.graph .wrong rect{--g-mark:var(--g-wrong);stroke-width:3}
.graph .missing rect,.graph .distractor rect{--g-mark:var(--g-dim);stroke-dasharray:5 4}
.graph .asked rect{rx:18}
""".replace("\n", "")


@dataclass(frozen=True, slots=True)
class _Box:
    """One quantity as it is drawn: `note` is the line under the name, `kind` its CSS class, `title` its tooltip."""

    name: str
    parents: tuple[str, ...]
    note: str
    kind: str
    title: str


def problem_svg(graph: Graph) -> str:
    """The dependency graph of a problem: needed quantities, and distractors with dashed outlines as far as they fit."""
    needed = {quantity.name for quantity in graph.needed}
    boxes: dict[str, _Box] = {}
    for quantity in (graph.needed + graph.distractors)[:MAX_NODES]:
        kind = "needed" if quantity.name in needed else "distractor"
        if quantity.name == graph.query:
            kind += " asked"
        note = f"{quantity.operation.value} = {quantity.value}"
        boxes[quantity.name] = _Box(quantity.name, quantity.parents, note, kind, f"{quantity.name}: {note}")
    rows = [[name for name in row if name in boxes] for row in layout(graph).layers]
    return _svg([row for row in rows if row], boxes, f"Dependency graph: {graph.query}")


def judgement_svg(graph: Gold, judgement: TraceJudgement) -> str:
    """The gold graph with every quantity marked by its status in the trace, and what the trace invented."""
    boxes: dict[str, _Box] = {}
    for name, status, reason in _statuses(graph, judgement)[:MAX_NODES]:
        parents = graph.steps[name].parents if name in graph.steps else ()
        note = f"{_SIGNS[status]} {status.value}"
        boxes[name] = _Box(name, parents, note, _KINDS.get(status, "wrong"), f"{name}: {status.value}, {reason}")
    outcome = "verified" if judgement.verified else f"not verified, answer {judgement.answer_status.value}"
    return _svg(_layers(boxes), boxes, f"Judgement: {outcome}")


def _statuses(gold: Gold, judgement: TraceJudgement) -> list[tuple[str, StepStatus, str]]:
    """Name, status and reason of every gold quantity in gold order, then of the others; an error outlasts a success."""
    found: dict[str, tuple[StepStatus, str]] = dict.fromkeys(gold.steps, (StepStatus.MISSING, "never derived"))
    seen: set[str] = set()
    for step in judgement.steps:
        harmless = step.status in (StepStatus.RIGHT, StepStatus.DUPLICATE)
        if step.name not in seen or not harmless:
            found[step.name] = (step.status, step.reason)
            seen.add(step.name)
    return [(name, *state) for name, state in found.items()]


def _layers(boxes: dict[str, _Box]) -> list[list[str]]:
    """Rows by longest path; gold order is topological, so one pass does."""
    depth: dict[str, int] = {}
    rows: list[list[str]] = []
    for name, box in boxes.items():
        depth[name] = 1 + max((depth[parent] for parent in box.parents if parent in depth), default=-1)
        rows += [[] for _ in range(depth[name] + 1 - len(rows))]
        rows[depth[name]].append(name)
    place: dict[str, float] = {}
    for row in rows:  # each row by the mean place of the parents: few crossings
        row.sort(key=lambda name: _mean([place[parent] for parent in boxes[name].parents if parent in place]))
        place.update({name: (index + 0.5) / len(row) for index, name in enumerate(row)})
    return rows


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else 0.5


def _svg(rows: list[list[str]], boxes: dict[str, _Box], title: str) -> str:
    columns = max((len(row) for row in rows), default=1)
    width = 2 * _MARGIN + columns * (_BOX_WIDTH + _GAP_X) - _GAP_X
    height = 2 * _MARGIN + max(len(rows), 1) * (_BOX_HEIGHT + _GAP_Y) - _GAP_Y
    corners = {
        name: _corner(row, index, depth, width) for depth, row in enumerate(rows) for index, name in enumerate(row)
    }
    edges = [
        _edge(corners[parent], corners[name])
        for name in corners
        for parent in dict.fromkeys(boxes[name].parents)
        if parent in corners
    ]
    return (
        f'<svg class="graph" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" role="img" aria-label="{_text(title)}"><title>{_text(title)}</title><style>{_STYLE}</style>'
        + "".join(edges)
        + "".join(_node(boxes[name], corner) for name, corner in corners.items())
        + "</svg>"
    )


def _corner(row: list[str], index: int, depth: int, width: int) -> tuple[int, int]:
    """The top left corner of a box; every row is centred."""
    used = len(row) * (_BOX_WIDTH + _GAP_X) - _GAP_X
    return (width - used) // 2 + index * (_BOX_WIDTH + _GAP_X), _MARGIN + depth * (_BOX_HEIGHT + _GAP_Y)


def _edge(parent: tuple[int, int], child: tuple[int, int]) -> str:
    x1, y1 = parent[0] + _BOX_WIDTH // 2, parent[1] + _BOX_HEIGHT
    x2, y2 = child[0] + _BOX_WIDTH // 2, child[1] - 2
    bend = (y1 + y2) // 2
    tip = f"M{x2 - 4} {y2 - 6}L{x2} {y2}L{x2 + 4} {y2 - 6}"  # an edge always arrives from above
    return f'<path d="M{x1} {y1}C{x1} {bend} {x2} {bend} {x2} {y2}{tip}"/>'


def _node(box: _Box, corner: tuple[int, int]) -> str:
    x, y = corner
    middle = x + _BOX_WIDTH // 2
    first, second = _two_lines(box.name)
    return (
        f'<g class="{box.kind}"><title>{_text(box.title)}</title>'
        f'<rect x="{x}" y="{y}" width="{_BOX_WIDTH}" height="{_BOX_HEIGHT}" rx="6"/>'
        f'<text x="{middle}" y="{y + 17}" text-anchor="middle">{_text(first)}</text>'
        f'<text x="{middle}" y="{y + 32}" text-anchor="middle">{_text(second)}</text>'
        f'<text class="value" x="{middle}" y="{y + 49}" text-anchor="middle">{_text(box.note)}</text></g>'
    )


def _two_lines(name: str) -> tuple[str, str]:
    """A name broken before " in PLACE" where it has one; both lines cut to what fits."""
    first, place, second = name.rpartition(" in ")
    if not place:
        first, second = name[:_LINE], name[_LINE:]
    return _cut(first), _cut(f"in {second}" if place else second)


def _cut(line: str) -> str:
    return line if len(line) <= _LINE else line[: _LINE - 1] + "\N{HORIZONTAL ELLIPSIS}"


def _text(raw: str) -> str:
    """Text that may stand in SVG: escaped, and without the characters that XML does not allow."""
    return escape("".join(character if character.isprintable() else " " for character in raw[:300]))
