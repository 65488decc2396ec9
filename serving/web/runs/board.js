/* The plots of a run's page: which numbers there are, and how they are drawn for one run or for several. */

import { h } from "../elements/dom.js";
import { Plot, swatch } from "./plot.js";

// Title, unit, and the names in metrics.jsonl.
const PLOTS = [
  ["Reward", "", ["reward"]],
  ["Verified traces", "share", ["strict"]],
  ["Right answers", "share", ["outcome"]],
  ["Process accuracy", "share", ["process_accuracy"]],
  ["Length", "tokens", ["completion_tokens"]],
  ["Cut off", "share", ["truncated"]],
  ["Groups without a gradient", "share", ["no_gradient"]],
  ["Entropy", "nats", ["entropy"]],
  ["KL to the reference", "nats", ["kl"]],
  ["Engine against learner, mean", "nats", ["mismatch_mean"]],
  ["Effective sample size", "share", ["effective_share"]],
  ["Lag", "versions", ["lag_mean"]],
  ["Gradient norm", "", ["gradient_norm"]],
  ["Learning rate", "", ["learning_rate"]],
  ["Loss", "nats", ["loss"]],
  ["Speed", "tokens/s", ["tokens_per_s"]],
];
const TIMES = { generate_s: "generate", learn_s: "learn", sync_s: "sync", step_s: "whole step" };
const STRATA_SHOWN = 8;

/** All plots. `onRange(first, last)` asks for another range of steps; 0 and 0 are all. */
export class Board {
  constructor({ onRange }) {
    this.plots = [];
    this.on = { onRange, onPoint: (step) => this.#point(step) };
    this.main = PLOTS.map(([title, unit, names]) => ({ plot: this.#plot(title, unit), name: names[0] }));
    this.times = this.#plot("Time of a step", "s", true);
    this.evaluations = this.#plot("Evaluations between steps", "share", true);
    this.strata = h("div", { class: "plots" });
    this.strataTitle = h("h2", {}, "Strata");
    this.strataNote = h("p", { class: "key-line" });
    this.strataPlots = new Map();
    this.element = h(
      "div",
      { class: "board" },
      h(
        "div",
        { class: "plots" },
        ...this.main.map(({ plot }) => plot.element),
        this.times.element,
        this.evaluations.element,
      ),
      this.strataTitle,
      this.strataNote,
      this.strata,
    );
  }

  /** Draws histories: the first one's in full, of the others what all have. */
  draw(histories) {
    this.histories = histories;
    for (const { plot, name } of this.main)
      plot.draw(histories.map((history, kind) => ({ name: history.run, kind, curve: history.curves.get(name) })));
    const [first] = histories;
    this.times.draw(Object.entries(TIMES).map(([key, name], kind) => ({ name, kind, curve: first.curves.get(key) })));
    this.evaluations.draw([...first.evaluations].slice(0, 4).map(([name, curve], kind) => ({ name, kind, curve })));
    this.#drawStrata(first);
  }

  #drawStrata({ strata, leftOut, run }) {
    const names = [...strata.keys()];
    const several = this.histories.length > 1 ? ` of ${run}` : "";
    this.strataTitle.hidden = this.strataNote.hidden = !names.length;
    const hidden = leftOut + Math.max(0, names.length - STRATA_SHOWN);
    this.strataNote.replaceChildren(
      h("span", {}, swatch(0), `pass rate in the curriculum${several}`),
      h("span", {}, swatch(1), "share of the groups drawn"),
      hidden ? h("span", {}, `${hidden} more strata are not drawn`) : "",
    );
    if ([...this.strataPlots.keys()].join("\n") !== names.slice(0, STRATA_SHOWN).join("\n"))
      this.#makeStrata(names.slice(0, STRATA_SHOWN));
    for (const [name, plot] of this.strataPlots) {
      const { pass_rate: rate, share } = strata.get(name);
      plot.draw([
        { name: "pass rate", kind: 0, curve: rate },
        { name: "share", kind: 1, curve: share },
      ]);
    }
  }

  #makeStrata(names) {
    this.plots = this.plots.filter((plot) => ![...this.strataPlots.values()].includes(plot));
    this.strataPlots = new Map(names.map((name) => [name, this.#plot(name, "")]));
    this.strata.replaceChildren(...[...this.strataPlots.values()].map((plot) => plot.element));
  }

  #plot(title, unit, keyed = false) {
    const plot = new Plot(title, unit, this.on, keyed);
    this.plots.push(plot);
    return plot;
  }

  #point(step) {
    for (const plot of this.plots) plot.point(step);
  }
}
