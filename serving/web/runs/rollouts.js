/* The kept rollouts of a step: a slider over the steps, the rows in a list, and one row as a judged trace. */

import { Answer } from "../answer/answer.js";
import { OVERLAYS } from "../answer/overlays.js";
import { AnswerPanel } from "../answer/panel.js";
import { h } from "../elements/dom.js";
import { empty, failure } from "../elements/notices.js";
import { redraw } from "../elements/redraw.js";
import { ApiError } from "../server/api.js";
import { nearest } from "./history.js";

const PAGE = 50;
const STATUSES = { "": "all", solved: "solved", answer: "only the answer right", wrong: "wrong", cut: "cut off" };
const TONES = { solved: "right", answer: "order", wrong: "wrong", cut: "missing" };

/** Rollouts of `run` and `stage`; what is chosen stands in the app's settings. */
export class Rollouts {
  #asked = 0;
  #chosen = new Set(); // the paths of steps that somebody opened

  constructor(app) {
    this.app = app;
    this.offset = 0;
    this.panel = new AnswerPanel({ announce: app.announce });
    this.slider = h("input", {
      type: "range",
      min: 0,
      step: 1,
      class: "slider",
      "aria-label": "Step with kept rollouts",
      oninput: () => this.#say(),
      onchange: () => this.#slide(),
    });
    this.caption = h("output", { class: "figures" });
    this.status = select("Status", STATUSES, (value) => this.#choose({ status: value }));
    this.overlay = select(
      "Laid over the tokens",
      { "": "nothing", ...Object.fromEntries(Object.entries(OVERLAYS).map(([key, { label }]) => [key, label])) },
      (value) => this.#lay(value),
    );
    this.means = h("p", { class: "quiet" });
    this.list = h("div", { class: "rollout-list" });
    this.detail = h(
      "div",
      { hidden: true },
      h("div", { class: "row" }, this.overlay.label, this.means),
      (this.asked = h("p", { class: "prompt quiet" })),
      this.panel.element,
    );
    this.element = h(
      "section",
      { class: "card rollouts", "aria-label": "Kept rollouts" },
      h("div", { class: "card-head" }, h("h2", {}, "Kept rollouts"), this.caption),
      this.slider,
      h("div", { class: "row" }, this.status.label),
      this.list,
      this.detail,
    );
  }

  /** Looks up which steps are kept; live runs keep more as they go. */
  async show(run, stage) {
    const changed = run !== this.run || stage !== this.stage;
    [this.run, this.stage] = [run, stage];
    if (changed) this.#asked += 1; // what is on its way is of another stage
    await this.#ask(async () => {
      const { stages } = await this.app.client.get(`v1/runs/${run}/rollouts`);
      const steps = stages.find((one) => one.stage === stage)?.steps ?? [];
      this.steps = steps;
      this.#place();
      if (this.#path() === this.read) return;
      if (!changed) this.#forget(this.read);
      this.offset = 0;
      await this.#read();
    });
  }

  // A step that stood there only as the newest would pile up in the recording.
  #forget(step) {
    if (!this.#chosen.has(step)) this.app.client.forget((path) => path.startsWith(`${step}?`));
  }

