/* The trace as a list of steps: icon, sentence, judgement; the open step shows its reason, tokens and an editor. */

import { h } from "../elements/dom.js";
import { StepDetail, heatToken } from "./detail.js";
import { STATUS, explain, icon } from "../elements/status.js";

/** Shows an Answer. `onOpen(index)` when a step is opened or closed (-1), `onEdit(prefix)` to go on from an edit. */
export class TraceView {
  #rows = new Map(); // key -> {element, print}
  #answer = null;
  #open = -1;
  #heat = false;

  constructor({ onOpen, onEdit }) {
    this.onOpen = onOpen;
    this.onEdit = onEdit;
    this.list = h("ol", {
      class: "trace",
      "aria-label": "Trace, step by step",
      onkeydown: (event) => this.#key(event),
    });
    this.blank = h("p", { class: "quiet" }, "The trace will stand here, step by step, each with its judgement.");
    this.element = h("div", { class: "trace-frame" }, this.blank, this.list);
  }

  /** Draws what changed since the last call; rows that stay equal keep their element and the focus. */
  show(answer, { open, heat }) {
    if (answer !== this.#answer) this.#rows.clear();
    [this.#answer, this.#open, this.#heat] = [answer, open, heat];
    const wanted = this.#wanted();
    for (const key of this.#rows.keys()) if (!wanted.some((row) => row.key === key)) this.#rows.delete(key);
    settle(
      this.list,
      wanted.map((row) => this.#row(row)),
    );
    this.blank.hidden = wanted.length > 0;
    this.element.classList.toggle("busy", answer.busy);
  }

  /** Moves the keyboard to a step's row. */
  focus(index) {
    this.list.querySelector(`[data-step="${index}"]`)?.focus();
  }

  /** Scrolls a step into view. */
  reveal(index, behavior) {
    this.list.querySelector(`[data-step="${index}"]`)?.scrollIntoView({ block: "nearest", behavior });
  }

  #wanted() {
    const { pieces, steps, firstWrong } = this.#answer;
    const rows = pieces
      .filter((piece) => piece.step >= 0 || this.#answer.slice(piece.start, piece.end).trim())
      .map((piece) => ({ key: `${piece.step >= 0 ? "step" : "aside"} ${piece.start}`, ...piece }));
    steps.forEach((step, index) => {
      if (step.status === "missing")
        rows.push({ key: `missing ${index}`, step: index, start: step.start, end: step.end });
    });
    return rows.map((row) => {
      const state = [row.end, row.step, row.step >= 0 && steps[row.step].status, row.step === firstWrong];
      const shown = [row.step >= 0 && row.step === this.#open, this.#heat, this.#answer.state === "done"];
      return { ...row, print: [...state, ...shown].join() };
    });
  }

  #row(row) {
    const old = this.#rows.get(row.key);
    if (old?.print === row.print) return old.element;
    const element = row.step < 0 ? this.#aside(row) : this.#step(row);
    this.#rows.set(row.key, { element, print: row.print });
    if (old?.element.contains(document.activeElement)) queueMicrotask(() => this.focus(row.step));
    return element;
  }

  #text(start, end) {
    const text = this.#answer.slice(start, end);
    const from = start + text.length - text.trimStart().length;
    const to = end - (text.length - text.trimEnd().length);
    const tokens = this.#heat ? this.#answer.tokensIn(from, to) : [];
    if (!tokens.length) return [text.trim()];
    const given = this.#answer.slice(from, Math.max(from, Math.min(to, tokens[0].start)));
    return [given, ...tokens.map((token) => heatToken(token, this.#heat === true ? "surprise" : this.#heat))];
  }

  #aside({ start, end }) {
    const given = start < this.#answer.prefixLength;
    return h("li", { class: `aside${given ? " given" : ""}` }, h("p", {}, this.#text(start, end)));
  }

  #step({ step: index, start, end }) {
    const step = this.#answer.steps[index];
    const first = index === this.#answer.firstWrong;
    const open = index === this.#open;
    const missing = step.status === "missing";
    const detail = open ? new StepDetail(this.#answer, index, this.onEdit).element : null;
    const judgement =
      step.status === "right"
        ? h("span", { class: "unseen" }, "right")
        : h("span", { class: "chip" }, STATUS[step.status].label);
    const head = h(
      "button",
      {
        type: "button",
        class: "step-head",
        "data-step": index,
        "aria-expanded": open,
        "aria-controls": detail?.id ?? null,
        tabindex: this.#reachable(index) ? 0 : -1,
        onclick: () => this.onOpen(open ? -1 : index),
      },
      h("span", { class: "mark", title: explain(step.status) }, icon(step.status)),
      h("span", { class: "sentence" }, missing ? `${step.node} is never derived.` : this.#text(start, end)),
      judgement,
    );
    const note = first
      ? h("p", { class: "note" }, h("strong", {}, "First wrong step. "), open ? "" : step.reason)
      : null;
    const given = !missing && start < this.#answer.prefixLength;
    const classes = ["step", first && "first", given && "given"].filter(Boolean).join(" ");
    return h(
      "li",
      { class: classes, "data-tone": STATUS[step.status].tone, "data-status": step.status },
      head,
      note,
      detail,
    );
  }

  // One row is in the tab order: the open one, else the first wrong one, else the first.
  #reachable(index) {
    const answer = this.#answer;
    const entry = this.#open >= 0 && this.#open < answer.steps.length ? this.#open : Math.max(0, answer.firstWrong);
    return index === entry;
  }

  #key(event) {
    if (!(event.target instanceof Element) || !event.target.matches(".step-head")) return;
    const heads = [...this.list.querySelectorAll(".step-head")];
    const at = heads.indexOf(event.target);
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: heads.length - 1 }[event.key];
    if (to === undefined || !heads[to]) return;
    event.preventDefault();
    heads[to].focus();
  }
}

// Puts elements in place without touching those that are: a moved element would lose the focus and start its animation anew.
function settle(list, elements) {
  const kept = new Set(elements);
  for (const old of [...list.children]) if (!kept.has(old)) old.remove();
  elements.forEach((element, i) => {
    if (list.children[i] !== element) list.insertBefore(element, list.children[i] ?? null);
  });
}
