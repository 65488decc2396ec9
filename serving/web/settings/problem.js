/* The problem on the page: the question as a headline, the facts below it. */

import { h } from "../elements/dom.js";

/** The cell and seed that settings ask for, as the API spells it; `ahead` problems further on. */
export function specOf({ op, mode, template, seed, facts }, ahead = 0) {
  return { op, mode, template, seed: seed + ahead, max_facts: facts || null };
}

/** Shows a ProblemAnswer in `host`. */
export function showProblem(host, problem) {
  const facts = problem.problem.split(/(?<=\.)\s+/).length;
  host.replaceChildren(
    h("h1", {}, problem.question),
    h(
      "details",
      { class: "facts-of" },
      h(
        "summary",
        {},
        h("span", { class: "text" }, problem.problem),
        h("span", { class: "more" }, `All ${facts} facts`),
      ),
    ),
  );
}
