/* The recovery map as a table: steps of the trace down, checkpoints across, what became of the errors in the cells. */

import { h, percent } from "../elements/dom.js";
import { icon } from "../elements/status.js";

// The outcomes, best first: key of the API's counts, tone, words and icon.
const OUTCOMES = [
  { key: "recovered", name: "recovered", tone: "right", words: "recovered", path: "M3.5 8.5l3 3 6-7" },
  {
    key: "answer_only",
    name: "answer only",
    tone: "order",
    words: "right answer by a wrong trace",
    path: "M2.500 9c1.800-3 3.600-3 5.500-1s3.700 2 5.500-1",
  },
  { key: "followed", name: "followed", tone: "wrong", words: "followed the error", path: "M3 8h9.500M9 4.500l3.500 3.500L9 11.500" },
  { key: "other", name: "other", tone: "wrong", words: "wrong in another way", path: "M4 4l8 8M12 4l-8 8" },
  { key: "cut_off", name: "cut off", tone: "missing", words: "cut off", path: "M4 8h1.5M7.3 8h1.5M10.5 8H12" },
];

/** The outcome that the API calls `name`. */
export const outcomeOf = (name) => OUTCOMES.find((outcome) => outcome.name === name);

/** The counts of several cells as one, with the interval of the share that recovered. */
export function summed(shares) {
  const total = { n: 0 };
  for (const { key } of OUTCOMES) total[key] = 0;
  for (const one of shares) for (const key of Object.keys(total)) total[key] += one[key];
  return { ...total, ...wilson(total.n, total.recovered) };
}

// Wilson's 95% interval, as the server gives it for each cell.
function wilson(n, c) {
  if (!n) return { rate: 0, lo: 0, hi: 1 };
  const [share, square] = [c / n, 1.959964 ** 2];
  const middle = (share + square / (2 * n)) / (1 + square / n);
  const half = (1.959964 / (1 + square / n)) * Math.sqrt((share * (1 - share)) / n + square / (4 * n * n));
  return { rate: share, lo: c ? middle - half : 0, hi: c < n ? middle + half : 1 };
}

/** What each sign means. */
export function legend() {
  return h(
    "ul",
    { class: "legend" },
    OUTCOMES.map((outcome) => h("li", { "data-tone": outcome.tone }, icon(outcome, 14), outcome.words)),
  );
}

/** The table. `rows` are {step, node}, `shares(row, column)` null where nothing has come yet; `onOpen(row, column)`. */
export function grid({ rows, models, shares, rates, open, onOpen }) {
  const head = ["Step", ...models].map((name) => h("th", { scope: "col" }, name));
  const body = rows.map(({ step, node }, y) =>
    h(
      "tr",
      {},
      h("th", { scope: "row", title: node }, h("span", { class: "quiet figures" }, `${step + 1}`), ` ${node}`),
      models.map((model, x) => {
        const found = shares(y, x);
        if (!found) return h("td", {}, h("span", { class: "quiet" }, "\u2013"));
        const chosen = open?.row === y && open?.column === x;
        return h("td", {}, cell(found, { chosen, label: `${model}, step ${step + 1}`, onclick: () => onOpen(y, x) }));
      }),
    ),
  );
  const foot = h(
    "tr",
    {},
    h("th", { scope: "row" }, "All steps"),
    models.map((_, x) => h("td", {}, rates[x] ? figures(rates[x]) : h("span", { class: "quiet" }, "\u2013"))),
  );
  return h(
    "table",
    { class: "recovery-grid figures", vars: { "--columns": models.length } },
    h("thead", {}, h("tr", {}, head)),
    h("tbody", {}, body),
    h("tfoot", {}, foot),
  );
}

function cell(found, { chosen, label, onclick }) {
  const said = OUTCOMES.filter(({ key }) => found[key]).map(({ key, words }) => `${found[key]} ${words}`);
  return h(
    "button",
    { type: "button", class: "recovery-cell", "aria-pressed": String(chosen), "aria-label": `${label}: ${said.join(", ")}`, onclick },
    figures(found),
    h(
      "span",
      { class: "tally" },
      OUTCOMES.filter(({ key }) => found[key]).map((outcome) =>
        h("span", { "data-tone": outcome.tone, title: outcome.words }, icon(outcome, 12), found[outcome.key]),
      ),
    ),
  );
}

function figures({ rate, lo, hi }) {
  return [
    h("strong", {}, percent(rate)),
    h("span", { class: "quiet" }, ` ${percent(lo)} to ${percent(hi)}`),
    h("span", { class: "share-bar", vars: { "--share": rate } }, h("i", {})),
  ];
}
