/* The view "Compare": several checkpoints, one problem, one seed; aligned by graph node, with the place where they part. */

import { Answer } from "../answer/answer.js";
import { h } from "../elements/dom.js";
import { GraphView } from "../answer/graph.js";
import { others } from "../settings/link.js";
import { empty, failure } from "../elements/notices.js";
import { judgementWords } from "../answer/panel.js";
import { question } from "./solve.js";
import { STATUS, gradeOf, icon } from "../elements/status.js";

/** The view "Compare" on the page. */
export class CompareView {
  constructor(host, app) {
    this.app = app;
    this.sides = [];
    this.element = h("div", { class: "compare" });
    host.replaceChildren(this.element);
  }

  reset() {
    const { settings } = this.app;
    this.sides = [];
    this.element.replaceChildren(
      empty(
        `${settings.model} against ${others(settings).join(", ")}`,
        "All get this problem with the same seed. Press Compare to see where they part.",
      ),
    );
  }

  request() {
    const { settings } = this.app;
    const { model: _, ...body } = question(settings, "");
    return { path: "v1/probe/compare", body: { ...body, models: [settings.model, ...others(settings)] } };
  }

  async run(signal) {
    const { path, body } = this.request();
    this.element.replaceChildren(
      h(
        "div",
        { class: "card" },
        h("h2", { class: "waiting" }, `Asking ${body.models.length} checkpoints`),
        h("p", { class: "quiet" }, "A checkpoint that is not loaded yet takes a few seconds."),
      ),
    );
    try {
      this.#show(await this.app.client.post(path, body, signal), body.models);
    } catch (error) {
      if (error.name === "AbortError") return this.reset();
      this.element.replaceChildren(failure(error));
      throw error;
    }
  }

  setHeat() {}

  #show(comparison, models) {
    const { problem, settings } = this.app;
    const answers = comparison.answers.map((body) => Answer.whole(problem, body));
    const { parting } = comparison;
    this.sides = answers.map((answer, i) => this.#side(answer, models[i]));
    this.table = this.#table(comparison, models);
    this.element.replaceChildren(
      h(
        "div",
        { class: "parting" },
        h("h2", {}, parting ? parting.sentence : "They do not part: all wrote the same trace."),
      ),
      h(
        "div",
        { class: "sides" },
        this.sides.map((side) => side.element),
      ),
      ...(comparison.rows.length ? [h("div", { class: "aligned-frame" }, this.table)] : []),
    );
    this.app.announce(parting ? parting.sentence : "All wrote the same trace.");
    this.sides.forEach((side) => side.draw());
    if (comparison.rows[settings.step]) this.#select(comparison.rows[settings.step].node, settings.step);
    else if (parting?.node) this.#mark(parting.node);
  }

  #side(answer, model) {
    const graph = new GraphView((name) => this.#select(name));
    const [title, where] = judgementWords(answer);
    const grade = gradeOf(answer.done.judgement);
    const named = answer.policy.model === model ? model : `${model} (${answer.policy.model})`;
    const element = h(
      "section",
      { class: "card", "aria-label": model },
      h("p", { class: "label" }, named),
      h("h3", { "data-tone": grade.tone }, icon(grade, 18), title),
      answer.hasGraph ? h("p", { class: "quiet" }, where ?? "No wrong step") : h("p", { class: "sentence" }, answer.text.trim()),
      graph.element,
    );
    graph.element.hidden = !answer.hasGraph;
    const draw = () => {
      if (!answer.hasGraph) return;
      graph.clear();
      graph.draw(answer.problem.graph, { invented: answer.invented, label: `Dependency graph, ${model}` });
      const first = answer.steps[answer.firstWrong]?.node;
      for (const step of answer.steps)
        graph.mark(step.node, answer.steps[answer.stepOf(step.node)].status, step.node === first);
    };
    return { element, graph, draw };
  }

  #table({ rows, parting }, models) {
    const head = h(
      "tr",
      { role: "row" },
      ["Quantity", ...models].map((name) => h("th", { role: "columnheader", scope: "col" }, name)),
    );
    const body = rows.map((row, index) => {
      const parts = row.node === parting?.node;
      const name = h(
        "button",
        { type: "button", class: "plain", "data-row": index, onclick: () => this.#select(row.node, index) },
        row.node,
      );
      const same = row.same && new Set(row.cells.map((cell) => cell?.status)).size === 1;
      return h(
        "tr",
        { role: "row", class: parts ? "parts" : same ? "same" : "", "data-node": row.node },
        h(
          "th",
          { role: "rowheader", scope: "row" },
          name,
          parts ? h("span", { class: "flag" }, "they part here") : null,
        ),
        row.cells.map((cell, i) => this.#cell(cell, models[i])),
      );
    });
    return h(
      "table",
      { role: "table", class: "aligned", vars: { "--columns": models.length }, onkeydown: (event) => walk(event) },
      h("thead", { role: "rowgroup" }, head),
      h("tbody", { role: "rowgroup" }, body),
    );
  }

  #cell(cell, model) {
    if (!cell)
      return h("td", { role: "cell", "data-model": model }, h("span", { class: "quiet" }, "says nothing of it"));
    const words = cell.text.trim() ? h("p", {}, cell.text.trim()) : null;
    const chip = cell.status === "right" ? null : h("span", { class: "chip" }, STATUS[cell.status].label);
    const reason = ["right", "missing"].includes(cell.status) ? null : h("p", { class: "quiet" }, cell.reason);
    return h(
      "td",
      { role: "cell", "data-model": model, "data-tone": STATUS[cell.status].tone, "data-status": cell.status },
      h("div", { class: "cell" }, h("span", { class: "mark" }, icon(cell.status)), h("div", {}, words, chip, reason)),
    );
  }

  #select(node, index = this.#rowOf(node)) {
    this.#mark(node);
    this.app.change({ step: index });
    this.table.querySelector(`[data-row="${index}"]`)?.scrollIntoView({ block: "nearest" });
  }

  #rowOf(node) {
    return [...this.table.tBodies[0].rows].findIndex((row) => row.dataset.node === node);
  }

  #mark(node) {
    for (const side of this.sides) side.graph.select(node);
    for (const row of this.table.tBodies[0].rows) row.classList.toggle("chosen", row.dataset.node === node);
  }
}

function walk(event) {
  const by = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  const at = Number(event.target.dataset?.row ?? NaN);
  const next = by && event.currentTarget.querySelector(`[data-row="${at + by}"]`);
  if (!next) return;
  event.preventDefault();
  next.focus();
}
