/* What changed on the held-out problems between a run's evaluations: a table whose counts open the traces behind them. */

import { Answer } from "../answer/answer.js";
import { AnswerPanel } from "../answer/panel.js";
import { h } from "../elements/dom.js";
import { failure } from "../elements/notices.js";
import { ApiError } from "../server/api.js";

const FATES = { gained: "Newly solved", lost: "Lost", kept: "Both times", never: "Never" };
const SIDES = { before: "Before", after: "After" };

const moved = ({ before, after }, digits) =>
  [before, after].map((value) => (value === null ? "none" : value.toFixed(digits))).join(" to ");

/** The table of a run, and below it the problems of the cell that was opened. */
export class Changes {
  #asked = 0;

  constructor(app) {
    this.app = app;
    this.table = h("div", { class: "changed-frame" });
    this.opened = h("div", { class: "changed-traces" });
    this.element = h("div", {}, this.table, this.opened);
  }

  /** Shows the `strata` of `run`. */
  show(run, strata) {
    this.run = run;
    this.#asked += 1; // an answer that is on its way is not of what is shown now
    this.opened.replaceChildren();
    this.table.replaceChildren(this.#table(strata));
  }

  #table(strata) {
    const steps = strata.some(({ traces }) => traces.before !== null);
    const kinds = [...new Set(strata.flatMap(({ errors }) => Object.keys(errors)))].sort();
    const head = ["Stratum", "Problems", ...Object.values(FATES)];
    if (steps)
      head.push("Right steps before the first error", "Different traces", ...kinds.map((kind) => `${kind} a completion`));
    const rest = ({ errors, first_error: first, traces }) =>
      steps
        ? [moved(first, 2), moved(traces, 1), ...kinds.map((kind) => (errors[kind] ? moved(errors[kind], 2) : "0"))]
        : [];
    const rows = strata.map((one) =>
      h(
        "tr",
        {},
        h("th", { scope: "row" }, one.stratum),
        [one.problems, ...Object.keys(FATES).map((fate) => this.#count(one, fate)), ...rest(one)].map((cell) =>
          h("td", {}, cell),
        ),
      ),
    );
    const names = h("tr", {}, head.map((name) => h("th", { scope: "col" }, name)));
    return h("table", { class: "plain-table figures" }, h("thead", {}, names), h("tbody", {}, rows));
  }

  #count(one, fate) {
    const { stratum, [fate]: count } = one;
    if (!count) return "0";
    const open = (event) => this.#open(stratum, fate, event.target);
    return h("button", { type: "button", class: "plain", title: `Show these ${count}`, onclick: open }, count);
  }

  async #open(stratum, fate, button) {
    const ticket = (this.#asked += 1);
    for (const other of this.table.querySelectorAll("button")) other.setAttribute("aria-current", String(other === button));
    const query = new URLSearchParams({ stratum, fate });
    try {
      const found = await this.app.client.get(`v1/runs/${this.run}/traces?${query}`);
      if (ticket === this.#asked) this.opened.replaceChildren(...this.#problems(`${stratum}: ${FATES[fate]}`, found));
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (ticket === this.#asked) this.opened.replaceChildren(failure(error));
    }
  }

  #problems(title, { data, total }) {
    const head = h("h3", {}, title);
    if (!total) return [head, h("p", { class: "quiet" }, "No text of these problems was kept.")];
    const many = total > data.length ? `The first ${data.length} of ${total}. ` : "";
    const note = `${many}Each side shows one completion, which ended as most of that problem's did.`;
    return [head, h("p", { class: "quiet" }, note), ...data.map((problem, i) => this.#problem(problem, i))];
  }

  #problem(problem, number) {
    const sides = h("div", { class: "changed-sides" });
    const counts = Object.keys(SIDES).map((side) => `${problem[side].right} of ${problem[side].samples}`);
    const details = h(
      "details",
      { ontoggle: () => details.open && !sides.childElementCount && this.#fill(sides, problem) },
      h("summary", { class: "figures" }, `Problem ${number + 1}: ${counts.join(", then ")} right`),
      sides,
    );
    return details;
  }

  #fill(sides, problem) {
    sides.append(h("p", { class: "prompt quiet" }, problem.prompt));
    for (const [side, name] of Object.entries(SIDES)) {
      const panel = new AnswerPanel({ announce: this.app.announce });
      const asked = { question: problem.prompt, problem: "", answer: null, graph: { nodes: [], edges: [] } };
      panel.show(Answer.judged(asked, problem[side].text, problem[side].judgement));
      sides.append(h("section", { "aria-label": name }, h("h4", {}, name), panel.element));
    }
  }
}
