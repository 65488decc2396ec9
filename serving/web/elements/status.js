/* The words, icons and shapes of step judgements: each status differs by icon and outline, not by colour alone. */

import { svg } from "./dom.js";

// Icons on a 16 x 16 grid, drawn as strokes. `tone` picks the colour, `shape` the outline of a graph node.
export const STATUS = {
  right: { tone: "right", shape: "round", label: "right", path: "M3.5 8.5l3 3 6-7" },
  "wrong value": { tone: "wrong", shape: "cut", label: "wrong value", path: "M3.5 6h9M3.5 10h9M10.5 3l-5 10" },
  "wrong operand": { tone: "wrong", shape: "cut", label: "wrong operand", path: "M3 5.5h9l-2.5-2.5M13 10.5H4l2.5 2.5" },
  "too early": {
    tone: "order",
    shape: "hex",
    label: "too early",
    path: "M8 2.5a5.5 5.5 0 100 11 5.5 5.5 0 000-11zM8 5v3.2l2.2 1.4",
  },
  duplicate: { tone: "order", shape: "hex", label: "duplicate", path: "M6 6h7v7H6zM3 10V3h7" },
  missing: { tone: "missing", shape: "round", label: "missing", path: "M4 8h1.5M7.3 8h1.5M10.5 8H12" },
  invented: {
    tone: "wrong",
    shape: "cut",
    label: "invented",
    path: "M5.5 6a2.5 2.5 0 113.6 2.3C8.3 8.700 8 9.200 8 10M8 12.500v.1",
  },
};

export const isWrong = (status) => status !== "right" && status !== "duplicate";

const EXPLAINED = {
  right: "right operands, right value",
  "wrong value": "right operands, wrong number",
  "wrong operand": "built from the wrong quantities",
  "too early": "used before it was derived",
  duplicate: "derived a second time",
  missing: "never derived",
  invented: "not in the problem",
};

/** What a status means, in a few words. */
export const explain = (status) => EXPLAINED[status];

// The judgement of a whole answer, by the two readings of "right".
const VERIFIED = { tone: "right", words: "verified", path: "M3.5 8.5l3 3 6-7" };
const LUCKY = {
  tone: "order",
  words: "right for the wrong reason",
  path: "M2.500 9c1.800-3 3.600-3 5.500-1s3.700 2 5.500-1",
};
const RIGHT = { ...VERIFIED, words: "right" }; // where no steps are judged
const FALSE = { tone: "wrong", words: "wrong", path: "M4 4l8 8M12 4l-8 8" };

/** Tone, words and icon of a whole answer. */
export const gradeOf = ({ verified, outcome }) =>
  verified ? VERIFIED : !outcome ? FALSE : verified === null ? RIGHT : LUCKY;

/** The grades that answers get, with `steps` judged or without, for legends. */
export const gradesOf = (steps) => (steps ? [VERIFIED, LUCKY, FALSE] : [RIGHT, FALSE]);

/** A 16 x 16 icon of a status or grade, for HTML (hidden from assistive technology: its text stands beside it). */
export function icon(kind, size = 16) {
  const { path } = typeof kind === "string" ? STATUS[kind] : kind;
  const attributes = { class: "icon", viewBox: "0 0 16 16", width: size, height: size, "aria-hidden": "true" };
  return svg("svg", attributes, svg("path", { d: path }));
}