  #place() {
    const { steps } = this;
    const { kept } = this.app.settings;
    this.slider.hidden = steps.length < 2;
    this.status.label.hidden = !steps.length;
    this.slider.max = String(steps.length - 1);
    if (!this.slider.matches(":active")) this.slider.value = String(kept ? nearest(steps, kept) : steps.length - 1);
    this.status.element.value = this.app.settings.status;
    this.overlay.element.value = this.app.settings.overlay;
  }

  get #step() {
    return this.steps[Number(this.slider.value)];
  }

  #say() {
    this.caption.textContent = this.steps.length ? `step ${this.#step}, ${this.steps.length} steps kept` : "";
  }

  #slide() {
    this.#chosen.add(this.#path());
    this.#choose({ kept: this.#step });
  }

  #choose(patch) {
    this.offset = 0;
    this.app.change({ ...patch, row: -1 });
    this.#ask(() => this.#read());
  }

  async #read() {
    this.read = this.#path();
    this.detail.hidden = true;
    this.#say();
    if (!this.steps.length)
      return this.list.replaceChildren(empty("No rollouts kept", "This stage keeps none, or has not judged any yet."));
    const { status, row } = this.app.settings;
    const query = new URLSearchParams({ offset: this.offset, limit: PAGE, ...(status && { status }) });
    const page = await this.#newest(`${this.#path()}?${query}`);
    if (!page) return;
    redraw(this.list, ...this.#rows(page));
    if (row >= 0) await this.#open(row);
  }

  // What the server answers; null if something else was asked for meanwhile.
  async #newest(path) {
    const ticket = (this.#asked += 1);
    try {
      const answer = await this.app.client.get(path);
      return ticket === this.#asked ? answer : null;
    } catch (error) {
      if (ticket === this.#asked) throw error;
      return null;
    }
  }

  #path() {
    return `v1/runs/${this.run}/rollouts/${encodeURIComponent(this.stage)}/${this.#step}`;
  }

  #rows({ rows, total }) {
    if (!rows.length) return [h("p", { class: "quiet" }, "No such rollout in this step.")];
    const more = (by, words, there) =>
      h("button", { type: "button", class: "plain", disabled: !there, onclick: () => this.#turn(by) }, words);
    const turns = [
      more(-PAGE, "Earlier", this.offset > 0),
      more(PAGE, "Further", this.offset + rows.length < total),
    ];
    const head = ["Slot", "Status", "Reward", "Tokens", "Trained on", "Stratum"].map((name) =>
      h("th", { scope: "col" }, name),
    );
    return [
      h(
        "div",
        { class: "rollout-frame" },
        h(
          "table",
          { class: "plain-table figures" },
          h("thead", {}, h("tr", {}, head)),
          h(
            "tbody",
            {},
            rows.map((row) => this.#row(row)),
          ),
        ),
      ),
      h(
        "p",
        { class: "row quiet figures" },
        `${this.offset + 1} to ${this.offset + rows.length} of ${total}`,
        total > PAGE ? turns : null,
      ),
    ];
  }

  #row({ row, place, attempt, sample, stratum, status, reward, tokens, trained }) {
    const open = h(
      "button",
      { type: "button", class: "plain", "data-row": row, onclick: () => this.#ask(() => this.#open(row, true)) },
      `${place}.${attempt}.${sample}`,
    );
    return h(
      "tr",
      { "data-tone": TONES[status] },
      h("th", { scope: "row" }, open),
      h("td", { class: "judgement-word" }, STATUSES[status]),
      h("td", {}, reward.toFixed(2)),
      h("td", {}, tokens),
      h("td", {}, trained ? "yes" : "no"),
      h("td", {}, stratum),
    );
  }

  #turn(by) {
    this.offset = Math.max(0, this.offset + by);
    this.#ask(() => this.#read());
  }

  async #open(row, chosen = false) {
    const body = await this.#newest(`${this.#path()}/${row}`);
    if (!body) return;
    if (chosen) {
      this.#chosen.add(this.#path());
      this.app.change({ row, kept: this.#step }); // a live run keeps more steps: this one stays
    }
    const problem = { question: body.prompt ?? "", problem: "", answer: null, graph: { nodes: [], edges: [] } };
    const answer = Answer.judged(problem, body.text, body.judgement);
    answer.tokens = (body.tokens ?? []).map((token, index) => ({ ...token, index, top: [] }));
    answer.done.finish_reason = body.finish_reason === "length" ? "length" : "stop";
    for (const button of this.list.querySelectorAll("[data-row]"))
      button.setAttribute("aria-current", String(button.dataset.row === String(row)));
    this.asked.textContent = body.prompt ?? "";
    this.overlay.label.hidden = !answer.tokens.length;
    this.detail.hidden = false;
    this.panel.open = -1;
    this.panel.show(answer);
    this.#lay(this.app.settings.overlay);
    if (chosen) this.detail.scrollIntoView({ block: "nearest" });
  }

  #lay(overlay) {
    this.app.change({ overlay });
    const known = Object.hasOwn(OVERLAYS, overlay);
    this.means.textContent = known ? OVERLAYS[overlay].means : "";
    this.panel.setHeat(known && overlay);
  }

  // Errors stay in this card: the curves go on.
  async #ask(work) {
    try {
      await work();
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      this.detail.hidden = true;
      this.read = null;
      this.list.replaceChildren(failure(error, () => this.show(this.run, this.stage)));
    }
  }
}

function select(name, options, onchange) {
  const element = h(
    "select",
    { onchange: () => onchange(element.value) },
    Object.entries(options).map(([value, text]) => h("option", { value }, text)),
  );
  return { element, label: h("label", { class: "field" }, name, element) };
}
