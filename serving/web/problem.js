/* The problem on the page: the question as a headline, the facts below it. */

import { h } from "./dom.js";

/** Shows a ProblemAnswer in `host`. */
export function showProblem(host, problem) {
  const facts = problem.problem.split(/(?<=\.)\s+/).length;
  host.replaceChildren(
    h("h1", {}, problem.question),
    h("details", { class: "facts-of" },
      h("summary", {}, h("span", { class: "text" }, problem.problem), h("span", { class: "more" }, `All ${facts} facts`))));
}
