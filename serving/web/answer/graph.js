/* Draws a dependency graph as SVG from the layers and the order that the server gives. Lays out nothing itself. */

import { h, svg } from "../elements/dom.js";
import { STATUS } from "../elements/status.js";

const WIDE = { width: 178, height: 46, gapX: 16, gapY: 36, chars: 26, lines: 1, whereChars: 30, valueY: 20 };
const NARROW = { width: 110, height: 74, gapX: 8, gapY: 34, chars: 16, lines: 2, whereChars: 17, valueY: 66 };
const NARROW_BELOW = 440; // pixels of the drawing's column
const LANE = 10; // the width of a row's gap through which a longer edge passes

/** "total number of adult animals in South Zoo" -> ["total adult animals", "South Zoo"]. */
export function labelOf(name) {
  const cut = name.lastIndexOf(" in ");
  const [what, where] = cut < 0 ? [name, ""] : [name.slice(0, cut), name.slice(cut + 4)];
  return [what.replace(/^(total|average) number of /, "$1 "), where];
}

const cut = (text, chars) => (text.length > chars ? `${text.slice(0, chars - 1).trimEnd()}\u2026` : text);

function wrap(text, chars, lines) {
  const out = [];
  let rest = text;
  while (rest.length > chars && out.length < lines - 1) {
    const space = rest.lastIndexOf(" ", chars);
    if (space < 0) break;
    out.push(rest.slice(0, space));
    rest = rest.slice(space + 1);
  }
  return [...out, cut(rest, chars)];
}

// Fonts differ in width: a line that would leave its node is set tighter.
function squeeze(text) {
  const room = Number(text.dataset.room);
  if (text.getComputedTextLength() <= room) return;
  text.setAttribute("textLength", room);
  text.setAttribute("lengthAdjust", "spacingAndGlyphs");
}

function outline(shape, { width: w, height: t }) {
  if (shape === "cut") return `M9 0H${w - 9}L${w} 9V${t - 9}L${w - 9} ${t}H9L0 ${t - 9}V9Z`;
  if (shape === "hex") return `M13 0H${w - 13}L${w} ${t / 2}L${w - 13} ${t}H13L0 ${t / 2}Z`;
  return `M8 0H${w - 8}Q${w} 0 ${w} 8V${t - 8}Q${w} ${t} ${w - 8} ${t}H8Q0 ${t} 0 ${t - 8}V8Q0 0 8 0Z`;
}

/** One drawing. `onSelect(name)` is called on click, Enter and Space; arrows walk between nodes. */
export class GraphView {
  #cells = new Map(); // name -> {group, path, badge, row, column}
  #edges = [];
  #marks = new Map();
  #rows = [];

  constructor(onSelect) {
    this.onSelect = onSelect;
    this.element = h("div", { class: "graph" });
  }

