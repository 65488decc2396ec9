/* The view "Recovery": errors planted in the gold trace, and what each checkpoint makes of them, cell by cell. */

import { Answer } from "../answer/answer.js";
import { AnswerPanel } from "../answer/panel.js";
import { grid, legend, outcomeOf, summed } from "../answer/recovery.js";
import { h, percent } from "../elements/dom.js";
import { empty, failure } from "../elements/notices.js";
import { redraw } from "../elements/redraw.js";
import { icon } from "../elements/status.js";
import { ApiError } from "../server/api.js";
import { others, write } from "../settings/link.js";
import { aboutOf } from "../settings/problem.js";
import { framed, question } from "./solve.js";

const ALTERNATIVE = { value: "Wrong value", operand: "Wrong operand", omission: "Step left out" };

/** The models that are asked, each once. */
const asked = (settings) => [...new Set([settings.model, ...others(settings)])];

/** The view "Recovery" on the page. */
export class RecoveryView {
  #looked = 0;

  constructor(host, app) {
    this.app = app;
    this.element = h("div", { class: "recovery" });
    this.cell = h("div", {});
    this.one = h("div", {});
    this.panel = new AnswerPanel();
    host.replaceChildren(this.element, this.cell, this.one);
  }

  reset(problem) {
    const { settings } = this.app;
    this.problem = problem;
    this.state = null;
    this.#clear();
    this.element.replaceChildren(
      empty(
        `Can ${asked(settings).join(" and ")} recover from an error?`,
        "Plants a wrong value, a wrong operand and an omission at up to four steps of the right trace, lets each " +
          `checkpoint go on ${settings.samples} times from each, and judges whether it puts the error right.`,
      ),
    );
  }

  request() {
    const { settings } = this.app;
    const { logprobs: _, model: __, ...body } = question(settings, "");
    const max_tokens = Math.min(body.max_tokens, Math.floor(this.app.limits.total_tokens / settings.samples));
    return { path: "v1/probe/recovery", body: { ...body, max_tokens, models: asked(settings), samples: settings.samples } };
  }

  async run(signal) {
    const { path, body } = this.request();
    const state = (this.state = { start: null, cells: [], checkpoints: [], models: body.models, ended: false });
    const draw = () => this.#draw();
    const changed = framed(draw);
    this.#clear();
    draw();
    try {
      for await (const { name, data } of this.app.client.stream(path, body, signal)) {
        if (name === "start") state.start = data;
        else if (name === "cell") state.cells.push(data);
        else if (name === "checkpoint") state.checkpoints.push(data);
        changed();
      }
      state.ended = true;
      draw();
      this.app.announce(sentence(state));
      this.#openAt(this.app.settings.step);
    } catch (error) {
      state.ended = true;
      draw();
      if (error.name === "AbortError") return;
      this.element.append(failure(error));
      throw error;
    }
  }

  setHeat() {}

