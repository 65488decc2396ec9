/* The view "pass@k": estimates with intervals while samples arrive, and every sample to look at. */

import { Answer } from "../answer/answer.js";
import { bars } from "../answer/bars.js";
import { h, percent } from "../elements/dom.js";
import { redraw } from "../elements/redraw.js";
import { ApiError } from "../server/api.js";
import { write } from "../settings/link.js";
import { empty, failure } from "../elements/notices.js";
import { AnswerPanel } from "../answer/panel.js";
import { aboutOf, fetchProblem } from "../settings/problem.js";
import { framed, question } from "./solve.js";
import { gradeOf, gradesOf, icon } from "../elements/status.js";

const KS = [1, 2, 4, 8, 16, 32, 64];

/** The view "pass@k" on the page. */
export class PassView {
  #looked = 0;

  constructor(host, app) {
    this.app = app;
    this.element = h("div", { class: "pass" });
    this.panel = new AnswerPanel({ onOpen: (index) => app.change({ step: index }) });
    this.one = h("div", {});
    host.replaceChildren(this.element, this.one);
  }

  reset() {
    const { samples, problems, model } = this.app.settings;
    this.#clear();
    this.element.replaceChildren(
      empty(
        `${samples} samples from ${model}`,
        `Draws ${samples} traces of ${problems === 1 ? "this problem" : `each of ${problems} problems`} ` +
          "and estimates how often one of k is right, by its answer alone and with every step checked. " +
          "A temperature near 1 makes the samples differ.",
      ),
    );
  }

  request() {
    const { settings } = this.app;
    const { logprobs: _, ...body } = question(settings, settings.model);
    const { samples, problems } = settings;
    const share = Math.floor(this.app.limits.total_tokens / samples); // the server's bound on the samples of a problem
    const max_tokens = Math.min(body.max_tokens, share);
    return {
      path: "v1/probe/pass-at-k",
      body: { ...body, max_tokens, samples, problems, ks: KS.filter((k) => k <= Math.max(1, samples / 2)) },
    };
  }

  async run(signal) {
    const { path, body } = this.request();
    this.#clear();
    const state = { samples: [], estimate: null, policy: null, done: false, total: body.samples * body.problems };
    this.state = state;
    const draw = () => state === this.state && this.#draw(state); // one that was given up may still end
    const changed = framed(draw);
    draw();
    try {
      for await (const { name, data } of this.app.client.stream(path, body, signal)) {
        if (name === "start") state.policy = data.policy;
        else if (name === "sample") state.samples.push(data);
        else if (name === "estimate") state.estimate = data;
        else if (name === "done") Object.assign(state, { done: true, estimate: data });
        changed();
      }
      draw();
      this.app.announce(gap(state.estimate));
    } catch (error) {
      state.stopped = true;
      draw();
      if (error.name === "AbortError") return;
      this.element.append(failure(error));
      throw error;
    }
  }

  setHeat() {}

  #clear() {
    this.state = null;
    this.#looked += 1; // a sample that is on its way is not of what is shown now
    this.one.replaceChildren();
  }

  #draw(state) {
    const { samples, estimate, total, policy } = state;
    const waiting = !state.done && !state.stopped;
    const title = estimate ? gap(estimate) : "Waiting for the first sample";
    redraw(
      this.element,
      h(
        "section",
        { class: "card chart", "aria-label": "Estimates" },
        h("h2", { class: waiting ? "waiting" : "" }, title),
        h("p", { class: "quiet figures" }, [`${samples.length} of ${total} samples`, policy?.model].filter(Boolean).join(", ")),
        estimate?.outcome.length ? bars(estimate, this.element.clientWidth < 600 ? 320 : 560) : null,
        estimate?.outcome.length ? table(estimate) : null,
      ),
      h("section", { class: "card", "aria-label": "Samples" }, h("h2", {}, "Samples"), key(samples), this.#grid(samples)),
    );
  }

  #grid(samples) {
    const { seed, problems } = this.app.settings;
    const rows = new Map();
    for (const sample of samples) rows.set(sample.problem, [...(rows.get(sample.problem) ?? []), sample]);
    return h(
      "div",
      { class: "samples" },
      [...rows].map(([problem, own]) =>
        h(
          "div",
          { class: "sample-row" },
          problems > 1 ? h("span", { class: "quiet figures" }, `seed ${seed + problem}`) : null,
          h(
            "ul",
            {},
            own.map((sample) => h("li", {}, this.#mark(sample))),
          ),
        ),
      ),
    );
  }

  #mark(sample) {
    const grade = gradeOf(sample);
    return h(
      "button",
      {
        type: "button",
        class: "sample",
        "data-tone": grade.tone,
        title: sample.verified === null ? grade.words : `${grade.words}, ${percent(sample.process_accuracy)} of the graph`,
        "aria-label": `Sample ${sample.sample + 1}: ${grade.words}`,
        onclick: () => this.#look(sample),
      },
      icon(grade, 14),
    );
  }

  // The same policy, problem and seed write the same text.
  #again(sample) {
    const { settings } = this.app;
    return write({ ...settings, view: "solve", seed: settings.seed + sample.problem, draw: sample.seed, go: true });
  }

  async #look(sample) {
    const { client, settings } = this.app;
    const ticket = (this.#looked += 1);
    try {
      const [problem, judged] = await Promise.all([
        fetchProblem(client, settings, sample.problem),
        client.post("v1/probe/verify", { ...aboutOf(settings, sample.problem), text: sample.text }),
      ]);
      if (ticket !== this.#looked) return;
      const heading = `Sample ${sample.sample + 1}: ${problem.question}`;
      this.panel.present(this.one, heading, this.#again(sample), Answer.judged(problem, sample.text, judged.judgement));
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (ticket === this.#looked) this.one.replaceChildren(failure(error));
    }
  }
}

// The estimate in one sentence, at the largest k.
function gap({ outcome, strict }) {
  const [a, b] = [outcome.at(-1), strict.at(-1)];
  if (!a) return "Too few samples for an estimate";
  if (!b) return `At k = ${a.k}, ${percent(a.mean)} right answers`;
  const points = Math.round((a.mean - b.mean) * 100);
  const tail = points > 0 ? `; ${points} points are right for the wrong reason` : "";
  return `At k = ${a.k}, ${percent(a.mean)} right answers, ${percent(b.mean)} verified${tail}`;
}

function table({ outcome, strict }) {
  const figure = (e) => `${percent(e.mean)} (${percent(e.lo)} to ${percent(e.hi)})`;
  const row = (e, i) =>
    h("tr", {}, h("th", { scope: "row" }, e.k), h("td", {}, figure(e)), strict[i] && h("td", {}, figure(strict[i])));
  const names = ["k", "Right answer (95% interval)", ...(strict.length ? ["Verified (95% interval)"] : [])];
  return h(
    "details",
    {},
    h("summary", {}, "As a table"),
    h(
      "table",
      { class: "plain-table figures" },
      h(
        "thead",
        {},
        h(
          "tr",
          {},
          names.map((name) => h("th", { scope: "col" }, name)),
        ),
      ),
      h("tbody", {}, outcome.map(row)),
    ),
  );
}

function key(samples) {
  return h(
    "ul",
    { class: "legend" },
    gradesOf(samples.some((sample) => sample.verified !== null)).map((grade) => h("li", { "data-tone": grade.tone }, icon(grade, 14), grade.words)),
  );
}
