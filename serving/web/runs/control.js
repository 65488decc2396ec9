/* What an admin key may do to a live run: change the numbers of its workers, and stop it. */

import { h } from "../elements/dom.js";
import { failure } from "../elements/notices.js";
import { ApiError } from "../server/api.js";
import { askedFor } from "./facts.js";

const KINDS = { rollout: "Rollout workers", reward: "Reward workers" };

/** The fields and buttons for one run. `onAsked` is called when the run has been asked something. */
export class Control {
  #busy = false;

  constructor(app, onAsked) {
    this.app = app;
    this.onAsked = onAsked;
    this.fields = new Map(Object.keys(KINDS).map((kind) => [kind, this.#field()]));
    this.scale = h("button", { class: "plain" }, "Scale");
    this.stop = h("button", { type: "button", class: "plain danger", onclick: () => this.#confirm() }, "Stop and save");
    this.said = h("div", { role: "status" });
    this.question = h("h2", { id: "stop-title" });
    this.sure = this.#dialog();
    const labels = [...this.fields].map(([kind, input]) => h("label", { class: "field" }, KINDS[kind], input));
    const form = h("form", { class: "row", onsubmit: (event) => this.#submit(event) }, labels, this.scale, this.stop);
    this.element = h("div", { class: "control", "data-live": true, hidden: true }, form, this.said, this.sure);
  }

  /** Follows `run` as the server tells of it. Numbers that somebody is typing stay. */
  show(run) {
    const { name, live, controls } = run;
    if (this.run !== name) this.#begin(name);
    this.element.hidden = !(controls && (live || this.seen));
    if (!live) {
      if (this.seen) this.#say(`${name} is not live any more.`);
      return this.#enable(false, false);
    }
    this.seen = true;
    for (const [kind, input] of this.fields)
      if (!("typed" in input.dataset)) input.value = live.fleet ? askedFor(live.fleet, kind).length : "";
    this.#enable(live.fleet && !live.stopping, !live.stopping);
  }

  #begin(name) {
    [this.run, this.seen] = [name, false];
    this.said.replaceChildren();
    for (const input of this.fields.values()) delete input.dataset.typed;
  }

  #enable(scale, stop) {
    for (const element of [...this.fields.values(), this.scale]) element.disabled = this.#busy || !scale;
    this.stop.disabled = this.#busy || !stop;
  }

  #field() {
    return h("input", {
      type: "number",
      min: 1,
      max: this.app.limits.workers,
      required: true,
      oninput: (event) => (event.target.dataset.typed = ""),
    });
  }

  // The run is the one that stood there when the question was asked, and named by it.
  #confirm() {
    this.asked = this.run;
    this.question.textContent = `Stop ${this.run}?`;
    this.sure.showModal();
  }

  #dialog() {
    const close = () => this.sure.close();
    const stop = () => {
      close();
      this.#ask(this.asked, "stop", {}, `Asked ${this.asked} to stop: it saves, then ends.`);
    };
    return h(
      "dialog",
      { "aria-labelledby": "stop-title" },
      this.question,
      h("p", {}, "It saves after the step that it is in, then ends. The same command with --resume continues it."),
      h(
        "div",
        { class: "row" },
        h("button", { type: "button", class: "primary small", onclick: stop }, "Save and stop"),
        h("button", { type: "button", class: "plain", onclick: close }, "Cancel"),
      ),
    );
  }

  #submit(event) {
    event.preventDefault();
    const typed = [...this.fields].filter(([, input]) => "typed" in input.dataset);
    if (!typed.length) return this.#say("Change a number first.");
    const body = Object.fromEntries(typed.map(([kind, input]) => [`${kind}_workers`, Number(input.value)]));
    const words = typed.map(([kind, input]) => `${input.value} ${KINDS[kind].toLowerCase()}`).join(" and ");
    this.#ask(this.run, "scale", body, `Asked for ${words}.`);
  }

  async #ask(run, what, body, done) {
    this.#say("Asking the run ...");
    this.#busy = true;
    this.#enable(false, false);
    try {
      await this.app.client.post(`v1/admin/runs/${run}/${what}`, body);
      for (const input of this.fields.values()) delete input.dataset.typed;
      this.#say(done);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      this.said.replaceChildren(failure(error));
    } finally {
      this.#busy = false;
      this.onAsked();
    }
  }

  #say(text) {
    this.said.replaceChildren(h("p", { class: "quiet" }, text));
  }
}
