/* The view "Training": one problem, answered by every kept checkpoint of a run; a slider walks through them. */

import { Answer } from "../answer/answer.js";
import { h, percent } from "../elements/dom.js";
import { Matrix } from "../answer/matrix.js";
import { training } from "../settings/models.js";
import { AnswerPanel } from "../answer/panel.js";
import { gradeOf } from "../elements/status.js";
import { pause } from "../server/pause.js";
import { framed, question, stream } from "./solve.js";

// weights and question -> {answer, recorded}; a permanent checkpoint answers the same for ever
const cache = new Map();
const TRIES = 3;

/** The view "Training" on the page. */
export class TrainingView {
  constructor(host, app) {
    this.app = app;
    this.panel = new AnswerPanel({ announce: app.announce, onOpen: (index) => app.change({ step: index }) });
    this.frame = h("div", {
      class: "matrix-frame",
      role: "region",
      "aria-label": "Every quantity at every checkpoint",
    });
    this.slider = h("input", {
      type: "range",
      min: 0,
      step: 1,
      class: "slider",
      "aria-label": "Checkpoint",
      oninput: () => this.#slide(),
      onchange: () => this.#ask(),
    });
    this.caption = h("output", { class: "figures" });
    host.replaceChildren(
      h("section", { class: "card timeline", "aria-label": "Through training" }, this.caption, this.frame),
      this.panel.element,
    );
  }

  reset(problem) {
    this.problem = problem;
    this.cards = training(this.app.models, this.app.settings.run);
    this.slider.max = String(this.cards.length - 1);
    this.asking = new Map();
    const { at, step, heat } = this.app.settings;
    const index = this.cards.findIndex((card) => card.id === at);
    this.slider.value = String(index < 0 ? this.cards.length - 1 : index);
    this.panel.open = step;
    this.panel.heat = heat;
    for (const card of this.cards) {
      const known = cache.get(this.#key(card));
      if (known) this.app.client.recording.put(known.recorded);
    }
    this.matrix = new Matrix(problem, this.cards, this.slider, (i) => this.#jump(i));
    this.frame.replaceChildren(this.matrix.element);
    this.#show();
  }

  request() {
    return this.#request(this.#card);
  }

  #request(card) {
    return { path: "v1/probe/solve", body: question(this.app.settings, card.id) };
  }

  /** Asks every checkpoint that has not answered yet, oldest first; the slider follows unless the link pins it. */
  async run(signal) {
    const follow = !this.app.settings.at;
    for (const [index, card] of this.cards.entries()) {
      if (follow) {
        this.slider.value = String(index);
        this.#show();
      }
      await this.#answer(card, signal);
      if (signal.aborted) return;
    }
  }

  /** New checkpoints add columns; what was answered is in the cache. */
  modelsChanged() {
    this.reset(this.problem);
  }

  setHeat(heat) {
    this.panel.setHeat(heat);
  }

  get #card() {
    return this.cards[Number(this.slider.value)];
  }

  #key(card) {
    return `${card.weight_hash} ${JSON.stringify(question(this.app.settings, ""))}`;
  }

  async #answer(card, signal) {
    const key = this.#key(card);
    const { client } = this.app;
    const { path, body } = this.#request(card);
    if (cache.has(key) || !client.answers(path, body)) return;
    const problem = this.problem;
    for (let left = TRIES; ; left -= 1) {
      const answer = new Answer(problem);
      this.asking.set(card.id, answer);
      if (this.#card === card) this.panel.show(answer);
      const changed = framed(() => this.#changed(card, answer));
      try {
        await stream(client, path, body, answer, { signal, changed });
        if (answer.done) cache.set(key, { answer, recorded: client.recording.get(client.keyOf(path, body)) });
        break;
      } catch (error) {
        const seconds = error.retryAfter;
        if (!seconds || left <= 1) {
          this.#failed(card, answer, error);
          throw error;
        }
        if (this.panel.answer === answer) this.panel.wait(`${error.headline}; the page asks again in ${seconds} s.`);
        await pause(seconds * 1000, signal);
        if (signal.aborted) {
          answer.state = "stopped";
          if (this.panel.answer === answer) this.panel.show(answer);
          break;
        }
      }
    }
    this.asking.delete(card.id);
    if (problem === this.problem) this.#draw();
    if (this.panel.answer?.policy?.requested === card.id) this.panel.refresh();
  }

  #failed(card, answer, error) {
    this.asking.delete(card.id);
    this.slider.value = String(this.cards.indexOf(card));
    if (this.panel.answer !== answer) this.panel.show(answer);
    this.panel.fail(error);
    this.#draw();
  }

  #changed(card, answer) {
    if (this.panel.answer === answer) this.panel.refresh();
    if (answer.problem === this.problem) this.#draw();
  }

  #slide() {
    this.app.change({ at: this.#card.id, step: -1 });
    this.panel.open = -1;
    this.#show();
  }

  #ask() {
    if (!cache.has(this.#key(this.#card)) && !this.asking.size)
      this.app.runOne((signal) => this.#answer(this.#card, signal));
  }

  #show() {
    const card = this.#card;
    const answer = cache.get(this.#key(card))?.answer ?? this.asking.get(card.id) ?? new Answer(this.problem);
    if (this.panel.answer !== answer) this.panel.show(answer);
    this.caption.replaceChildren(
      h("strong", {}, card.id),
      ` ${card.stage} step ${card.step}, ${card.tokens.toLocaleString("en")} tokens`,
    );
    this.slider.setAttribute(
      "aria-valuetext",
      [card.id, answer.done && inWords(answer.done.judgement)].filter(Boolean).join(", "),
    );
    this.#draw();
  }

  #draw() {
    this.cards.forEach((card, i) =>
      this.matrix.fill(i, cache.get(this.#key(card))?.answer ?? this.asking.get(card.id) ?? null),
    );
    this.matrix.choose(Number(this.slider.value));
  }

  #jump(index) {
    this.slider.value = String(index);
    this.#slide();
    this.#ask();
  }
}

function inWords(judgement) {
  return judgement.verified === null
    ? gradeOf(judgement).words
    : `${percent(judgement.process_accuracy)} of the graph right`;
}
