/* pass@k as grouped bars with intervals: right answers hatched, verified ones solid. */

import { percent, svg } from "../elements/dom.js";

const [HEIGHT, LEFT, BOTTOM, TOP] = [260, 40, 34, 22];
const y = (share) => HEIGHT - BOTTOM - share * (HEIGHT - BOTTOM - TOP);

/** An SVG, `total` pixels wide, of the estimates {outcome, strict}, each a list of {k, mean, lo, hi}; strict may be empty. */
export function bars({ outcome, strict }, total) {
  const slot = (total - LEFT) / outcome.length;
  const width = Math.min(46, slot * 0.38);
  const label = outcome
    .map((e, i) => `pass@${e.k}: ${percent(e.mean)} right${strict[i] ? `, ${percent(strict[i].mean)} verified` : ""}`)
    .join("; ");
  const groups = outcome.flatMap((e, i) => {
    const middle = LEFT + slot * (i + 0.5);
    return [
      bar(strict[i] ? middle - width - 2 : middle - width / 2, width, e, "outcome"),
      strict[i] && bar(middle + 2, width, strict[i], "strict"),
      svg("text", { class: "tick", x: middle, y: HEIGHT - 12, "text-anchor": "middle" }, `k = ${e.k}`),
    ];
  });
  return svg(
    "svg",
    { class: "bars", viewBox: `0 0 ${total} ${HEIGHT + 26}`, role: "img", "aria-label": label },
    hatch(),
    grid(total),
    ...groups,
    key(strict.length > 0),
  );
}

function bar(x, width, { mean, lo, hi }, kind) {
  const middle = x + width / 2;
  const above = Math.max(12, Math.min(y(hi), y(mean)) - 6);
  return svg(
    "g",
    { class: kind },
    svg("rect", { x, y: y(mean), width, height: Math.max(1, y(0) - y(mean)), rx: 2 }),
    svg("path", {
      class: "whisker",
      d: `M${middle} ${y(lo)}V${y(hi)}M${middle - 5} ${y(lo)}h10M${middle - 5} ${y(hi)}h10`,
    }),
    svg("text", { x: middle, y: above, "text-anchor": "middle" }, percent(mean)),
  );
}

function grid(total) {
  return svg(
    "g",
    { class: "grid" },
    [0, 0.5, 1].map((share) =>
      svg(
        "g",
        {},
        svg("path", { d: `M${LEFT} ${y(share)}H${total}` }),
        svg("text", { x: LEFT - 8, y: y(share) + 4, "text-anchor": "end" }, percent(share)),
      ),
    ),
  );
}

function hatch() {
  const lines = svg("path", { d: "M0 6L6 0M-1 1L1 -1M5 7L7 5" });
  return svg("defs", {}, svg("pattern", { id: "hatch", width: 6, height: 6, patternUnits: "userSpaceOnUse" }, lines));
}

function key(steps) {
  const row = HEIGHT + 8;
  return svg(
    "g",
    { class: "key" },
    svg("g", { class: "outcome" }, svg("rect", { x: LEFT, y: row, width: 14, height: 14, rx: 2 })),
    svg("text", { x: LEFT + 20, y: row + 12 }, "Right answer"),
    steps && svg("g", { class: "strict" }, svg("rect", { x: LEFT + 115, y: row, width: 14, height: 14, rx: 2 })),
    steps && svg("text", { x: LEFT + 135, y: row + 12 }, "Verified step by step"),
  );
}