  #clear() {
    this.cell.replaceChildren();
    this.#close();
  }

  #close() {
    this.#looked += 1; // a trace that is on its way is not of what is shown now
    this.one.replaceChildren();
  }

  get #rows() {
    const planted = this.state.start?.planted ?? [];
    return [...new Map(planted.map(({ step, node }) => [step, { step, node }])).values()];
  }

  // The cells of one place of the table: one for each alternative.
  #cells(row, column) {
    const { start, cells } = this.state;
    return cells.filter((one) => one.model === column && start.planted[one.planted].step === row.step);
  }

  #draw() {
    const { state } = this;
    if (!state) return; // the page moved on before the frame
    const rows = this.#rows;
    const total = (state.start?.planted.length ?? 0) * state.models.length;
    const done = total ? `${state.cells.length} of ${total} cells` : "A checkpoint that is not loaded yet takes a few seconds.";
    const shares = (y, x) => {
      const own = this.#cells(rows[y], x);
      return own.length ? summed(own.map((one) => one.shares)) : null;
    };
    const rates = state.models.map((_, x) => {
      const own = state.cells.filter((one) => one.model === x);
      return own.length ? summed(own.map((one) => one.shares)) : null;
    });
    const open = this.#place(this.app.settings.step);
    redraw(
      this.element,
      h(
        "section",
        { class: "card chart", "aria-label": "Recovery map" },
        h("h2", { class: state.ended ? "" : "waiting" }, sentence(state)),
        h("p", { class: "quiet figures" }, done),
        rows.length
          ? h(
              "div",
              { class: "recovery-frame" },
              grid({ rows, models: state.models, shares, rates, open, onOpen: (y, x) => this.#open(y, x) }),
            )
          : null,
        legend(),
        refusals(state.start?.unplanted ?? []),
      ),
    );
  }

  // The link names the open cell by its place, row by row.
  #place(index) {
    const columns = this.state.models.length;
    return index < 0 ? null : { row: Math.floor(index / columns), column: index % columns };
  }

  #openAt(index) {
    const place = this.#place(index);
    if (place && this.#rows[place.row]) this.#open(place.row, place.column);
  }

  #open(y, x) {
    this.app.change({ step: y * this.state.models.length + x });
    this.#draw();
    this.#close();
    const row = this.#rows[y];
    this.cell.replaceChildren(
      h(
        "section",
        { class: "card planted", "aria-label": "Continuations" },
        h("h2", {}, `${this.state.models[x]} after an error at ${row.node}`),
        this.#cells(row, x).map((one) => this.#planted(one)),
      ),
    );
  }

  #planted(one) {
    const error = this.state.start.planted[one.planted];
    const leads = error.leads_to === null ? "" : ` It leads to the answer ${error.leads_to}.`;
    const told = error.told
      ? [h("del", {}, error.right), " ", h("ins", {}, error.told)]
      : [h("del", {}, error.right), ` The trace goes on to ${error.first_error}, which reads it.`];
    return h(
      "div",
      { class: "planted-error" },
      h("h3", {}, ALTERNATIVE[error.alternative], h("span", { class: "quiet" }, `${leads} ${percent(one.shares.rate)} recovered`)),
      h("p", { class: "sentence" }, told),
      h(
        "ul",
        { class: "draws" },
        one.draws.map((draw, i) => h("li", {}, this.#mark(one, draw, i))),
      ),
    );
  }

  #mark(one, draw, i) {
    const outcome = outcomeOf(draw.outcome);
    return h(
      "button",
      {
        type: "button",
        class: "sample",
        "data-tone": outcome.tone,
        title: outcome.words,
        "aria-label": `Continuation ${i + 1}: ${outcome.words}`,
        onclick: () => this.#look(one, draw),
      },
      icon(outcome, 14),
    );
  }

  // From the same prefix with the same seed the checkpoint writes the same.
  #again(one, draw) {
    const { settings } = this.app;
    const { prefix } = this.state.start.planted[one.planted];
    const model = this.state.models[one.model];
    return write({ ...settings, view: "solve", model, prefix, draw: draw.seed, step: -1, go: true });
  }

  async #look(one, draw) {
    const { client, settings } = this.app;
    const ticket = (this.#looked += 1);
    try {
      const { judgement } = await client.post("v1/probe/verify", { ...aboutOf(settings), text: draw.text });
      if (ticket !== this.#looked) return;
      const heading = `${this.state.models[one.model]}: ${outcomeOf(draw.outcome).words}`;
      this.panel.present(this.one, heading, this.#again(one, draw), Answer.judged(this.problem, draw.text, judgement));
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (ticket === this.#looked) this.one.replaceChildren(failure(error));
    }
  }
}

// The recovery rates in one sentence.
function sentence({ checkpoints, models, start }) {
  if (!start) return "Planting errors";
  if (!checkpoints.length) return `Waiting for ${models[0]}`;
  const said = ({ model, shares }, i) => `${models[model]} ${i ? "" : "recovers "}from ${percent(shares.rate)}${i ? "" : " of the errors"}`;
  return checkpoints.map(said).join(", ");
}

function refusals(unplanted) {
  if (!unplanted.length) return null;
  const one = ({ step, alternative, reason }) => h("li", {}, `Step ${step + 1}, ${ALTERNATIVE[alternative].toLowerCase()}: ${reason}`);
  return h(
    "details",
    {},
    h("summary", {}, `${unplanted.length} ${unplanted.length === 1 ? "error" : "errors"} that cannot be planted`),
    h("ul", { class: "refusals" }, unplanted.map(one)),
  );
}
