/* The view "Runs": curves of the served runs as they grow, findings in words, workers, and the rollouts that are kept. */

import { h } from "../elements/dom.js";
import { empty, failure } from "../elements/notices.js";
import { redraw } from "../elements/redraw.js";
import { Board } from "../runs/board.js";
import { Changes } from "../runs/changes.js";
import { Control } from "../runs/control.js";
import { ago, findings, workers } from "../runs/facts.js";
import { Following } from "../runs/following.js";
import { History } from "../runs/history.js";
import { KINDS, swatch } from "../runs/plot.js";
import { Rollouts } from "../runs/rollouts.js";
import { ApiError } from "../server/api.js";
import { framed } from "./solve.js";

const LOOK_MS = 5000;
const WORKERS_MS = 2000; // between looks at the workers of a live run
const DIAGNOSED_MS = 60_000; // the rules look at every step
const LIVE_S = 900; // a run that has logged nothing for so long is not followed

/** Shows the runs that the settings name. It asks no checkpoint and needs no problem. */
export class RunsView {
  #leaving = new AbortController();
  #reading = new AbortController();

  constructor(host, app) {
    this.app = app;
    this.host = host;
    this.said = h("p", { class: "quiet figures", role: "status" });
    this.notice = h("div", {});
    this.findings = h("div", {});
    this.workers = h("div", { class: "workers" });
    this.control = new Control(app, () => this.#lookAtWorkers());
    this.changes = new Changes(app);
    this.changesCard = card("What changed on the held-out problems", this.changes.element);
    this.board = new Board({ onRange: (first, last) => this.#ranged(first, last) });
    this.rollouts = new Rollouts(app);
    this.beyond = empty("No step in this range", "Type other steps above, or press All steps.");
    this.draw = framed(() => this.#draw());
    this.following = new Following(app.client, ({ run }) => this.#live(run), {
      steps: () => this.draw(),
      changed: () => this.#start(),
      told: () => this.#say(),
      refused: (error) => this.notice.replaceChildren(failure(error, () => this.#start())),
    });
    this.#start();
    const timers = [
      setInterval(() => this.#look(), LOOK_MS),
      setInterval(() => this.run?.live && this.#lookAtWorkers(), WORKERS_MS),
    ];
    this.#leaving.signal.addEventListener("abort", () => timers.forEach(clearInterval));
  }

  /** The page shows something else now. */
  leave() {
    this.#leaving.abort();
    this.#reading.abort();
    this.following.stop();
  }

  setHeat() {}

  get #chosen() {
    const wanted = this.app.settings.runs.split(",").filter((name) => this.cards.some((card) => card.name === name));
    return (wanted.length ? wanted : [this.cards[0].name]).slice(0, KINDS);
  }

  // None for a run that has vanished.
  #cardOf(run) {
    return this.cards.find((card) => card.name === run);
  }

  get #card() {
    return this.#cardOf(this.histories?.[0]?.run ?? this.#chosen[0]);
  }

  async #start() {
    await this.#asking(async (signal) => {
      this.cards = (await this.app.client.get("v1/runs", signal)).data;
      if (this.cards.length) return this.#read();
      this.host.replaceChildren(empty("No run", "The folders of these runs have gone. The page looks again by itself."));
    });
  }

  /** Reads everything that the settings ask for, draws it, and follows what is live. */
  async #read() {
    this.#reading.abort();
    const { signal } = (this.#reading = new AbortController());
    await this.#asking(async () => {
      this.stages = new Map(this.#chosen.map((run) => [run, this.#cardOf(run).stages.length]));
      const runs = this.#chosen.filter((run) => this.stages.get(run));
      this.histories = await Promise.all(runs.map((run) => this.#history(run, signal)));
      if (signal.aborted) return;
      this.following.stop();
      this.#follow();
      this.#layOut();
      if (!this.histories.length) return this.#work(signal);
      this.#draw();
      await Promise.all([
        this.#work(signal),
        this.#diagnose(signal),
        this.#compare(signal),
        this.rollouts.show(this.histories[0].run, this.histories[0].stage),
      ]);
    });
  }

  // The stage of the first run is the one that was chosen; of the others the same, or else their newest.
  async #history(run, signal) {
    const { stage, first, last } = this.app.settings;
    const { stages } = this.#cardOf(run);
    const named = stages.some((one) => one.name === stage);
    const query = new URLSearchParams({ ...(named && { stage }), ...(first && { first }), ...(last && { last }) });
    const answer = await this.app.client.get(`v1/runs/${run}/metrics?${query}`, signal);
    this.app.client.forget((path) => path.startsWith(`v1/runs/${run}/events?`)); // what was followed is in it
    return new History(answer);
  }

  #follow() {
    if (!this.app.settings.last) this.following.follow(this.histories); // a range that has an end does not grow
  }

  // A stream tells of another stage only if it is open when that begins.
  get #moreStages() {
    const more = ([run, count]) => (this.#cardOf(run)?.stages.length ?? 0) > count;
    return !this.app.settings.last && [...(this.stages ?? [])].some(more);
  }

  /** Looks every few seconds what has changed besides the curves. */
  async #look() {
    if (document.hidden || !this.cards) return;
    const before = JSON.stringify(this.cards);
    try {
      this.cards = (await this.app.client.get("v1/runs", this.#leaving.signal)).data;
    } catch {
      return; // a stream or the next question says what is wrong
    }
    if (this.#moreStages) return void this.#start();
    if (this.histories) {
      this.#follow();
      await this.#lookAtWorkers();
    }
    if (JSON.stringify(this.cards) === before) return;
    if (!this.histories?.length) return void this.#start();
    if (!this.#card) return;
    this.#say();
    await this.#asking(async () => {
      const { signal } = this.#reading;
      if (Date.now() - this.diagnosed > DIAGNOSED_MS) await this.#diagnose(signal);
      await this.rollouts.show(this.histories[0].run, this.histories[0].stage);
    });
  }

  #draw() {
    this.board.draw(this.histories);
    this.beyond.hidden = this.histories.some(({ curves }) => curves.size);
  }

