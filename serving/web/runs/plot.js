/* One plot: lines over steps as SVG, told apart by dashes and end marks as well as by colour; a cursor reads them. */

import { h, svg } from "../elements/dom.js";
import { nearest } from "./history.js";

const [WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM] = [380, 168, 46, 14, 8, 22];
const INNER = { width: WIDTH - LEFT - RIGHT, height: HEIGHT - TOP - BOTTOM };

/** How many lines can be told apart. */
export const KINDS = 6;

const MARKS = [
  "M-3.500 0a3.500 3.500 0 107 0a3.500 3.500 0 10-7 0z",
  "M-3 -3h6v6h-6z",
  "M0 -4L4 3H-4z",
  "M0 -4.500L4.500 0L0 4.500L-4.500 0z",
  "M-3.500 -3.500L3.500 3.500M-3.500 3.500L3.500 -3.500",
  "M-4 0H4M0 -4V4",
];

/** A short line with its mark, for legends. */
export function swatch(kind) {
  return svg(
    "svg",
    { class: `swatch line-${kind % KINDS}`, viewBox: "0 0 34 12", width: 34, height: 12, "aria-hidden": "true" },
    svg("path", { class: "line", d: "M1 6H25" }),
    svg("path", { class: "mark", d: MARKS[kind % KINDS], transform: "translate(28 6)" }),
  );
}

// "0.123", "12.3", "4.5e-7": three digits.
function short(value) {
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size < 1e-3 || size >= 1e6) return value.toExponential(1);
  return String(Number(value.toPrecision(3)));
}

// Two to four round numbers within [low, high].
function ticks(low, high) {
  const rough = (high - low) / 4;
  const base = 10 ** Math.floor(Math.log10(rough));
  const unit = [1, 2, 2.5, 5, 10].map((factor) => factor * base).find((step) => step >= rough);
  const first = Math.ceil(low / unit - 1e-9);
  const all = Array.from({ length: Math.floor(high / unit - first + 1e-9) + 1 }, (_, i) => (first + i) * unit);
  return all.filter((value, i) => i === 0 || short(value) !== short(all[i - 1]));
}

function extent(lines) {
  let [low, high, first, last] = [Infinity, -Infinity, Infinity, -Infinity];
  for (const { curve } of lines) {
    for (const value of curve.values) {
      if (value < low) low = value;
      if (value > high) high = value;
    }
    first = Math.min(first, curve.steps[0]);
    last = Math.max(last, curve.steps.at(-1));
  }
  if (low > 0 && low < high * 0.7) low = 0;
  if (low === high) [low, high] = low === 0 ? [0, 1] : [low - Math.abs(low) * 0.1, high + Math.abs(high) * 0.1];
  return { low, high, first, last: first === last ? first + 1 : last };
}