  /** Draws `graph` with the nodes of `roles`; `invented` names get a row of their own at the bottom. */
  draw(graph, { distractors = false, invented = [], label = "Dependency graph" } = {}) {
    const column = this.element.clientWidth || NARROW_BELOW;
    const size = column < NARROW_BELOW ? NARROW : WIDE;
    const shown = graph.nodes.filter((node) => distractors || node.role !== "distractor" || this.#marks.has(node.name));
    const names = new Set(shown.map((node) => node.name));
    const edges = graph.edges.filter((e) => names.has(e.source) && names.has(e.target)).map((e) => ({ ...e }));
    const rows = rowsOf(shown, invented);
    const lanes = addLanes(rows, edges);
    const span = (row) => row.reduce((sum, item) => sum + (item.lane ? LANE : size.width) + size.gapX, 0);
    const width = Math.max(...rows.map(span)) + size.gapX;
    const height = rows.length * (size.height + size.gapY) - size.gapY + 32;
    this.#cells.clear();
    this.#rows = rows.map((row) => row.filter((item) => !item.lane));
    rows.forEach((row, y) => {
      let left = (width - span(row) + size.gapX) / 2;
      for (const item of row) {
        item.left = left;
        item.top = 22 + y * (size.height + size.gapY);
        left += (item.lane ? LANE : size.width) + size.gapX;
        if (!item.lane) this.#place(item, y, size);
      }
    });
    this.#edges = this.#ports(edges, lanes).map((edge) => this.#edge(edge, lanes.get(edge), size));
    const drawing = svg("svg", {
      viewBox: `0 0 ${width} ${height}`,
      width,
      height,
      role: "group",
      "aria-label": label,
    });
    drawing.append(...this.#edges.map((edge) => edge.path), ...[...this.#cells.values()].map((cell) => cell.group));
    drawing.style.setProperty("min-width", `${Math.min(width, Math.round(width * 0.8))}px`);
    const focused = this.element.contains(document.activeElement) ? document.activeElement.dataset.node : null;
    this.element.replaceChildren(drawing);
    for (const text of drawing.querySelectorAll("text[data-room]")) squeeze(text);
    for (const [name, mark] of this.#marks) this.#paint(name, mark);
    this.#cells.values().next().value?.group.setAttribute("tabindex", "0");
    if (this.has(focused)) this.focus(focused, { preventScroll: true });
  }

  /** Forgets all judgements. */
  clear() {
    this.#marks.clear();
  }

  /** Gives a node its judgement; `first` marks the first wrong step. */
  mark(name, status, first = false) {
    this.#marks.set(name, { status, first });
    this.#paint(name, { status, first });
  }

  has(name) {
    return this.#cells.has(name);
  }

  /** Outlines the selected node, or none for null. */
  select(name) {
    for (const [key, cell] of this.#cells) cell.group.setAttribute("aria-pressed", String(key === name));
    for (const { path, edge } of this.#edges) path.classList.toggle("near", edge.target === name);
  }

  #place({ node, left, top }, row, size) {
    const [what, where] = labelOf(node.name);
    const lines = [...wrap(what, size.chars, size.lines), ...(where ? [cut(where, size.whereChars)] : [])];
    const path = svg("path", { class: "shape", d: outline("round", size) });
    const ring = svg("path", { class: "ring", d: outline("round", size) });
    const value = node.invented
      ? null
      : svg("text", { class: "value", x: size.width - 10, y: size.valueY }, String(node.value));
    const text = lines.map((line, i) =>
      svg(
        "text",
        {
          class: where && i === lines.length - 1 ? "where" : "what",
          x: 10,
          y: 20 + i * 15,
          "data-room": size.width - (i === 0 && size === WIDE && value ? 40 : 18),
        },
        line,
      ),
    );
    const tag = { query: "asked", given: "given" }[node.role];
    const badge = svg("g", { class: "badge", transform: `translate(${size.width - 11} -9)` });
    const group = svg(
      "g",
      {
        class: `node ${node.invented ? "invented" : node.role}`,
        transform: `translate(${left} ${top})`,
        role: "button",
        tabindex: "-1",
        "aria-pressed": "false",
        "data-node": node.name,
        onclick: () => this.onSelect(node.name),
        onkeydown: (event) => this.#key(event, node.name),
      },
      svg("title", {}, node.name),
      ring,
      path,
      ...text,
      value,
      tag && svg("text", { class: "tag", x: 2, y: -5 }, tag),
      badge,
    );
    this.#cells.set(node.name, { node, group, path, ring, badge, size, row, left, top });
    this.#describe(node.name, null);
  }

  // Edges enter a node in the order of where they come from, so that they do not cross at its door.
  #ports(edges, lanes) {
    const from = (edge) => lanes.get(edge).at(-1)?.left ?? this.#cells.get(edge.source).left;
    for (const edge of edges) {
      const all = edges.filter((other) => other.target === edge.target).sort((a, b) => from(a) - from(b));
      [edge.port, edge.ports] = [all.indexOf(edge), all.length];
    }
    return edges;
  }

  #edge(edge, lanes, size) {
    const from = this.#cells.get(edge.source);
    const to = this.#cells.get(edge.target);
    const spread = Math.min(20, size.width / (edge.ports + 1)) * (edge.port - (edge.ports - 1) / 2);
    let [x, y] = [from.left + size.width / 2, from.top + size.height];
    let d = `M${x} ${y}`;
    const curve = (toX, toY) => {
      const half = (toY - y) / 2;
      d += `C${x} ${y + half} ${toX} ${toY - half} ${toX} ${toY}`;
      [x, y] = [toX, toY];
    };
    for (const lane of lanes) {
      curve(lane.left + LANE / 2, lane.top);
      d += `V${(y = lane.top + size.height)}`;
    }
    curve(to.left + size.width / 2 + spread, to.top - 5);
    return {
      edge,
      path: svg("path", { class: "edge", d: `${d}M${x - 3.5} ${y - 1}L${x} ${y + 4}L${x + 3.5} ${y - 1}` }),
    };
  }

  #paint(name, { status, first }) {
    const cell = this.#cells.get(name);
    if (!cell) return;
    const { tone, shape, path } = STATUS[status];
    cell.group.dataset.tone = tone;
    cell.group.dataset.status = status;
    cell.group.classList.toggle("first", first);
    for (const line of [cell.path, cell.ring]) line.setAttribute("d", outline(shape, cell.size));
    cell.badge.replaceChildren(svg("circle", { r: 10 }), svg("path", { d: path, transform: "translate(-8 -8)" }));
    this.#describe(name, status, first);
    for (const { path: line, edge } of this.#edges) {
      const both = [edge.source, edge.target].every((end) => this.#marks.get(end)?.status === "right");
      line.classList.toggle("lit", both);
    }
  }

  #describe(name, status, first = false) {
    const { node, group } = this.#cells.get(name);
    const place = { query: ", asked for", given: ", given", distractor: ", not needed" }[node.role] ?? "";
    group.setAttribute(
      "aria-label",
      `${name}${place}: ${status ?? "not derived yet"}${first ? ", first wrong step" : ""}`,
    );
  }

  #key(event, name) {
    if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      this.onSelect(name);
    }
    const move = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
    if (!move) return;
    event.preventDefault();
    event.stopPropagation();
    const { row } = this.#cells.get(name);
    const column = this.#rows[row].findIndex((item) => item.node.name === name);
    const target = this.#rows[row + move[0]];
    const next = target?.[Math.min(column + move[1], target.length - 1)];
    if (next) this.focus(next.node.name);
  }

  /** Moves the keyboard to a node. */
  focus(name, how) {
    for (const [key, cell] of this.#cells) cell.group.setAttribute("tabindex", key === name ? "0" : "-1");
    this.#cells.get(name)?.group.focus(how);
  }
}

