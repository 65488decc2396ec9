/* The table of the view "Training": quantities down, checkpoints across, the judgement of each step in the cells. */

import { h, percent } from "../elements/dom.js";
import { labelOf } from "./graph.js";
import { STATUS, gradeOf, icon } from "../elements/status.js";

/** Built once per problem; `fill` writes a column, so that slider and focus stay where they are. */
export class Matrix {
  #columns = [];

  constructor(problem, cards, slider, onPick) {
    this.nodes = problem.graph.nodes.filter((node) => node.role !== "distractor");
    const rows = [
      ...this.nodes.map((node) => [labelOf(node.name).filter(Boolean).join(", "), node.name]),
      ["Answer"],
      ...(this.nodes.length ? [["Share of the graph"]] : []),
    ];
    this.#columns = cards.map((card, i) => {
      const pick = h(
        "button",
        { type: "button", class: "plain", tabindex: -1, title: card.id, onclick: () => onPick(i) },
        card.step,
      );
      return { head: h("th", { scope: "col" }, pick), cells: rows.map(() => h("td", {})), printed: [] };
    });
    const stages = [...new Set(cards.map((card) => card.stage))];
    const stageRow = h(
      "tr",
      { class: "stages" },
      h("th", { scope: "row" }, "Stage"),
      stages.map((stage) =>
        h("th", { scope: "colgroup", colspan: cards.filter((card) => card.stage === stage).length }, stage),
      ),
    );
    const head = h(
      "thead",
      {},
      h("tr", {}, h("td", {}), h("td", { colspan: cards.length }, slider)),
      stages.length > 1 ? stageRow : null,
      h(
        "tr",
        {},
        h("th", { scope: "row" }, "Step"),
        this.#columns.map((column) => column.head),
      ),
    );
    const body = rows.map(([label, name], y) =>
      h(
        "tr",
        { class: this.nodes.length && y === rows.length - 1 ? "share" : null },
        h("th", { scope: "row", title: name }, label),
        this.#columns.map((column) => column.cells[y]),
      ),
    );
    const columns = h(
      "colgroup",
      {},
      h("col", {}),
      cards.map(() => h("col", {})),
    );
    this.element = h(
      "table",
      { class: "matrix", vars: { "--columns": cards.length } },
      columns,
      head,
      h("tbody", {}, body),
    );
  }

  /** Shows `answer` (or nothing, for null) in column `index`. */
  fill(index, answer) {
    const { cells, printed } = this.#columns[index];
    const wanted = [
      ...this.nodes.map((node) => answer?.steps[answer.stepOf(node.name)]?.status ?? null),
      answer?.done ?? null,
      ...(this.nodes.length ? [answer?.done ?? null] : []),
    ];
    wanted.forEach((value, y) => {
      const print = value ?? (answer?.busy && y < this.nodes.length ? "busy" : "");
      if (printed[y] === print) return;
      printed[y] = print;
      cells[y].replaceChildren(...content(print, y - this.nodes.length));
    });
  }

  /** Shades the chosen column. */
  choose(index) {
    this.#columns.forEach(({ head, cells }, i) => {
      for (const cell of [head, ...cells]) cell.classList.toggle("chosen", i === index);
    });
  }
}

function content(value, below) {
  if (!value) return [];
  if (value === "busy") return [h("span", { class: "dot", title: "being asked" })];
  if (below < 0) return mark(STATUS[value].tone, value, value);
  const { judgement } = value;
  if (below === 0) return mark(gradeOf(judgement).tone, gradeOf(judgement), gradeOf(judgement).words);
  return [
    h(
      "span",
      { class: "column", vars: { "--share": judgement.process_accuracy } },
      h("i", {}),
      percent(judgement.process_accuracy),
    ),
  ];
}

function mark(tone, kind, words) {
  return [
    h("span", { class: "mark", "data-tone": tone, title: words }, icon(kind, 14)),
    h("span", { class: "unseen" }, words),
  ];
}