/** A figure of lines [{name, kind, curve}]; one that is `keyed` says which is which. `onPoint(step | null)` follows the cursor, `onRange(first, last)` a drag. */
export class Plot {
  constructor(title, unit, { onPoint, onRange }, keyed = false) {
    this.title = title;
    this.unit = unit;
    this.onPoint = onPoint;
    this.onRange = onRange;
    this.says = h("output", { class: "says figures" });
    this.key = keyed ? h("p", { class: "key-line" }) : null;
    this.drawing = svg("svg", { class: "plot", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", tabindex: 0 });
    this.element = h(
      "figure",
      { class: "card figure-card" },
      h(
        "figcaption",
        {},
        h("div", { class: "named" }, h("h3", {}, title), unit && h("span", { class: "unit" }, unit)),
        this.says,
      ),
      this.drawing,
      this.key,
    );
    this.#listen();
  }

  /** Draws lines; those without points are left out, and a plot without any hides itself. */
  draw(lines) {
    this.lines = lines.filter(({ curve }) => curve?.steps.length);
    this.element.hidden = !this.lines.length;
    if (!this.lines.length) return;
    this.range = extent(this.lines);
    this.cursor = svg("path", { class: "cursor" });
    this.band = svg("rect", { class: "band-of-steps", y: TOP, height: INNER.height, width: 0 });
    this.dots = this.lines.map(({ kind }) =>
      svg("path", { class: `mark line-${kind % KINDS}`, d: MARKS[kind % KINDS], visibility: "hidden" }),
    );
    this.key?.replaceChildren(...this.lines.map(({ name, kind }) => h("span", {}, swatch(kind), name)));
    this.drawing.setAttribute("aria-label", this.#inWords());
    this.drawing.replaceChildren(
      this.#grid(),
      this.band,
      ...this.lines.map((line) => this.#line(line)),
      this.cursor,
      ...this.dots,
    );
    this.point(null);
  }

  /** Puts the cursor on a step; null takes it away, and the newest values are told. */
  point(step) {
    if (!this.lines?.length) return;
    const at = this.lines.map(({ curve }) => (step === null ? curve.steps.length - 1 : nearest(curve.steps, step)));
    const told = this.lines.map(
      ({ name, curve }, i) => `${this.lines.length > 1 ? `${name} ` : ""}${short(curve.values[at[i]])}`,
    );
    this.says.textContent = `${step === null ? "" : `step ${this.lines[0].curve.steps[at[0]]}: `}${told.join(", ")}`;
    this.cursor.setAttribute("d", step === null ? "" : `M${this.#x(step)} ${TOP}V${TOP + INNER.height}`);
    this.dots.forEach((dot, i) => {
      const { steps, values } = this.lines[i].curve;
      dot.setAttribute("visibility", "visible");
      dot.setAttribute("transform", `translate(${this.#x(steps[at[i]])} ${this.#y(values[at[i]])})`);
    });
  }

  #x(step) {
    const { first, last } = this.range;
    return round(LEFT + ((Math.min(last, Math.max(first, step)) - first) / (last - first)) * INNER.width);
  }

  #y(value) {
    const { low, high } = this.range;
    return round(TOP + (1 - (value - low) / (high - low)) * INNER.height);
  }

  #line({ kind, curve }) {
    let d = "";
    for (let i = 0; i < curve.steps.length; i += 1)
      d += `${i ? "L" : "M"}${this.#x(curve.steps[i])} ${this.#y(curve.values[i])}`;
    return svg("path", { class: `line line-${kind % KINDS}`, d });
  }

  #grid() {
    const { low, high, first, last } = this.range;
    return svg(
      "g",
      { class: "grid" },
      ticks(low, high).map((value) =>
        svg(
          "g",
          {},
          svg("path", { d: `M${LEFT} ${this.#y(value)}H${WIDTH - RIGHT}` }),
          svg("text", { x: LEFT - 6, y: this.#y(value) + 4, "text-anchor": "end" }, short(value)),
        ),
      ),
      svg("text", { x: LEFT, y: HEIGHT - 6 }, first.toLocaleString("en")),
      svg("text", { x: WIDTH - RIGHT, y: HEIGHT - 6, "text-anchor": "end" }, `step ${last.toLocaleString("en")}`),
    );
  }

  #inWords() {
    const told = this.lines.map(
      ({ name, curve }) => `${name}: from ${short(curve.values[0])} to ${short(curve.values.at(-1))}`,
    );
    return `${this.title}, steps ${this.range.first} to ${this.range.last}. ${told.join("; ")}`;
  }

  #stepAt(event) {
    const box = this.drawing.getBoundingClientRect();
    const share = (((event.clientX - box.left) / box.width) * WIDTH - LEFT) / INNER.width;
    const { first, last } = this.range;
    return Math.round(first + Math.min(1, Math.max(0, share)) * (last - first));
  }

  #listen() {
    let from = null;
    this.drawing.addEventListener("pointerdown", (event) => {
      if (event.pointerType === "mouse" && event.button === 0) from = this.#stepAt(event);
    });
    this.drawing.addEventListener("pointermove", (event) => {
      const step = this.#stepAt(event);
      this.onPoint(step);
      if (from !== null) this.#mark(from, step);
    });
    this.drawing.addEventListener("pointerup", (event) => {
      const [first, last] = [from, this.#stepAt(event)].sort((a, b) => a - b);
      if (from !== null && last > first) this.onRange(first, last);
      from = null;
      this.band.setAttribute("width", 0);
    });
    this.drawing.addEventListener("pointerleave", () => {
      from = null;
      this.band.setAttribute("width", 0);
      this.onPoint(null);
    });
    this.drawing.addEventListener("dblclick", () => this.onRange(0, 0));
    this.drawing.addEventListener("keydown", (event) => this.#key(event));
    this.drawing.addEventListener("blur", () => this.onPoint(null));
  }

  #mark(a, b) {
    this.band.setAttribute("x", Math.min(this.#x(a), this.#x(b)));
    this.band.setAttribute("width", Math.abs(this.#x(a) - this.#x(b)));
  }

  #key(event) {
    const { steps } = this.lines[0].curve;
    const by = { ArrowLeft: -1, ArrowRight: 1, Home: -steps.length, End: steps.length }[event.key];
    if (!by) return;
    event.preventDefault();
    this.at = Math.min(steps.length - 1, Math.max(0, (this.at ?? steps.length - 1) + by));
    this.onPoint(steps[this.at]);
  }
}

const round = (value) => Math.round(value * 10) / 10;