// Rows of items {node, at}, at being the server's order as a fraction of the row; invented quantities come last.
function rowsOf(nodes, invented) {
  const layers = new Map();
  for (const node of nodes) layers.set(node.layer, [...(layers.get(node.layer) ?? []), node]);
  const rows = [...layers.keys()]
    .sort((a, b) => a - b)
    .map((layer) => layers.get(layer).sort((a, b) => a.order - b.order));
  if (invented.length) rows.push(invented.map((name) => ({ name, invented: true, role: "invented", parents: [] })));
  return rows.map((row) => row.map((node, i) => ({ node, at: (i + 0.5) / row.length })));
}

// An edge over several layers gets a lane in each row between, so that it passes beside the nodes and not behind them.
function addLanes(rows, edges) {
  const place = new Map(rows.flatMap((row, y) => row.map((item) => [item.node.name, { y, at: item.at }])));
  const lanes = new Map();
  for (const edge of edges) {
    const [from, to] = [place.get(edge.source), place.get(edge.target)];
    const between = [];
    for (let y = from.y + 1; y < to.y; y += 1) {
      const at = from.at + ((to.at - from.at) * (y - from.y)) / (to.y - from.y);
      between.push({ lane: true, at });
      rows[y].push(between.at(-1));
    }
    lanes.set(edge, between);
  }
  for (const row of rows) row.sort((a, b) => a.at - b.at);
  return lanes;
}