  async #work(signal) {
    const { client } = this.app;
    this.run = await client.get(`v1/runs/${this.#card.name}`, signal);
    this.workers.replaceChildren(...workers(this.run, client.now));
    this.control.show(this.run);
  }

  async #lookAtWorkers() {
    if (document.hidden || !this.cards.length || !this.#card) return;
    try {
      await this.#work(this.#reading.signal);
    } catch (error) {
      // As with a look: a stream or the next question says what is wrong.
      if (error.name !== "AbortError" && !(error instanceof ApiError)) throw error;
    }
  }

  async #compare(signal) {
    const { run } = this.histories[0];
    const { data } = await this.app.client.get(`v1/runs/${run}/changes`, signal);
    this.changesCard.hidden = !data.length;
    this.changes.show(run, data);
  }

  async #diagnose(signal) {
    this.diagnosed = Date.now();
    const ask = async ({ run }) => ({ run, ...(await this.app.client.get(`v1/runs/${run}/findings`, signal)) });
    this.findings.replaceChildren(findings(await Promise.all(this.histories.map(ask))));
  }

  #layOut() {
    this.notice.replaceChildren();
    const head = h("div", { class: "runs-head" }, this.#runs(), this.#stages(), this.#range());
    const whose = this.#chosen.length > 1 ? ` of ${this.#card.name}` : ""; // the buttons there scale and stop this one
    const force = card(`Workers${whose}`, [this.workers, this.control.element]);
    const curves = [this.beyond, this.board.element];
    const shown = this.histories.length
      ? [card("What the diagnosis says", this.findings), ...curves, this.changesCard, force, this.rollouts.element]
      : [empty("No step yet", "This run has logged no step. The page looks again by itself."), force];
    redraw(this.host, h("div", { class: "runs" }, head, this.said, this.notice, ...shown));
    this.#say();
  }

  #say() {
    if (!this.#card) return;
    const { stages, updated } = this.#card;
    const stage = stages.find((one) => one.name === this.histories?.[0]?.stage) ?? stages.at(-1);
    if (!stage) return;
    const live = this.#live(this.#card.name) && stage.step < stage.steps;
    const done = `${stage.name}: step ${stage.step.toLocaleString("en")} of ${stage.steps.toLocaleString("en")}`;
    const logged = `${done}, last logged ${ago(updated, this.app.client.now)}`;
    const followed = live && this.following.follows(this.histories?.[0]) ? ", followed live" : "";
    this.said.textContent = `${logged}${this.following.trouble(this.histories ?? []) || followed}`;
  }

  #live(run) {
    const updated = this.#cardOf(run)?.updated ?? null;
    return updated !== null && this.app.client.now - updated < LIVE_S;
  }

  #runs() {
    const chosen = this.#chosen;
    const boxes = this.cards.map(({ name }) => {
      const kind = chosen.indexOf(name);
      return h(
        "label",
        { class: "check" },
        h("input", {
          type: "checkbox",
          value: name,
          checked: kind >= 0,
          onchange: (event) => this.#pick(name, event.target.checked),
        }),
        kind >= 0 ? swatch(kind) : null,
        name,
      );
    });
    return h("fieldset", { class: "run-names" }, h("legend", {}, "Runs"), boxes);
  }

  #pick(name, on) {
    const chosen = this.#chosen.filter((one) => one !== name);
    const runs = (on ? [...chosen, name] : chosen).slice(-KINDS);
    this.app.change({ runs: runs.join(","), kept: 0, row: -1 }, true);
    this.#read();
  }

  #stages() {
    const { stages } = this.#card;
    const select = h(
      "select",
      {
        onchange: () => {
          this.app.change({ stage: select.value, first: 0, last: 0, kept: 0, row: -1 }, true);
          this.#read();
        },
      },
      stages.map(({ name }) => h("option", { value: name }, name)),
    );
    select.value = this.histories[0]?.stage ?? "";
    return h("label", { class: "field" }, "Stage", select);
  }

  #range() {
    const { first, last } = this.app.settings;
    const field = (name, value) =>
      h(
        "label",
        { class: "field" },
        name,
        h("input", { type: "number", min: 0, value: value || "", onchange: () => this.#typed() }),
      );
    this.fields = [field("From step", first), field("To step", last)];
    const all = h("button", { type: "button", class: "plain", onclick: () => this.#ranged(0, 0) }, "All steps");
    return h("div", { class: "row range" }, this.fields, first || last ? all : null);
  }

  #typed() {
    const [first, last] = this.fields.map((label) => Number(label.lastChild.value) || 0);
    if (!last || last >= first) this.#ranged(first, last);
  }

  #ranged(first, last) {
    this.app.change({ first, last }, true);
    this.#read();
  }

  // Errors are said where the curves would stand; a question that was given up is none.
  async #asking(work) {
    try {
      await work(this.#leaving.signal);
    } catch (error) {
      if (error.name === "AbortError") return;
      if (!(error instanceof ApiError)) throw error;
      if (error.status === 401) this.app.askKey();
      if (this.host.contains(this.notice)) this.notice.replaceChildren(failure(error, () => this.#start()));
      else this.host.replaceChildren(failure(error, () => this.#start()));
    }
  }
}

function card(title, content) {
  return h(
    "section",
    { class: "card", "aria-label": title },
    h("div", { class: "card-head" }, h("h2", {}, title)),
    content,
  );
}
