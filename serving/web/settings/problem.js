/* The problem on the page, of any family: how it is asked for, and how it is shown. */

import { byId, h } from "../elements/dom.js";

/** The cell and seed that settings ask for, as the API spells it; `ahead` problems further on. */
export function specOf({ op, mode, template, seed, facts }, ahead = 0) {
  return { op, mode, template, seed: seed + ahead, max_facts: facts || null };
}

/** What a question is about: an item of the served task, or an op-graph problem; `ahead` seeds further on. */
export function aboutOf(settings, ahead = 0) {
  const { stratum, seed } = settings;
  return stratum ? { item: { stratum, seed: seed + ahead } } : { problem: specOf(settings, ahead) };
}

/** Fetches what the settings ask about. An item has no graph: its text stands for the question. */
export async function fetchProblem(client, settings, ahead = 0) {
  const { item, problem } = aboutOf(settings, ahead);
  if (problem) return client.post("v1/probe/problems", problem);
  const { id, prompt, gold } = await client.post("v1/probe/items", item);
  return { id, question: prompt, problem: "", solution: gold, answer: null, graph: { nodes: [], edges: [] } };
}

/** Fills the list of strata, and shows the fields of the task that is served. */
export function fillTask(app) {
  const { task, settings } = app;
  const names = task.family && task.family !== "graphs" ? task.strata.map(({ name }) => name) : [];
  if (!names.includes(settings.stratum)) settings.stratum = names[0] ?? "";
  byId("bench").elements.stratum.replaceChildren(...names.map((name) => h("option", { value: name }, name)));
  for (const element of document.querySelectorAll("[data-task]"))
    element.hidden = (element.dataset.task === "item") !== Boolean(settings.stratum);
}

/** Shows a problem in `host`. */
export function showProblem(host, problem) {
  if (!problem.problem) return host.replaceChildren(h("h1", { class: "asked" }, problem.question));
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
